"""Bounds and polytopes moved inwards by what predictions may be off."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array, finite_array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.statement.settings import Mask, widened
from koopman_control.mpc.statement.tube import Tube
from koopman_control.mpc.statement.weights import Weights

MOST = 0.45  # of the distance between two bounds; a tenth of it always stays


def tightened(
    weights: Weights, tighten: Any, model: LiftedModel, rollout: Rollout, delay: int
) -> Weights:
    """Move bounds inwards, and polytopes by the most that margins make of their rows."""
    w, (G_y, G_u, g) = weights, weights.polytope
    by_input = np.zeros(w.R.shape[:2])
    if isinstance(tighten, Tube):
        by_input = finite_array("tighten's input margins", tighten.inputs, shape=by_input.shape)
        tighten = tighten.outputs
    concerned = np.isfinite(w.output_bounds).any(axis=(0, 1)) | G_y.any(axis=0)
    hard = (concerned & ~w.soft)[: model.coordinates.n_outputs]
    margin = widened(margins(tighten, model, rollout, hard, len(w.Q), delay), model.n_states)
    return replace(
        w,
        input_bounds=moved_inwards(w.input_bounds, by_input, "input"),
        output_bounds=moved_inwards(w.output_bounds, margin, "state"),
        polytope=(G_y, G_u, g - margin @ np.abs(G_y).T - by_input @ np.abs(G_u).T),
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
    if not given.size or given.shape not in ((), shape[1:], shape) or (given < 0.0).any():
        raise ValueError(
            f"tighten has shape {given.shape}, smallest entry {given.min(initial=np.inf):g}; "
            f"expected margins of at least 0: a number, one per state {shape[1:]}, or one per "
            f"step, {shape}"
        )
    return np.broadcast_to(given, shape)


def moved_inwards(bounds: Array, margin: Array, what: str) -> Array:
    """Move bounds (2, N, d) of `what` inwards by margins (N, d), but never across each other.

    Raises:
        UserWarning: If there is not enough room between them.
    """
    low, high = bounds
    with np.errstate(invalid="ignore"):  # both may be infinite
        room = np.where(np.isfinite(bounds).all(axis=0), MOST * (high - low), np.inf)
    if np.any(margin > room):
        k, i = np.argwhere(margin > room)[0]
        warnings.warn(
            f"{what} {i} may be off by {margin[k, i]:.3g} after step {k + 1}, which "
            f"leaves nothing between its bounds {low[k, i]:g} and {high[k, i]:g}; a tenth of "
            "the distance is kept: shorten the horizon, improve the model or set tighten=False",
            UserWarning,
            stacklevel=5,
        )
    margin = np.minimum(margin, room)
    return np.stack([low + margin, high - margin])


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
