"""The dense program that solvers are given, what all of them have in common, and their check.

A solver is a class with a name, its abilities and three methods (`Solver`); `register_solver` makes
its name known, here or in another package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, Index
from koopman_control.common.border import CheckedFields, checked, shown

Option = bool | int | float | str


class DenseQP(NamedTuple):
    """min v'Hv/2 + f'v + penalties, lower <= [v; A v] <= upper; the first n sides bound v itself.

    Rows of A with finite weights are soft, as in `ParametricQP`.
    """

    H: Array
    f: Array
    A: Array
    lower: Array
    upper: Array
    linear_weight: Array
    quadratic_weight: Array

    @property
    def soft(self) -> NDArray[np.bool_]:
        """Which rows of A may be violated at a price, shape (r,)."""
        return np.isfinite(self.linear_weight)

    @property
    def cost_size(self) -> float:
        """Size of H's diagonal or of f, whichever is larger; of prices where both are zero."""
        diagonal = np.abs(np.diagonal(self.H)).mean()
        own = float(max(diagonal, np.abs(self.f).max(initial=0.0)))
        return own or float(self.linear_weight[self.soft].max(initial=0.0)) or 1.0

    def divided(self, size: float) -> DenseQP:
        """Divide the cost by a positive number; the solution stays."""
        return self._replace(
            H=self.H / size,
            f=self.f / size,
            linear_weight=self.linear_weight / size,
            quadratic_weight=self.quadratic_weight / size,
        )

    def violation(self, v: Array) -> Array:
        """How far rows of A lie beyond their sides at v (n,), shape (r,)."""
        rows, n = self.A @ v, len(self.f)
        return np.maximum(0.0, np.maximum(rows - self.upper[n:], self.lower[n:] - rows))

    def cost(self, v: Array) -> float:
        """Cost at v (n,), penalties of soft rows included."""
        over = self.violation(v)[self.soft]
        penalty = self.linear_weight[self.soft] + 0.5 * self.quadratic_weight[self.soft] * over
        return float((0.5 * (self.H @ v) + self.f) @ v + penalty @ over)


UNBOUNDED = 1e30
TIME_LIMIT = "time limit"  # the status
SHORTEST = 1e-9  # seconds; to solvers, zero means no limit


class Solution(NamedTuple):
    """Answer of a solver.

    Args:
        v: The point, shape (n,), or None if there is none that can be relied on.
        status: "optimal", "infeasible", "unbounded", "iteration limit", "time limit", or the
            solver's own word.
        iterations: Iterations taken.
        multipliers: Of the bounds and rows, shape (n + r,), positive where the upper side holds:
            H v + f + [I A'] multipliers = 0.
    """

    v: Array | None
    status: str
    iterations: int
    multipliers: Array | None = None


class Solver(Protocol):
    """Solves a sequence of programs of one shape, warm-started by the one before.

    `SolverBase` has everything but `name` and `solve`.

    Attributes:
        name: By which users choose it.
        package: What has to be installed for it, besides what this package requires; "" if nothing.
        starts_warm: Whether it goes on from the solution before.
        keeps_time_limit: Whether it can be stopped; what cannot serves no controller with a
            deadline.
        takes_soft_rows: Whether it takes rows with a price as they are, rather than with slacks.
        accuracy: Of solutions of well-scaled programs, in v.
        most_variables: Beyond which others are faster; None for no such number.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    starts_warm: ClassVar[bool]
    keeps_time_limit: ClassVar[bool]
    takes_soft_rows: ClassVar[bool]
    accuracy: ClassVar[float]
    most_variables: ClassVar[int | None]

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve; what is reached by the time limit is not returned.

        Args:
            qp: The program.
            matrices_changed: Whether H or A differ from the previous call's.
            seconds: Time limit.
        """

    def prepare(self, qp: DenseQP) -> None:
        """Drop the warm start, and set up what the first solution of a program like this needs."""

    def forget(self) -> None:
        """Drop the warm start, so that the next solution depends on its program alone."""


