"""Linear-quadratic regulator of the model linearised at the target: a guess and a terminal cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array, Index
from koopman_control.identification import LiftedModel
from koopman_control.mpc.start import Start

STEPS = 500  # of the Riccati recursion; it converges in far fewer for a controllable target


@dataclass(frozen=True)
class Regulator:
    """u - K (x - target) inside a box: target (d,), u (m,), K (m, d), box (2, m)."""

    target: Array
    u: Array
    K: Array
    box: Array

    def inputs(self, model: LiftedModel, x: Array) -> Array:
        """Return the inputs (S, m) at states (S, d)."""
        deviation = model.coordinates.wrap(x - self.target)
        u = self.u - deviation @ self.K.T
        return np.asarray(np.minimum(np.maximum(u, self.box[0]), self.box[1]))


def riccati(
    model: LiftedModel, x: Array, u: Array, Q: Array, R: Array, controlled: Index | None = None
) -> tuple[Array, Array]:
    """Compute the regulator at a target state and input by the Riccati recursion.

    Args:
        model: The model; its re-lifted one-step map is linearised.
        x: Target state, shape (d,).
        u: Target input, shape (m,).
        Q: State weight, shape (d, d).
        R: Weight of the controlled inputs, shape (m, m) where all are.
        controlled: Indices of the inputs that are controlled; None: all.

    Returns:
        Gain K of shape (m, d), for u - K (x - target), and cost P - Q of all steps after the
        state's own, shape (d, d). Both are zero where the recursion does not stay finite (a target
        that cannot be held).
    """
    F, G = (J[0] for J in model.one_step.jacobians(x[None], u[None]))
    G = G if controlled is None else G[:, controlled]
    P, K = Q.copy(), np.zeros((len(R), len(Q)))
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            M = R + G.T @ P @ G
            if not np.isfinite(M).all() or np.linalg.cond(M) > 1e15:
                return np.zeros_like(K), np.zeros_like(P)
            K = np.linalg.solve(M, G.T @ P @ F)
            P_next = Q + F.T @ P @ (F - G @ K)
            P_next = 0.5 * (P_next + P_next.T)
            settled = np.abs(P_next - P).max() <= 1e-14 * np.abs(P).max()
            P = P_next
            if settled:
                break
    return K, P - Q


def finished_by_feedback(
    model: LiftedModel,
    start: Start,
    plans: Array,
    heads: Index,
    regulator: Regulator,
) -> tuple[Array, Array]:
    """Let the regulator take plans over, plan s after heads[s] steps; rolled out on the model.

    Open-loop guesses rarely stay near an unstable target once they reach it; these do.

    Args:
        model: The model, rolled out re-lifted.
        start: What they start from.
        plans: Plans, shape (S, N, m); changed in place.
        heads: Number of steps kept of each plan, shape (S,).
        regulator: Takes over.

    Returns:
        The plans, shape (S, N, m), and the outputs they lead through, shape (S, N, d).
    """
    d, forecast = len(start.x), start.forecast
    X = np.empty((*plans.shape[:2], d))
    x = np.broadcast_to(start.x, (len(plans), d))
    first, taken_over = heads.min(), (heads <= np.arange(plans.shape[1])[:, None])[..., None]
    for k in range(plans.shape[1]):
        if k >= first:
            np.copyto(plans[:, k], regulator.inputs(model, x), where=taken_over[k])
        u = plans[:, k] if forecast is None else forecast.joined(plans[:, k], k)
        x = X[:, k] = model.one_step.step(x, u)
    return plans, start.outputs(X)
