"""The control problem, stated in CVXPY in terms of predicted outputs y and inputs u.

Lifted states never become decision variables: where y comes from is the prediction's business, so
one statement serves every roll-out. Rows of y are the states after 1 ... N steps, rows of u the
inputs before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.atoms.affine.binary_operators import multiply
from cvxpy.atoms.affine.reshape import reshape
from cvxpy.atoms.affine.vstack import vstack
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control.common.arrays import Array
from koopman_control.mpc.statement.limits import Limits, users_limit
from koopman_control.mpc.statement.terms import Parameters, Term
from koopman_control.mpc.statement.weights import Weights


class TrackingProblem:
    """Cost, bounds and the user's own terms over N steps.

    Args:
        weights: The settings.
        terms: What the user added.
        own: The parameters in these terms.
        n_outputs: Number of leading columns of a model's outputs that the user's terms see.
        n_models: How many models' outputs stand side by side in y; the terms are stated for each.

    Attributes:
        u: Inputs, variable of shape (N, m).
        y: Predicted outputs, variable of shape (N, p).
        parameters: Parameters of `stated`: the target of y, shape (N, p), the target of u, shape
            (N, m), the input applied before the first step, shape (m,), and the user's own. Theta
            stacks them in this order.
        limits: What is bounded, by name.
        free: Predicted outputs at u = 0, parameter of shape (N p,), row after row.
        gamma: Sensitivity of the outputs to the inputs, parameter of shape (N p, N m).
        stated: The problem with y free: cost and constraints, without a prediction.
        latest: What the last term added, alone; empty without terms.
        problem: The whole problem, with y == free + gamma u; its `solve()` is the reference.
    """

    def __init__(
        self,
        weights: Weights,
        terms: Sequence[Term],
        own: Parameters,
        n_outputs: int,
        n_models: int = 1,
    ) -> None:
        N, p, m = len(weights.Q), weights.Q.shape[1], weights.R.shape[1]
        self.u = cp.Variable((N, m), name="u")
        self.y = cp.Variable((N, p), name="y")
        self._reference = cp.Parameter((N, p), name="reference")
        self._input_reference = cp.Parameter((N, m), name="input_reference")
        self._previous = cp.Parameter(m, name="previous_input")
        users = own.declared()
        self.parameters: tuple[cp.Parameter, ...] = (
            self._reference,
            self._input_reference,
            self._previous,
            *users.values(),
        )
        rows = _bounded(weights, self.y, self.u, self.rates)
        constraints, cost = rows.constraints, self._cost(weights)
        self.limits = rows.limits
        seen = self._by_model(n_outputs, n_models)
        self.latest = cp.Problem(cp.Minimize(0.0))
        for term in terms:
            added, price = self._stated(term, seen, users)
            constraints, cost = constraints + added, cost + price
            self.latest = cp.Problem(cp.Minimize(price), added)
            self.limits += [own for own in map(users_limit, added) if own is not None]
        self.stated = cp.Problem(cp.Minimize(cost + rows.cost), constraints)
        self.free = cp.Parameter(N * p, name="free")
        self.gamma = cp.Parameter((N * p, N * m), name="gamma")
        self.problem = self.predicted_by(self.gamma)

    def predicted_by(self, gamma: cp.Parameter | Array) -> cp.Problem:
        """Return the whole problem, with y == free + gamma u."""
        predicted = self.free + gamma @ self.u.flatten(order="C")
        prediction = self.y.flatten(order="C") == predicted
        return cp.Problem(self.stated.objective, [*self.stated.constraints, prediction])

    def assign(self, theta: Array) -> None:
        """Set the parameters from the vector that stacks them."""
        start = 0
        for parameter in self.parameters:
            parameter.value = theta[start : start + parameter.size].reshape(parameter.shape)
            start += parameter.size

    @property
    def rates(self) -> cp.Expression:
        """Changes of the input from step to step, shape (N, m)."""
        before: cp.Expression = reshape(self._previous, (1, self._previous.size), order="C")
        earlier: cp.Expression = vstack([before, self.u[:-1]]) if self.u.shape[0] > 1 else before
        changes: cp.Expression = self.u - earlier
        return changes

    def _by_model(self, n_outputs: int, n_models: int) -> list[cp.Expression]:
        width = self.y.shape[1] // n_models
        if width == n_outputs and n_models == 1:
            return [self.y]
        return [self.y[:, k * width : k * width + n_outputs] for k in range(n_models)]

    def _stated(
        self, term: Term, seen: list[cp.Expression], users: Mapping[str, cp.Parameter]
    ) -> tuple[list[cp.Constraint], cp.Expression]:
        """State a term for every model: all constraints, and the mean cost; what lacks y once."""
        first, price = term.stated(seen[0], self.u, users)
        others = [term.stated(y, self.u, users) for y in seen[1:]]
        constraints = first + [one for added, _ in others for one in added if self._leads_to(one)]
        if others and self._leads_to(price):
            for _, own in others:
                price += own
            price /= len(seen)
        return constraints, price

    def _leads_to(self, expression: cp.Expression | cp.Constraint) -> bool:
        return any(variable is not self.u for variable in expression.variables())

    def _cost(self, w: Weights) -> cp.Expression:
        cost: cp.Expression = _squares(self.y - self._reference, w.Q)
        cost += _squares(self.u - self._input_reference, w.R)
        # Both variables occur, even where nothing weighs them.
        cost += multiply(self.y, w.linear_output).sum() + multiply(self.u, w.linear_input).sum()
        if w.S.any():
            cost += _squares(self.rates, w.S)
        if w.terminal.any():
            cost += _squares(self.y[-1:] - self._reference[-1:], w.terminal[None])
        return cost


def _bounded(w: Weights, y: cp.Expression, u: cp.Expression, rates: cp.Expression) -> Limits:
    """Collect all bounds; a polytope's row is soft if an output in it is."""
    rows, N = Limits(), len(w.Q)
    rows.bound("bound of input", u, w.input_bounds)
    rate = np.stack([w.rate_bounds] * N)
    rows.bound("rate bound of input", rates, np.stack([-rate, rate]))
    rows.bound("bound of output", y, w.output_bounds, w.soft, w.slack_weight, first=1)
    G_y, G_u, g = w.polytope
    involved = (G_y != 0.0) & w.soft
    prices = np.where(involved, w.slack_weight[:, None], 0.0).max(axis=2, initial=0.0)
    if g.size:
        inside, soft = y @ G_y.T + u @ G_u.T, involved.any(axis=1)
        rows.bound(
            "side of polytope row",
            inside,
            np.stack([np.full_like(g, -np.inf), g]),
            soft,
            prices,
            first=1,
        )
    return rows


def _squares(expression: cp.Expression, weights: Array) -> cp.Expression:
    """Sum of e_k' W_k e_k over the rows e_k of an expression, for weights of shape (N, k, k)."""
    roots = sp.csr_array(sp.block_diag([sp.csr_array(_root(W)) for W in weights]))
    weighed = expression.flatten(order="C")
    cost: cp.Expression = sum_squares(roots @ weighed) if roots.shape[0] else cp.Constant(0.0)
    return cost


def _root(weight: Array) -> Array:
    """Find L with L'L = W, without rows of zeros."""
    values, vectors = np.linalg.eigh(weight)  # unit vectors, exactly, where the weight is diagonal
    kept = values > 0.0
    return np.asarray((vectors[:, kept] * np.sqrt(values[kept])).T)