class SolverBase:
    """What most solvers have in common: they remember nothing from call to call, and take options.

    Args:
        options: What the solver itself is told, by its own names, beside or instead of SETTINGS.
    """

    SETTINGS: ClassVar[Mapping[str, Option]] = {}

    package: ClassVar[str] = ""
    starts_warm: ClassVar[bool] = False
    keeps_time_limit: ClassVar[bool] = True
    takes_soft_rows: ClassVar[bool] = False
    accuracy: ClassVar[float] = 1e-6
    most_variables: ClassVar[int | None] = None

    def __init__(self, **options: Option) -> None:
        self._options, self._settings = options, {**self.SETTINGS, **options}

    @classmethod
    def options(cls) -> set[str]:
        """Name what the solver can be told."""
        return set()

    @staticmethod
    def limit(seconds: float) -> float:
        """A time limit as solvers take it, to which zero means none."""
        return max(seconds, SHORTEST)

    def prepare(self, qp: DenseQP) -> None:
        """Drop the warm start; what sets something up ahead does it here."""
        self.forget()

    def forget(self) -> None:
        """Drop the warm start, of which there is none."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Copy to other processes without the solver's memory."""
        return partial(type(self), **self._options), ()


@dataclass(frozen=True)
class Residuals:
    """Largest violations of the optimality conditions; all zero at a solution only.

    Args:
        stationarity: Of H v + f + [I A'] multipliers = 0.
        primal: Of the hard sides.
        complementarity: How far the multipliers are from being the prices of the sides: zero where
            a row is inside, of the right sign on a side, at a soft row's weight beyond it.
    """

    stationarity: float
    primal: float
    complementarity: float


def residuals(qp: DenseQP, v: Array, multipliers: Array) -> Residuals:
    """Measure a point v (n,) with multipliers (n + r,).

    Complementarity says that the point's rows minimise the penalties beside a step along the
    multipliers: rows = prox(rows + multipliers), where prox takes a value beyond a side back to it
    as far as the penalty pays.
    """
    n = len(v)
    rows = np.concatenate([v, qp.A @ v])
    hard = np.full(n, np.inf)
    linear = np.append(hard, qp.linear_weight)
    quadratic = np.append(hard, qp.quadratic_weight)
    moved = rows + multipliers
    above = np.maximum(moved - qp.upper - linear, 0.0) / (1.0 + quadratic)
    below = np.maximum(qp.lower - moved - linear, 0.0) / (1.0 + quadratic)
    priced = np.clip(moved, qp.lower, qp.upper) + above - below
    beyond = np.maximum(rows - qp.upper, qp.lower - rows)[~np.isfinite(linear)]
    slope = qp.H @ v + qp.f + multipliers[:n] + qp.A.T @ multipliers[n:]
    return Residuals(
        stationarity=float(np.abs(slope).max(initial=0.0)),
        primal=float(beyond.max(initial=0.0)),
        complementarity=float(np.abs(rows - priced).max(initial=0.0)),
    )


ROUNDING = 1e-9  # sides that cross by less meet


@dataclass(frozen=True)
class WithSlacks:
    """min x'Px/2 + q'x, lower <= rows x <= upper, equivalent to a program with soft rows.

    Args:
        qp: The program.
    """

    qp: DenseQP

    @cached_property
    def _size(self) -> float:
        """Size of the cost, by which it is divided."""
        return float(np.abs(np.diagonal(self.qp.H)).mean()) or 1.0

    @cached_property
    def _scaled(self) -> DenseQP:
        return self.qp.divided(self._size)

    @cached_property
    def _soft(self) -> Index:
        return np.flatnonzero(self.qp.soft)

    def matrices(self) -> tuple[Any, Any]:
        """Cost matrix, upper triangle, and rows, both sparse.

        Every entry of H and A is stored, zero or not, so that the pattern stays when values change.
        """
        qp, soft, n, k = self._scaled, self._soft, len(self.qp.f), len(self._soft)
        weights = sp.diags(qp.quadratic_weight[soft])
        P = sp.block_diag([_full(qp.H, upper=True), weights])
        choose = sp.csc_matrix((np.ones(k), (soft, np.arange(k))), (len(qp.A), k))
        rows = [
            sp.hstack([sp.identity(n), sp.csc_matrix((n, k))]),
            sp.hstack([_full(qp.A), -choose]),
            sp.hstack([_full(qp.A[soft]), sp.identity(k)]),
            sp.hstack([sp.csc_matrix((k, n)), sp.identity(k)]),
        ]
        return sp.csc_matrix(P), sp.csc_matrix(sp.vstack(rows))

    def vectors(self) -> tuple[Array, Array, Array]:
        """Linear cost, lower and upper sides that go with `matrices`."""
        qp, soft, n, k = self._scaled, self._soft, len(self.qp.f), len(self._soft)
        side_low = np.where(qp.soft, -np.inf, qp.lower[n:])
        lower = np.concatenate([qp.lower[:n], side_low, qp.lower[n:][soft], np.zeros(k)])
        upper = np.concatenate([qp.upper, np.full(2 * k, np.inf)])
        upper = np.where(upper >= lower - ROUNDING, np.maximum(lower, upper), upper)
        return np.append(qp.f, qp.linear_weight[soft]), lower, upper

    def multipliers(self, y: Array) -> Array:
        """Multipliers of bounds and rows, shape (n + r,), from those of `matrices`' rows."""
        n, k = len(self.qp.f), len(self._soft)
        own = self._size * y[: n + len(self.qp.A)]
        own[n + self._soft] += self._size * y[len(own) : len(own) + k]
        return np.asarray(own)


