"""Bounds and polytopes of outputs moved inwards by what predictions may be off."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, positive_int
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.regulator import riccati
from koopman_control.mpc.statement.settings import Mask, weight_matrix, widened
from koopman_control.mpc.statement.weights import Weights

MOST = 0.45  # of the distance between two bounds; a tenth of it always stays


def tightened(
    weights: Weights, tighten: Any, model: LiftedModel, rollout: Rollout, delay: int
) -> Weights:
    """Move bounds of outputs inwards, and polytopes by the most that margins make of their rows."""
    w, (G_y, G_u, g) = weights, weights.polytope
    concerned = np.isfinite(w.output_bounds).any(axis=(0, 1)) | G_y.any(axis=0)
    hard = (concerned & ~w.soft)[: model.coordinates.n_outputs]
    margin = widened(margins(tighten, model, rollout, hard, len(w.Q), delay), model.n_states)
    return replace(
        w,
        output_bounds=moved_inwards(w.output_bounds, margin),
        polytope=(G_y, G_u, g - margin @ np.abs(G_y).T),
    )


def margins(
    tighten: Any, model: LiftedModel, rollout: Rollout, hard: Mask, horizon: int, delay: int
) -> Array:
    """Check and spread the margins of a controller's output bounds.

    Args:
        tighten: "auto", False or margins, as for `KoopmanMPC`.
        model: The model; "auto" takes its error quantiles.
        rollout: How it is rolled out.
        hard: Which outputs have hard bounds, shape (d,); the others get no margin from "auto".
        horizon: Number of steps N.
        delay: Steps that predictions already reach ahead.

    Returns:
        Margins, shape (N, d).

    Raises:
        ValueError: If margins are negative, not finite or of the wrong shape.
        UserWarning: If the model's quantiles are unknown for some steps.
    """
    shape = (horizon, len(hard))
    if tighten is False or (isinstance(tighten, str) and tighten == "auto"):
        known = {} if tighten is False else model.error_quantiles
        if rollout not in known or not hard.any():
            return np.zeros(shape)
        kept = np.zeros(shape)
        kept[:, hard] = _over_horizon(known[rollout][:, hard], horizon, delay)
        return kept
    if isinstance(tighten, (str, bool)):
        raise ValueError(f'tighten is {tighten!r}; expected "auto", False or margins {shape}')
    given = finite_array("tighten", tighten)
    if given.shape not in ((), shape[1:], shape) or (given < 0.0).any():
        raise ValueError(
            f"tighten has shape {given.shape} and smallest entry {given.min():g}; expected margins "
            f"of at least 0: a number, one per state {shape[1:]}, or one per step, {shape}"
        )
    return np.broadcast_to(given, shape)


def moved_inwards(bounds: Array, margin: Array) -> Array:
    """Move bounds (2, N, d) inwards by margins (N, d), but never across each other.

    Raises:
        UserWarning: If there is not enough room between them.
    """
    low, high = bounds
    with np.errstate(invalid="ignore"):  # both may be infinite
        room = np.where(np.isfinite(bounds).all(axis=0), MOST * (high - low), np.inf)
    if np.any(margin > room):
        k, i = np.argwhere(margin > room)[0]
        warnings.warn(
            f"predictions of state {i} may be off by {margin[k, i]:.3g} after step {k + 1}, which "
            f"leaves nothing between its bounds {low[k, i]:g} and {high[k, i]:g}; a tenth of "
            "the distance is kept: shorten the horizon, improve the model or set tighten=False",
            UserWarning,
            stacklevel=5,
        )
    margin = np.minimum(margin, room)
    return np.stack([low + margin, high - margin])


def tube_margins(
    model: LiftedModel,
    horizon: int,
    noise: ArrayLike,
    Q: ArrayLike = 1.0,
    R: ArrayLike = 1.0,
) -> Array:
    """Bound how far the plant strays from a plan under bounded noise and feedback.

    With |w| <= noise added to the states at each step, and the deviation from the plan e fed back
    by the regulator, e+ = (F - G K) e + w, so |e_k| <= sum_j<k |(F - G K)^j| noise, entry by
    entry. Constraints tightened by that leave the plan of the next step room to react (Chisci,
    Rossiter & Zappa, Automatica 37, 2001).

    Args:
        model: The model, linearised at zero.
        horizon: Number of steps N.
        noise: Largest |w| of each state: a number or shape (d,).
        Q: State weight of the regulator: a number, a diagonal (d,) or a matrix (d, d).
        R: Input weight of the regulator, likewise in m.

    Returns:
        Margins for `KoopmanMPC(tighten=...)`, shape (N, d).

    Raises:
        ValueError: If a setting has the wrong shape, or the regulator does not stabilise the model.

    Example:
        >>> model = LiftedModel.from_arrays([[0.5]], [[0.0]])
        >>> tube_margins(model, 3, 0.1).ravel()
        array([0.1  , 0.15 , 0.175])
    """
    d, m = model.n_states, model.n_inputs
    N, w = positive_int("horizon", horizon), finite_array("noise", noise)
    if w.shape not in ((), (d,)) or (w < 0.0).any():
        raise ValueError(f"noise is {noise!r}; expected a bound of at least 0, or {d} of them")
    x, u = np.zeros(d), np.zeros(m)
    K, _ = riccati(model, x, u, weight_matrix("Q", Q, d), weight_matrix("R", R, m))
    F, G = (J[0] for J in model.one_step.jacobians(x[None], u[None]))
    closed = F - G @ K
    if np.abs(np.linalg.eigvals(closed)).max() >= 1.0:
        raise ValueError("the regulator does not stabilise the model; choose other Q and R")
    power, spread = np.eye(d), np.broadcast_to(w, (d,))
    steps = []
    for _ in range(N):
        steps.append(np.abs(power) @ spread)
        power = closed @ power
    return np.asarray(np.cumsum(steps, axis=0))[:, : model.coordinates.n_outputs]


def _over_horizon(quantiles: Array, horizon: int, delay: int) -> Array:
    """Pick the rows of steps delay + 1 ... delay + N; unknown ones are taken as the last known."""
    reach = int(np.isfinite(quantiles).all(axis=1).cumprod().sum())
    if reach < delay + horizon:
        warnings.warn(
            f"the model's error quantiles reach {reach} steps, the plan {delay + horizon}; beyond, "
            "bounds are tightened as at the last one known: fit with a longer horizon",
            UserWarning,
            stacklevel=5,
        )
    known = np.maximum.accumulate(np.where(np.isfinite(quantiles), quantiles, 0.0), axis=0)
    return np.asarray(known[np.minimum(delay + np.arange(horizon), len(known) - 1)])
