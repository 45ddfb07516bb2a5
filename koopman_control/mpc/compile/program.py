"""The compiled problem: a quadratic program for every value of the parameters theta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, Index, finite_array
from koopman_control.mpc.solvers import (
    DenseQP,
    Residuals,
    Solution,
    SolverSettings,
    make_solver,
    residuals,
)


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


KEPT = 1e-9  # a row that is broken by less is kept

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

        Raises:
            ValueError: If a parameter is missing, unknown, of another shape or not finite.
        """
        shapes = self.origin.parameters
        if not isinstance(values, Mapping):
            return finite_array("theta", values, shape=(len(self.constant.linear),))
        if values.keys() != shapes.keys():
            raise ValueError(
                f"values are given for parameters {sorted(values)}; expected {sorted(shapes)}"
            )
        arrays = [finite_array(name, values[name], shape=shape) for name, shape in shapes.items()]
        return np.concatenate([np.zeros(0), *map(np.ravel, arrays)])

    def at(self, values: Values) -> DenseQP:
        """Fill in parameters: a dictionary by name, or theta of shape (t,)."""
        theta = self.theta(values)
        free = np.full(len(self.P), np.inf)
        return DenseQP(
            H=self.P,
            f=self.q(theta),
            A=self.A,
            lower=np.append(-free, self.lower(theta)),
            upper=np.append(free, self.upper(theta)),
            linear_weight=self.linear_weight,
            quadratic_weight=self.quadratic_weight,
        )

    def solve(self, values: Values = (), solver: str | SolverSettings = "auto") -> QPSolution:
        """Solve at given parameters.

        Args:
            values: Parameters: a dictionary by name, or theta of shape (t,).
            solver: A name that `available_solvers` lists, or `SolverSettings`.

        Returns:
            The answer, with the status of a problem that has none.

        Raises:
            ValueError: If parameters are missing, of another shape or not finite.
        """
        theta = self.theta(values)
        program = self.at(theta)
        chosen = make_solver(solver)
        answer = chosen.solve(program, matrices_changed=False) if len(self.P) else _checked(program)
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


def _checked(qp: DenseQP) -> Solution:
    """Answer a program whose equations leave nothing to choose; then no row is soft."""
    v = np.zeros(0)
    if np.any(qp.violation(v) > KEPT):
        return Solution(None, "infeasible", 0)
    return Solution(v, "optimal", 0, np.zeros(len(qp.A)))
