"""The compiled problem: a quadratic program for every value of the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, Index, finite_array
from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.compilation.maps import AffineMap, QuadraticMap, Recovery
from koopman_control.mpc.solvers import Residuals, Solution, make_solver, residuals

KEPT = 1e-9  # a row that is broken by less is kept

Values = Mapping[str, ArrayLike] | ArrayLike


@dataclass(frozen=True)
class Stated:
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
        stated: What else is known of the stated problem.

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
    stated: Stated

    def theta(self, values: Values) -> Array:
        """Stack parameters given by name, or check those stacked already, shape (t,).

        Raises:
            ValueError: If a parameter is missing, unknown, of another shape or not finite.
        """
        shapes = self.stated.parameters
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

    def solve(self, values: Values = (), solver: str = "auto") -> QPSolution:
        """Solve at given parameters.

        Args:
            values: Parameters: a dictionary by name, or theta of shape (t,).
            solver: "auto", "daqp", "osqp", "piqp" or "clarabel".

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
            objective=-cost if self.stated.maximized else cost,
            iterations=answer.iterations,
            residuals=residuals(program, answer.v, answer.multipliers),
        )


def _checked(qp: DenseQP) -> Solution:
    """Answer a program whose equations leave nothing to choose; then no row is soft."""
    v = np.zeros(0)
    if np.any(qp.violation(v) > KEPT):
        return Solution(None, "infeasible", 0)
    return Solution(v, "optimal", 0, np.zeros(len(qp.A)))
