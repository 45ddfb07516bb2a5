"""What is still to come after a plan, without gradients: fitted value iteration on the model.

From states of the data, the learned model is run for a few steps under many inputs, once. Then

    v(x) = max_u [r(x, u) + ... + discount^k v(x+)]

is repeated on sampled features; since the states stay, each repetition is two products of matrices.
"""

from __future__ import annotations

import numpy as np

from koopman_control.autopilot.reward import EndModel, RewardModel
from koopman_control.autopilot.search import Objective
from koopman_control.autopilot.surface import Basis, Surface, folds_of
from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import LiftedModel
from koopman_control.identification.least_squares import RFactor

STATES = 1500
INPUTS = 12
HELD = 5  # steps that an input is held
ROUNDS = 300
NEURONS, STEEPNESS, RIDGE = 150, 0.5, 1e-5
SETTLED = 1e-3  # change of the value, in its spread, at which iteration ends
LOST = 1e100  # states beyond which squares overflow


def fitted_value(
    model: LiftedModel,
    reward: RewardModel,
    end: EndModel,
    X: Array,
    objective: Objective,
    discount: float,
    avoided: Surface | None,
    box: Array,
    seed: int = 0,
) -> Surface:
    """Learn the value of states by fitted value iteration on simulated steps.

    Args:
        model: The learned model.
        reward: The learned reward.
        end: The learned end of episodes.
        X: States of the data, shape (T, d).
        objective: Says where the model is not to be trusted, and what a step there is worth.
        discount: Of each step, below 1.
        avoided: What places cost beside, of their feature inputs; None: nothing.
        box: Lowest and highest inputs, shape (2, m).
        seed: Of states, inputs and features.

    Returns:
        One function of the feature inputs of a state.
    """
    rng, embed, m = np.random.default_rng(seed), model.signals.embedding, box.shape[1]
    if len(X) > STATES:
        X = X[rng.choice(len(X), STATES, replace=False)]
    T = len(X)
    U = rng.uniform(box[0], box[1], (INPUTS, m))
    U[0] = 0.5 * (box[0] + box[1])
    corners = rng.integers(0, 2, (INPUTS // 2, m))
    U[1 : 1 + INPUTS // 2] = np.where(corners, box[1], box[0])
    if m == 1:
        U[1], U[2] = box[0], box[1]
    x, u = np.repeat(X, INPUTS, axis=0), np.tile(U, (T, 1))
    paid, alive, factor = np.zeros(len(x)), np.ones(len(x)), 1.0
    going, last = np.zeros((HELD, 2)), np.array([0.0, 0.0])  # least and most of a step's reward
    for k in range(HELD):
        with np.errstate(all="ignore"):
            x_next = model.one_step.step(x, u)
        x_next = np.where(np.abs(x_next) < LOST, x_next, x)
        r, e = reward(embed(x), u, embed(x_next)), end.surface(embed(x_next))
        over = ((x_next < end.box[0]) | (x_next > end.box[1])).any(axis=1) | (e[:, 0] > 0.5)
        if avoided is not None:
            r = r - avoided(embed(x_next))[:, 0]
        r = r + objective.distrust * objective.lost(x_next)
        going[k] = r.min(), r.max()
        if over.any():
            last = np.array([min(last[0], e[over, 1].min()), max(last[1], e[over, 1].max())])
        paid += factor * alive * np.where(over, e[:, 1], r)
        alive = np.where(over, 0.0, alive)
        factor *= discount
        x = x_next
    # The end is paid once, a step again and again: no state is worth more, or less, than either.
    forever = 1.0 / (1.0 - discount)
    bound = np.array(
        [min(forever * going[:, 0].min(), last[0]), max(forever * going[:, 1].max(), last[1])]
    )
    features = SampledFeatures(NEURONS, steepness=STEEPNESS, random_state=seed)
    basis = Basis(embed(X), None, features)
    Phi, Phi_next = basis(embed(X)), basis(embed(x))
    k = Phi.shape[1]
    solver = RFactor.of(Phi, np.eye(T)).solver()
    project = solver.solve(RIDGE)  # (k, T)
    w, y = np.zeros(k), np.zeros(T)
    for _ in range(ROUNDS):
        v = np.clip(Phi_next @ w, *bound)
        y_new = (paid + factor * alive * v).reshape(T, INPUTS).max(axis=1)
        change, y = np.abs(y_new - y).max(), y_new
        w = project @ y
        if change < SETTLED * (np.ptp(y) + 1e-12):
            break
    fold = folds_of(T)
    own = fold == 0
    left = RFactor.of(Phi[~own], y[~own, None]).solver().solve(RIDGE)
    off = float(((Phi[own] @ left)[:, 0] - y[own]).var() / max(y.var(), 1e-300))
    return basis.surface(
        w[:, None], y[:].min(keepdims=True), y.max(keepdims=True), np.array([1.0 - off])
    )
