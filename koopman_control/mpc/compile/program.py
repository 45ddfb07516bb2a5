"""The compiled problem: a quadratic program for every value of the parameters theta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, Index, power_near, real_array
from koopman_control.mpc.solvers import (
    DenseQP,
    Residuals,
    Solution,
    SolverSettings,
    make_solver,
    residuals,
)
from koopman_control.mpc.solvers.program import NO_SIDE, opened

PASSES = 3  # through the rows


@dataclass(frozen=True)
class AffineMap:
    """An affine function theta -> constant + matrix theta, with shapes (k,) and (k, t)."""

    constant: Array
    matrix: sp.csr_array

    def __call__(self, theta: Array) -> Array:
        """Evaluate at parameters of shape (t,)."""
        return np.asarray(self.constant + self.matrix @ theta)

    def __getitem__(self, rows: Index) -> AffineMap:
        """Pick rows."""
        return AffineMap(self.constant[rows], sp.csr_array(self.matrix[rows]))

    def __add__(self, other: AffineMap) -> AffineMap:
        """Add the values of another map."""
        return AffineMap(self.constant + other.constant, sp.csr_array(self.matrix + other.matrix))

    def times(self, M: Any) -> AffineMap:
        """Multiply the value by a matrix from the left."""
        return AffineMap(np.asarray(M @ self.constant), sp.csr_array(M @ self.matrix))

    def fixed(self, rows: NDArray[np.bool_], value: float) -> AffineMap:
        """Give some rows a constant value, which may be infinite."""
        kept = sp.diags_array((~rows).astype(float))
        constant = np.where(rows, value, self.constant)
        return AffineMap(constant, sp.csr_array(kept @ self.matrix))

    def stacked(self, below: AffineMap) -> AffineMap:
        """Put another map's rows below these."""
        matrix = sp.csr_array(sp.vstack([self.matrix, below.matrix]))
        return AffineMap(np.append(self.constant, below.constant), matrix)


@dataclass(frozen=True)
class QuadraticMap:
    """theta -> constant + linear' theta + theta' quadratic theta."""

    constant: float
    linear: Array
    quadratic: Array

    def __call__(self, theta: Array) -> float:
        """Evaluate at parameters of shape (t,)."""
        return float(self.constant + (self.linear + self.quadratic @ theta) @ theta)


@dataclass(frozen=True)
class Recovery:
    """Where the stated variables went: they are matrix x + shift(theta) + excess violations.

    Args:
        columns: Places in the result of each stated variable, by name, in the variables' shapes.
        matrix: Shape (n0, n).
        shift: Shape (n0,).
        excess: Shape (n0, r), for the violations of the program's rows.
    """

    columns: dict[str, Index]
    matrix: sp.csr_array
    shift: AffineMap
    excess: sp.csr_array

    @classmethod
    def of(cls, columns: dict[str, Index], n: int, t: int) -> Recovery:
        """Recover variables from an x that still holds them all."""
        shift = AffineMap(np.zeros(n), sp.csr_array((n, t)))
        return cls(columns, sp.csr_array(sp.eye_array(n)), shift, sp.csr_array((n, 0)))

    def __call__(self, x: Array, theta: Array, violation: Array) -> dict[str, Array]:
        """Compute the stated variables' values."""
        values = self.matrix @ x + self.shift(theta) + self.excess @ violation
        return {name: np.asarray(values[c]) for name, c in self.columns.items()}


