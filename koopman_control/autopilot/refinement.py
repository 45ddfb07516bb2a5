"""Convex refinement of a plan: one quadratic program about it, and a line search.

About a plan, the model is linearised, x = X + Gamma dU, and what the plan is worth is replaced by
value, gradient and the part of its curvature that is concave (eigenvalues above zero are clipped),
so that what is left to solve is convex:

    max_dU  sum_k g_k' [x_k; u_k] - 1/2 [x_k; u_k]' H_k [x_k; u_k] + ...,   U + dU within the box.

Each step length along its solution is priced by the search itself, so a plan only gets better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from koopman_control.autopilot.search import Objective, PlanSearch
from koopman_control.autopilot.surface import Surface
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.identification.compiled_rollouts import compiled_roll_out
from koopman_control.mpc.solvers import DenseQP, make_solver

STEP_LENGTHS = np.array([1.0, 0.5, 0.2, 0.05])
TRUST = 0.5  # largest change of an input, in widths of its box
DAMPING = 1e-6  # of each input's own curvature, and a thousandth of that of the largest
MOST_VARIABLES = 200  # of a program that is solved in a step


class Expansion(NamedTuple):
    """Second-order expansion of a function of states and inputs along a plan.

    Args:
        gradient: Shape (N, d + m).
        curvature: The concave part of its second derivatives with the sign turned, positive
            semidefinite, shape (N, d + m, d + m).
    """

    gradient: Array
    curvature: Array


def expanded(surface: Surface, model: LiftedModel, X: Array, U: Array | None) -> Expansion:
    """Expand the first function of a surface of [e, u] (or of e) in states (N, d) and inputs."""
    embed = model.signals.embedding
    e = embed(X)
    Z = e if U is None else np.concatenate([e, U], axis=1)
    (N, d), n_e = X.shape, e.shape[1]
    m = Z.shape[1] - n_e
    g, H = surface.gradient(Z)[:, 0], surface.curvature(Z)[:, 0]
    J = np.zeros((N, Z.shape[1], d + m))  # of [e, u] to [x, u]
    J[:, :n_e, :d] = embed.pull_back(np.broadcast_to(np.eye(n_e), (N, n_e, n_e)), X)
    J[:, n_e:, d:] = np.eye(m)
    gradient = np.einsum("nz,nzj->nj", g, J)
    curvature = np.swapaxes(J, 1, 2) @ H @ J
    n, k = len(embed.plain), embed.n_angles
    for i, angle in enumerate(embed.angles):
        cosine, sine = n + i, n + k + i
        bend = g[:, cosine] * e[:, cosine] + g[:, sine] * e[:, sine]
        curvature[:, angle, angle] -= bend
    # Not where a model has left everything behind.
    known = np.asarray(np.isfinite(curvature).all(axis=(1, 2)))
    values, vectors = np.linalg.eigh(np.where(known[:, None, None], curvature, 0.0))
    concave = np.where(known[:, None], np.maximum(-values, 0.0), np.nan)
    return Expansion(gradient, (vectors * concave[:, None, :]) @ np.swapaxes(vectors, 1, 2))


class Refinement:
    """Improves plans by convex programs.

    Args:
        model: The learned model.
        objective: What plans are worth.
        search: Prices plans.
        box: Lowest and highest inputs, shape (2, m).
    """

    def __init__(
        self, model: LiftedModel, objective: Objective, search: PlanSearch, box: Array
    ) -> None:
        self._model, self._objective, self._search, self._box = model, objective, search, box
        self._solver = make_solver("auto")
        compiled = compiled_roll_out(model.one_step)
        if compiled is None:
            raise ValueError("the model's features are of a kind that plans are not searched on")
        self._fast = compiled

    def program(self, x: Array, plan: Array) -> DenseQP:
        """State the convex program in changes of a plan (N, m) from a state (d,), flattened."""
        g, model, (n, m) = self._objective, self._model, plan.shape
        U, N = np.repeat(plan, g.hold, axis=0), n * g.hold
        X = self._fast.predicted(x, U[None])
        Gamma = self._fast.sensitivity(x, X, U[None])[0]
        Gamma = Gamma.reshape(N, -1, n, g.hold, m).sum(axis=3).reshape(N, -1, n * m)
        X, d = X[0], X.shape[2]
        weight = g.discount ** np.arange(N)
        over = ((g.box[0] > X) | (g.box[1] < X)).any(axis=1)
        weight[np.cumsum(over) > 0] = 0.0
        at = X if g.after else np.concatenate([x[None], X[:-1]])
        G = Gamma if g.after else np.concatenate([np.zeros_like(Gamma[:1]), Gamma[:-1]])
        inputs = np.repeat(np.eye(n * m).reshape(n, m, n * m), g.hold, axis=0)
        D = np.concatenate([G, inputs], axis=1)  # of [x_k, u_k] to the plan
        paid = self._paid(at, U)
        slope = np.einsum("n,nj,njp->p", weight, paid.gradient, D)
        bend = D.reshape(-1, n * m)
        weighted = weight[:, None, None] * paid.curvature
        H = bend.T @ (weighted @ D).reshape(-1, n * m)
        if g.value is not None and not over.any():
            last = expanded(g.value, model, X[-1:], None)
            end, share = Gamma[-1], g.discount**N
            slope = slope + share * last.gradient[0, :d] @ end
            H = H + share * end.T @ last.curvature[0, :d, :d] @ end
        H = 0.5 * (H + H.T)
        own = np.diagonal(H)
        H += np.diag(DAMPING * (own + 1e-3 * own.max()) + 1e-12)
        width = np.tile(self._box[1] - self._box[0], n) * TRUST
        low = np.maximum(np.tile(self._box[0], n) - plan.ravel(), -width)
        high = np.minimum(np.tile(self._box[1], n) - plan.ravel(), width)
        none = np.zeros(0)
        return DenseQP(H, -slope, np.zeros((0, n * m)), low, high, none, none)

    def _paid(self, X: Array, U: Array) -> Expansion:
        """Expand the reward in the states (N, d) that it is paid for, and inputs (N, m).

        What of it belongs to the state before a step is paid for the state after the one before.
        """
        g, model = self._objective, self._model
        if len(g.reward.constant) == 1:
            return expanded(g.reward, model, X, U)
        both = g.reward.joined(g.discount)
        all_but_last = expanded(both, model, X[:-1], U[:-1])
        last = expanded(g.reward, model, X[-1:], U[-1:])
        return Expansion(
            np.concatenate([all_but_last.gradient, last.gradient]),
            np.concatenate([all_but_last.curvature, last.curvature]),
        )

    def improved(self, x: Array, plan: Array, worth: float) -> tuple[Array, float]:
        """Return a plan (N, m) from a state (d,) that is worth as much or more."""
        if plan.size > MOST_VARIABLES:
            return plan, worth
        with np.errstate(all="ignore"):  # a plan that the model loses has no program
            program = self.program(x, plan)
        if not (np.isfinite(program.H).all() and np.isfinite(program.f).all()):
            return plan, worth
        change = self._solver.solve(program, True).v
        if change is None or not np.isfinite(change).all():
            self._solver.forget()
            return plan, worth
        trials = plan + STEP_LENGTHS[:, None, None] * change.reshape(plan.shape)
        trials = np.clip(trials, self._box[0], self._box[1])
        worths = self._search.worth(x, trials)
        best = int(worths.argmax())
        return (trials[best], float(worths[best])) if worths[best] > worth else (plan, worth)

    def restart(self) -> None:
        """Forget the solver's warm start."""
        self._solver.forget()