def _full(M: Any, upper: bool = False) -> Any:
    """Sparse matrix with every entry of M stored, or every entry of its upper triangle."""
    i, j = np.triu_indices(len(M)) if upper else np.indices(M.shape).reshape(2, M.size)
    return sp.csc_matrix((M[i, j], (i, j)), M.shape)


@dataclass(frozen=True)
class SolverSettings(CheckedFields):
    """A solver with options of its own, for `KoopmanMPC(solver=...)`.

    Args:
        name: As `available_solvers` lists it.
        options: What the solver itself is told, by its own names.

    Example:
        >>> mpc = KoopmanMPC(  # doctest: +SKIP
        ...     model, 30, solver=SolverSettings("osqp", {"eps_abs": 1e-4})
        ... )
    """

    name: str
    options: Mapping[str, Option] = field(default_factory=dict)


GROUP = "koopman_control.solvers"
_KINDS: dict[str, type[Solver]] = {}


def register_solver(kind: type[Solver]) -> None:
    """Make a solver known by its name, for `KoopmanMPC(solver=...)` and `ParametricQP.solve`.

    A package that is installed may name its class in the entry-point group
    "koopman_control.solvers" instead.

    Args:
        kind: A class with the attributes and methods of `Solver`; most are those of `SolverBase`.

    Raises:
        ValueError: If another class has that name already, or it has none.
    """
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"kind is {kind!r}; expected a class with a name by which it is chosen")
    if _KINDS.setdefault(name, kind) is not kind:
        raise ValueError(f"kind has the name {name!r}, which {_KINDS[name]!r} has; choose another")


def available_solvers() -> tuple[str, ...]:
    """Name all solvers whose packages are installed."""
    return tuple(name for name, kind in _known().items() if installed(kind))


def installed(kind: type[Solver]) -> bool:
    """Whether the package that a solver needs is there."""
    return not kind.package or find_spec(kind.package) is not None


def _known() -> dict[str, type[Solver]]:
    """Return all kinds by name, those that other packages bring along included."""
    for entry in entry_points(group=GROUP):
        if entry.name not in _KINDS:
            register_solver(entry.load())
    return _KINDS


def solver_kind(name: str) -> type[Solver]:
    """Return the class of a solver, which tells its abilities.

    Raises:
        ValueError: If there is no such solver.
    """
    kind = _KINDS.get(name) or _known().get(name)
    if kind is None:
        raise ValueError(f"solver is {shown(name)}; expected one of {', '.join(_known())}")
    return kind


@checked
def make_solver(solver: str | SolverSettings) -> Solver:
    """Make a solver.

    Args:
        solver: Its name: "auto" (DAQP for up to 250 variables, an interior-point method beyond or
            where DAQP gives up), "daqp", "osqp", "piqp", "clarabel" or what else is registered. Or
            `SolverSettings`.

    Raises:
        TypeError | ValueError: If there is no such solver, or it knows no such option.
        ImportError: If its package is not installed.
    """
    settings = SolverSettings(solver) if isinstance(solver, str) else solver
    kind: Any = solver_kind(settings.name)
    if not settings.options:
        made: Solver = kind()
        return made
    unknown = sorted(set(settings.options) - kind.options())
    if unknown:
        raise ValueError(
            f"solver {settings.name!r} got the options {unknown}; expected some of "
            f"{sorted(kind.options())}"
        )
    try:
        made = kind(**settings.options)
        made.solve(_SMALLEST, matrices_changed=False)
        made.forget()
    except Exception as error:  # solvers raise whatever they like
        raise ValueError(
            f"solver {settings.name!r} does not take the options {dict(settings.options)}: {error}"
        ) from error
    return made


_SMALLEST = DenseQP(
    *(np.ones((1, 1)), np.ones(1), np.zeros((0, 1)), -np.ones(1), np.ones(1)),
    *(np.zeros(0), np.zeros(0)),
)