@dataclass(frozen=True)
class AffineQP:
    """Standard form: min x'Px/2 + q(theta)'x + c(theta) s.t. E x = b(theta), F x <= g(theta).

    Args:
        P: Symmetric, shape (n, n).
        q: Linear cost.
        c: Constant of the cost.
        E: Equality rows, shape (e, n).
        b: Their right-hand side.
        F: Inequality rows, shape (i, n).
        g: Their right-hand side.
        columns: Where each variable of interest lies in x, by name; arrays of the variables' shape.
        names: Names of the equality and of the inequality rows.
        recovery: Values of all stated variables.
    """

    P: sp.csr_array
    q: AffineMap
    c: QuadraticMap
    E: sp.csr_array
    b: AffineMap
    F: sp.csr_array
    g: AffineMap
    columns: dict[str, Index]
    names: tuple[tuple[str, ...], tuple[str, ...]]
    recovery: Recovery

    @property
    def wanted(self) -> Index:
        """Columns of all variables of interest."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *map(np.ravel, self.columns.values())])


def column_units(A: Array, alike: Iterable[Index] = ()) -> Array:
    """Units of variables by the rows that they share, shape (n,), for rows A (r, n).

    In them, every variable is some of the largest entry of a row that it does not have for itself.

    Args:
        A: Rows.
        alike: Columns of variables that have one unit.
    """
    size = np.abs(A[np.count_nonzero(A, axis=1) > 1])
    units = np.ones(A.shape[1])
    for _ in range(PASSES):
        largest = (size * units).max(axis=1, initial=0.0)
        share = (size / largest[:, None]).max(axis=0, initial=0.0)
        for columns in alike:
            share[columns] = share[columns].max(initial=0.0)
        with np.errstate(divide="ignore"):
            units = power_near(1.0 / share)
    return units


KEPT = 1e-9  # relative; a row that is broken by less is kept

Values = Mapping[str, ArrayLike] | ArrayLike


@dataclass(frozen=True)
class Origin:
    """What the compiled form no longer tells: shapes of parameters by name, and min or max."""

    parameters: dict[str, tuple[int, ...]]
    maximized: bool


@dataclass(frozen=True)
class QPSolution:
    """Answer of a compiled problem, in the terms of the stated one.

    Args:
        status: "optimal", "infeasible", "unbounded", ... the solver's word.
        values: Values of all stated variables by name; empty unless optimal.
        objective: Cost (or profit, where the problem is a maximisation); NaN unless optimal.
        iterations: Solver iterations.
        residuals: How well the optimality conditions hold; None unless optimal.
    """

    status: str
    values: dict[str, Array]
    objective: float
    iterations: int
    residuals: Residuals | None


@dataclass(frozen=True)
class ParametricQP:
    """min x'Px/2 + q(theta)'x + c(theta) + penalties, lower(theta) <= A x <= upper(theta).

    A row with finite weights is soft: its violation v costs
    linear_weight v + quadratic_weight v^2/2.

    Args:
        P: Symmetric, shape (n, n).
        q: Linear cost.
        constant: Constant of the cost.
        A: Rows, shape (r, n).
        lower: Lower sides; -inf where open.
        upper: Upper sides; inf where open.
        linear_weight: Shape (r,), infinite where the row is hard.
        quadratic_weight: Shape (r,), infinite where the row is hard.
        columns: Where each variable of interest lies in x, by name.
        row_names: Where each row comes from: label (or position) and entry of the constraint, both
            where two were joined; for rows that CVXPY added, the variables in them.
        recovery: Values of all stated variables.
        origin: What else is known of the stated problem.

    Example:
        >>> import cvxpy as cp
        >>> from koopman_control import compile_qp
        >>> x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
        >>> qp = compile_qp(cp.Problem(cp.Minimize(cp.sum_squares(x - p)), [x >= 0]), [p])
        >>> qp.solve({"p": [1.0, -1.0]}).objective
        1.0
    """

    P: Array
    q: AffineMap
    constant: QuadraticMap
    A: Array
    lower: AffineMap
    upper: AffineMap
    linear_weight: Array
    quadratic_weight: Array
    columns: dict[str, Index]
    row_names: tuple[str, ...]
    recovery: Recovery
    origin: Origin

    def theta(self, values: Values) -> Array:
        """Stack parameters given by name, or check those stacked already, shape (t,).

        Where a parameter is no more than a bound, infinity means that there is none; so does every
        number of 1e20 and beyond, which becomes infinity here.

        Raises:
            ValueError: If a parameter is missing, unknown, of another shape, NaN, or infinite
                where it is part of the cost or of an equation.
        """
        shapes = self.origin.parameters
        if not isinstance(values, Mapping):
            theta = real_array("theta", values, shape=(len(self.constant.linear),))
        elif values.keys() != shapes.keys():
            raise ValueError(
                f"values are given for parameters {sorted(values)}; expected {sorted(shapes)}"
            )
        else:
            arrays = [real_array(name, values[name], shape=shape) for name, shape in shapes.items()]
            theta = np.concatenate([np.zeros(0), *map(np.ravel, arrays)])
        if not np.abs(theta).max(initial=0.0) < NO_SIDE:
            theta = opened(theta)
            wrong = np.isnan(theta) | (np.isinf(theta) & ~self._bounding)
            if wrong.any():
                i = int(np.argmax(wrong))
                what = (
                    "a finite number, or infinity where there is no bound"
                    if np.isnan(theta[i])
                    else "finite numbers in cost and equations"
                )
                raise ValueError(f"{self._entry(i)} is {theta[i]}; expected {what}")
        return theta

    def at(self, values: Values) -> DenseQP:
        """Fill in parameters: a dictionary by name, or theta of shape (t,)."""
        theta = self.theta(values)
        free = np.full(len(self.P), np.inf)
        return DenseQP(
            H=self.P,
            f=self.q(_finite(theta)),
            A=self.A,
            lower=np.append(-free, self._side(self.lower, theta, -np.inf)),
            upper=np.append(free, self._side(self.upper, theta, np.inf)),
            linear_weight=self.linear_weight,
            quadratic_weight=self.quadratic_weight,
        )

    @cached_property
    def _bounding(self) -> NDArray[np.bool_]:
        """Which entries of theta enter sides of rows only."""
        elsewhere = self.constant.linear != 0.0
        elsewhere |= (self.constant.quadratic != 0.0).any(axis=0)
        elsewhere |= (self.constant.quadratic != 0.0).any(axis=1)
        for part in (self.q, self.recovery.shift):
            entries = part.matrix.indices[part.matrix.data != 0.0]  # a file's cannot be sorted
            elsewhere |= np.bincount(entries, minlength=len(elsewhere)) > 0
        return np.asarray(~elsewhere)

    @cached_property
    def opening(self) -> NDArray[np.bool_]:
        """Whether infinity and its negative in an entry of theta leave sides open, shape (2, t)."""
        up, down = self.upper.matrix.toarray(), self.lower.matrix.toarray()
        plus = (up >= 0.0).all(axis=0) & (down <= 0.0).all(axis=0)
        minus = (up <= 0.0).all(axis=0) & (down >= 0.0).all(axis=0)
        return np.stack([plus, minus]) & self._bounding

    def _side(self, side: AffineMap, theta: Array, open_end: float) -> Array:
        """Evaluate one side of the rows; `open_end` where there is none."""
        values = side(_finite(theta))
        values[values * np.sign(open_end) >= NO_SIDE] = open_end
        for j in np.flatnonzero(np.isinf(theta)):
            moved = side.matrix[:, [j]].toarray()[:, 0] * np.copysign(1.0, theta[j])
            values[moved != 0.0] = np.copysign(np.inf, moved[moved != 0.0])
            wrong = np.isinf(values) & (values != open_end)
            if wrong.any():
                raise ValueError(
                    f"{self._entry(int(j))} is {theta[j]}, so that nothing keeps "
                    f"{self.row_names[int(np.argmax(wrong))]}; expected a number, or the infinity "
                    "that leaves the row open"
                )
        return values

    def _entry(self, i: int) -> str:
        """Name an entry of theta."""
        for name, shape in self.origin.parameters.items():
            size = int(np.prod(shape))
            if i < size:
                entry = [int(k) for k in np.unravel_index(i, shape)] if shape else []
                return f"{name}{entry or ''}"
            i -= size
        return "theta"

    def solve(self, values: Values = (), solver: str | SolverSettings = "auto") -> QPSolution:
        """Solve at given parameters.

        Args:
            values: Parameters: a dictionary by name, or theta of shape (t,).
            solver: A name that `available_solvers` lists, or `SolverSettings`.

        Returns:
            The answer, with the status of a problem that has none.

        Raises:
            ValueError: If parameters are missing, of another shape, NaN, or infinite where they are
                no bounds; see `theta`.
        """
        theta = self.theta(values)
        program, theta = self.at(theta), _finite(theta)
        chosen = make_solver(solver)
        if len(self.P):
            answer = chosen.solve(program, matrices_changed=False)
        else:
            answer = self._checked(program, theta)
        if answer.v is None or answer.multipliers is None:
            return QPSolution(answer.status, {}, np.nan, answer.iterations, None)
        cost = program.cost(answer.v) + self.constant(theta)
        return QPSolution(
            status=answer.status,
            values=self.recovery(answer.v, theta, program.violation(answer.v)),
            objective=-cost if self.origin.maximized else cost,
            iterations=answer.iterations,
            residuals=residuals(program, answer.v, answer.multipliers),
        )

    def _checked(self, program: DenseQP, theta: Array) -> Solution:
        """Answer a program whose equations leave nothing to choose; then no row is soft."""
        v = np.zeros(0)
        size = np.zeros(len(self.A))  # of what the sides are made of
        for side in (self.lower, self.upper):
            own = np.abs(side.constant) + abs(side.matrix) @ np.abs(theta)
            size = np.maximum(size, np.where(np.isfinite(own), own, 0.0))
        if np.any(program.violation(v) > KEPT * size):
            return Solution(None, "infeasible", 0)
        return Solution(v, "optimal", 0, np.zeros(len(self.A)))


def _finite(theta: Array) -> Array:
    """Put zeros in place of infinities, for maps that do not depend on them."""
    infinite = np.isinf(theta)
    return np.where(infinite, 0.0, theta) if infinite.any() else theta
