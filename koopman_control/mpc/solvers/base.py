"""What all solvers have in common, and the check of what they return.

A solver is a class with a name, its abilities and three methods (`Solver`); `register_solver` makes
its name known, here or in another package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
from koopman_control.mpc.solvers.program import FAR, DenseQP, Scaling

Option = bool | int | float | str

UNBOUNDED = 1e30
TIME_LIMIT = "time limit"  # the status
SHORTEST = 1e-9  # seconds; to solvers, zero means no limit
DRIFT = 20.0  # powers of two by which curvatures and rows may leave the units measured first
SLIGHT = 1e-3  # sizes below this may come and go


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
    """Solves a sequence of programs of one shape, warm-started by the one before."""

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


class SolverKind(Protocol):
    """The class of a solver, which tells its abilities; `SolverBase` has all but the name.

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

    name: str
    package: str
    starts_warm: bool
    keeps_time_limit: bool
    takes_soft_rows: bool
    accuracy: float
    most_variables: int | None

    def __call__(self) -> Solver:
        """Make one; with options, if it has any."""


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


class Equilibrated:
    """A solver that is given programs in which variables, rows and cost are near one.

    So its tolerances are relative to the program. Units are measured when a program is first seen,
    and again where later ones have left them.

    Args:
        solver: The solver.
        alike: As in `Scaling.of`.
    """

    def __init__(self, solver: Solver, alike: Array | None = None) -> None:
        self._solver, self._alike = solver, alike
        self._scaling: Scaling | None = None
        self._seen: DenseQP | None = None  # the program before, scaled
        self._sizes = np.zeros(0)  # of its curvatures and rows when units were measured
        self._led = 1.0  # how far cost and sides led then

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve; multipliers are those of the program as given."""
        scaled = self._scaled(qp, matrices_changed)
        answer, scaling = self._solver.solve(scaled, matrices_changed, seconds), self._scaling
        if answer.v is None:
            return answer
        if np.abs(answer.v).max(initial=0.0) > FAR and runs_away(scaled, answer):
            self._solver.forget()
            return Solution(None, "unbounded", answer.iterations)
        if scaling is None:
            return answer
        multipliers = answer.multipliers
        if multipliers is not None:
            multipliers = scaling.multipliers(multipliers)
        return answer._replace(v=scaling.variables * answer.v, multipliers=multipliers)

    def prepare(self, qp: DenseQP) -> None:
        """Drop the warm start, and set up what the first solution of a program like this needs."""
        self._seen = None
        self._solver.prepare(self._scaled(qp, True))

    def forget(self) -> None:
        """Drop the warm start, and the units."""
        self._seen = None
        self._solver.forget()

    def _scaled(self, qp: DenseQP, matrices_changed: bool) -> DenseQP:
        seen, scaling = self._seen, self._scaling
        if seen is not None and matrices_changed:
            seen = qp if scaling is None else scaling.matrices(qp)
            if np.any(np.abs(np.log2(_sizes(seen) / self._sizes)) > DRIFT):
                seen = None
        if seen is not None:
            scaled = qp if scaling is None else scaling.vectors(qp, seen)
            if self._led / FAR <= (_led(scaled) or self._led) <= self._led * FAR:
                self._seen = scaled
                return scaled
        new = Scaling.of(qp, alone=True, alike=self._alike)
        if self._seen is not None and not _same(new, scaling):
            self._solver.forget()  # its prices of soft rows are in the old units
        self._scaling = new
        self._seen = scaled = qp if new is None else new.vectors(qp, new.matrices(qp))
        self._sizes, self._led = _sizes(scaled), _led(scaled) or 1.0
        return scaled


def _same(one: Scaling | None, other: Scaling | None) -> bool:
    if one is None or other is None:
        return one is other
    sides = np.array_equal(one.sides, other.sides)
    return sides and one.cost == other.cost


def _sizes(qp: DenseQP) -> Array:
    """Curvatures and largest entries of rows, those near nothing as what they might become."""
    own = np.append(np.diagonal(qp.H), np.abs(qp.A).max(axis=1, initial=0.0))
    return np.asarray(np.maximum(own, SLIGHT))


def _led(qp: DenseQP) -> float:
    """How far linear cost and sides lead from zero."""
    asked = max(qp.lower.max(initial=0.0), -qp.upper.min(initial=0.0))
    return float(max(asked, np.abs(qp.f).max(initial=0.0)))


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


NOTHING = 1e-6  # of a direction, where it meets no side


def runs_away(qp: DenseQP, answer: Solution) -> bool:
    """Whether a far point is no solution, but shows a way on which the cost falls for ever.

    The way v / |v| meets no side and no curvature, and the point's multipliers leave a slope as
    large as the cost falls on it, as any would.

    Args:
        qp: An equilibrated program.
        answer: A point that a solver takes for its solution.
    """
    v, multipliers = answer.v, answer.multipliers
    if v is None or multipliers is None:
        return False
    size, n = float(np.abs(v).max()), len(v)
    d = v / size
    rows = np.concatenate([d, qp.A @ d])
    over = np.where(np.isfinite(qp.upper), np.maximum(rows, 0.0), 0.0)
    over = np.maximum(over, np.where(np.isfinite(qp.lower), np.maximum(-rows, 0.0), 0.0))
    priced = qp.soft & (qp.quadratic_weight == 0.0)
    if np.any(over[np.append(np.ones(n, dtype=bool), ~priced)] > NOTHING):
        return False
    falls = -float(qp.f @ d + qp.linear_weight[priced] @ over[n:][priced])
    curved = size * float(d @ qp.H @ d)
    left = residuals(qp, v, multipliers).stationarity
    return falls > 0.0 and curved < 1e-3 * falls and left * float(np.abs(d).sum()) > 0.1 * falls


ROUNDING = 1e-9  # sides that cross by less meet


@dataclass(frozen=True)
class WithSlacks:
    """min x'Px/2 + q'x, lower <= rows x <= upper, equivalent to a program with soft rows.

    Args:
        qp: The program.
        patterned: Whether soft rows that boxes rule out keep their slacks, so that the pattern is
            that of other programs with these matrices.
    """

    qp: DenseQP
    patterned: bool = False

    @cached_property
    def _size(self) -> float:
        """Size of the cost, by which it is divided."""
        return float(np.abs(np.diagonal(self.qp.H)).mean()) or 1.0

    @cached_property
    def _scaled(self) -> DenseQP:
        return self.qp.divided(self._size)

    @cached_property
    def _sides(self) -> tuple[Array, Array]:
        return self._scaled.needed_sides()

    @cached_property
    def _met(self) -> NDArray[np.bool_]:
        """Which rows have a side that can be met."""
        low, high = (side[len(self.qp.f) :] for side in self._sides)
        return np.asarray(np.isfinite(low) | np.isfinite(high))

    @cached_property
    def _soft(self) -> Index:
        return np.flatnonzero(self.qp.soft & (self._met | self.patterned))

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
        low, high = self._sides
        side_low = np.where(qp.soft, -np.inf, low[n:])
        lower = np.concatenate([low[:n], side_low, low[n:][soft], np.zeros(k)])
        upper = np.concatenate([high, np.full(2 * k, np.inf)])
        upper = np.where(upper >= lower - ROUNDING, np.maximum(lower, upper), upper)
        prices = np.where(self._met, qp.linear_weight, 0.0)  # large ones spoil tolerances
        return np.append(qp.f, prices[soft]), lower, upper

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


class Answer(NamedTuple):
    """What a method says of a program with slacks: point, multipliers of its rows, a word."""

    x: Array
    y: Array
    status: str
    iterations: int


def solved_far_or_near(
    program: WithSlacks, answer_to: Callable[[Any, Any, Array, Array, Array], Answer]
) -> Solution:
    """Solve a program, if need be without sides that are far off.

    Such sides can keep an interior-point method from ending, since their rounding hides a duality
    gap of zero. Where it fails they are left out; what is then found is the solution if it obeys
    them.
    """
    P, rows = program.matrices()
    q, lower, upper = program.vectors()
    answer = answer_to(P, rows, q, lower, upper)
    if answer.status not in ("optimal", TIME_LIMIT):
        far = _far(P, rows, q, lower, upper)
        low, high = np.where(lower < -far, -np.inf, lower), np.where(upper > far, np.inf, upper)
        if np.any(low != lower) or np.any(high != upper):
            nearer = answer_to(P, rows, q, low, high)
            if nearer.status == "optimal" and np.abs(rows @ nearer.x).max() <= far:
                answer = nearer
    if answer.status != "optimal":
        return Solution(None, answer.status, answer.iterations)
    v = answer.x[: len(program.qp.f)]
    return Solution(v, "optimal", answer.iterations, program.multipliers(answer.y))


def _far(P: Any, rows: Any, q: Array, lower: Array, upper: Array) -> float:
    """From where on sides count as far: from what cost and rows lead to, or the nearest side."""
    half = P.toarray()
    by_cost = np.linalg.lstsq(half + np.triu(half, 1).T, -q, rcond=None)[0]
    asked = np.maximum(lower, -upper).max(initial=0.0)  # zero does not give that
    led = max(float(np.abs(rows @ by_cost).max()), float(asked))
    sides = np.concatenate([lower, upper])
    sizes = np.abs(sides[np.isfinite(sides) & (sides != 0.0)])
    return FAR * (led or float(sizes.min(initial=np.inf)))


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
_KINDS: dict[str, SolverKind] = {}


def register_solver(kind: SolverKind) -> None:
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


def installed(kind: SolverKind) -> bool:
    """Whether the package that a solver needs is there."""
    return not kind.package or find_spec(kind.package) is not None


def _known() -> dict[str, SolverKind]:
    """Return all kinds by name, those that other packages bring along included."""
    for entry in entry_points(group=GROUP):
        if entry.name not in _KINDS:
            register_solver(entry.load())
    return _KINDS


def solver_kind(name: str) -> SolverKind:
    """Return the class of a solver, which tells its abilities.

    Raises:
        ValueError: If there is no such solver.
    """
    kind = _KINDS.get(name) or _known().get(name)
    if kind is None:
        raise ValueError(f"solver is {shown(name)}; expected one of {', '.join(_known())}")
    return kind


@checked
def make_solver(
    solver: str | SolverSettings, equilibrated: bool = True, alike: Array | None = None
) -> Solver:
    """Make a solver.

    Args:
        solver: Its name: "auto" (DAQP for up to 250 variables, an interior-point method beyond or
            where DAQP gives up), "daqp", "osqp", "piqp", "clarabel" or what else is registered. Or
            `SolverSettings`.
        equilibrated: Whether it brings its programs to a common size before it solves them.
        alike: Which variables then keep one unit, as in `Scaling.of`.

    Raises:
        TypeError | ValueError: If there is no such solver, or it knows no such option.
        ImportError: If its package is not installed.
    """
    settings = SolverSettings(solver) if isinstance(solver, str) else solver
    kind: Any = solver_kind(settings.name)
    if not settings.options:
        return Equilibrated(kind(), alike) if equilibrated else kind()
    unknown = sorted(set(settings.options) - kind.options())
    if unknown:
        raise ValueError(
            f"solver {settings.name!r} got the options {unknown}; expected some of "
            f"{sorted(kind.options())}"
        )
    try:
        made: Solver = kind(**settings.options)
        made.solve(_SMALLEST, matrices_changed=False)
        made.forget()
    except Exception as error:  # solvers raise whatever they like
        raise ValueError(
            f"solver {settings.name!r} does not take the options {dict(settings.options)}: {error}"
        ) from error
    return Equilibrated(made, alike) if equilibrated else made


_SMALLEST = DenseQP(
    *(np.ones((1, 1)), np.ones(1), np.zeros((0, 1)), -np.ones(1), np.ones(1)),
    *(np.zeros(0), np.zeros(0)),
)
