"""The control problem, stated in CVXPY in terms of predicted outputs y and inputs u.

Lifted states never become decision variables: where y comes from is the prediction's business, so
one statement serves every roll-out. Rows of y are the states after 1 ... N steps, rows of u the
inputs before them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.reshape import reshape
from cvxpy.atoms.affine.vstack import vstack
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control.common.arrays import Array


@dataclass(frozen=True)
class Weights:
    """Settings of the tracking problem, all checked.

    Args:
        Q: Output weight, shape (p, p), positive semidefinite.
        R: Input weight, shape (m, m), positive semidefinite.
        S: Weight of input changes, shape (m, m), positive semidefinite.
        terminal: Additional weight of the last output, shape (p, p), positive semidefinite.
        input_bounds: Lowest and highest input, shape (2, m), finite or infinite.
        rate_bounds: Largest change of each input between two steps, shape (m,), or infinite.
        output_bounds: Lowest and highest output, shape (2, p); kept softly.
        slack_weight: Weight of an output's violation v in the cost: slack_weight (|v| + v^2).
    """

    Q: Array
    R: Array
    S: Array
    terminal: Array
    input_bounds: Array
    rate_bounds: Array
    output_bounds: Array
    slack_weight: float


class TrackingProblem:
    """Tracking cost, input and rate bounds and soft output bounds over N steps.

    Args:
        horizon: Number of steps N.
        weights: The settings.

    Attributes:
        u: Inputs, variable of shape (N, m).
        y: Predicted outputs, variable of shape (N, p).
        reference: Target of y, parameter of shape (N, p).
        input_reference: Target of u, parameter of shape (m,).
        previous_input: Input applied before the first step, parameter of shape (m,).
        free: Predicted outputs at u = 0, parameter of shape (N p,), row after row.
        gamma: Sensitivity of the outputs to the inputs, parameter of shape (N p, N m).
        stated: The problem with y free: cost and constraints, without a prediction.
        problem: The whole problem, with y == free + gamma u; its `solve()` is the reference.
    """

    def __init__(self, horizon: int, weights: Weights) -> None:
        N, p, m = horizon, len(weights.Q), len(weights.R)
        self.u = cp.Variable((N, m), name="u")
        self.y = cp.Variable((N, p), name="y")
        self.reference = cp.Parameter((N, p), name="reference")
        self.input_reference = cp.Parameter(m, name="input_reference")
        self.previous_input = cp.Parameter(m, name="previous_input")
        objective, constraints = self._cost(weights), self._input_constraints(weights)
        slack_cost, soft = self._soft_outputs(weights)
        self.stated = cp.Problem(cp.Minimize(objective + slack_cost), constraints + soft)
        self.free = cp.Parameter(N * p, name="free")
        self.gamma = cp.Parameter((N * p, N * m), name="gamma")
        predicted = self.free + self.gamma @ self.u.flatten(order="C")
        prediction = self.y.flatten(order="C") == predicted
        self.problem = cp.Problem(self.stated.objective, [*self.stated.constraints, prediction])

    @property
    def parameters(self) -> tuple[cp.Parameter, ...]:
        """Parameters of `stated`, in the order in which the compiled problem takes them."""
        return (self.reference, self.input_reference, self.previous_input)

    @property
    def rates(self) -> cp.Expression:
        """Changes of the input from step to step, shape (N, m)."""
        before = _row(self.previous_input)
        earlier: cp.Expression = vstack([before, self.u[:-1]]) if self.u.shape[0] > 1 else before
        changes: cp.Expression = self.u - earlier
        return changes

    def _cost(self, w: Weights) -> cp.Expression:
        target = np.ones((self.u.shape[0], 1)) @ _row(self.input_reference)
        cost: cp.Expression = _squares(self.y - self.reference, w.Q)
        cost += _squares(self.u - target, w.R)
        cost += 0.0 * (self.u.sum() + self.y.sum())  # both occur, even where nothing weighs them
        if w.S.any():
            cost += _squares(self.rates, w.S)
        if w.terminal.any():
            cost += _squares(self.y[-1:] - self.reference[-1:], w.terminal)
        return cost

    def _input_constraints(self, w: Weights) -> list[cp.Constraint]:
        constraints = _within(self.u, w.input_bounds)
        return constraints + _within(self.rates, np.stack([-w.rate_bounds, w.rate_bounds]))

    def _soft_outputs(self, w: Weights) -> tuple[cp.Expression, list[cp.Constraint]]:
        """Relax each bounded output at each step by its own slack."""
        bounded = np.flatnonzero(np.isfinite(w.output_bounds).any(axis=0))
        if not len(bounded):
            return cp.Constant(0.0), []
        slack = cp.Variable((self.y.shape[0], len(bounded)), name="slack", nonneg=True)
        outputs, (low, high) = self.y[:, bounded], w.output_bounds[:, bounded]
        above, below = np.isfinite(high), np.isfinite(low)
        constraints: list[cp.Constraint] = []
        if above.any():
            constraints.append(outputs[:, above] - slack[:, above] <= high[above][None])
        if below.any():
            constraints.append(outputs[:, below] + slack[:, below] >= low[below][None])
        return w.slack_weight * (slack.sum() + sum_squares(slack)), constraints


def _row(vector: cp.Expression) -> cp.Expression:
    row: cp.Expression = reshape(vector, (1, vector.size), order="C")
    return row


def _squares(expression: cp.Expression, weight: Array) -> cp.Expression:
    """Sum of e_k' W e_k over the rows e_k of an expression."""
    values, vectors = np.linalg.eigh(weight)  # unit vectors, exactly, where the weight is diagonal
    kept = values > 0.0
    root = vectors[:, kept] * np.sqrt(values[kept])
    cost: cp.Expression = sum_squares(expression @ root) if root.size else cp.Constant(0.0)
    return cost


def _within(expression: cp.Expression, bounds: Array) -> list[cp.Constraint]:
    """Bound the columns of an expression where the bounds (2, k) are finite."""
    low, high = bounds
    constraints: list[cp.Constraint] = []
    if np.isfinite(high).any():
        finite = np.flatnonzero(np.isfinite(high))
        constraints.append(expression[:, finite] <= high[finite][None])
    if np.isfinite(low).any():
        finite = np.flatnonzero(np.isfinite(low))
        constraints.append(expression[:, finite] >= low[finite][None])
    return constraints
