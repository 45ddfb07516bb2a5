"""Initial guesses for plans: where a problem is not convex, the start decides the optimum found."""

from __future__ import annotations

import numpy as np

from koopman_control.common.arrays import Array

PERIODS = (6.0, 60.0)  # of the switching signals, in steps
AMPLITUDES = (0.25, 0.5, 1.0, 1.0)  # share of the input box


def switching(n: int, horizon: int, box: Array, rng: np.random.Generator) -> Array:
    """Draw n plans that switch between two levels in every input, shape (n, horizon, m).

    Optimal inputs of underactuated plants are nearly bang-bang; period, phase and amplitude are
    random. `box` of shape (2, m) must be finite.
    """
    m = box.shape[1]
    period = rng.uniform(*PERIODS, (n, 1, m))
    phase = rng.uniform(0.0, 1.0, (n, 1, m))
    amplitude = rng.choice(AMPLITUDES, (n, 1, m))
    wave = np.sign(np.sin(2.0 * np.pi * (np.arange(horizon)[:, None] / period + phase)))
    middle, half = 0.5 * (box[0] + box[1]), 0.5 * (box[1] - box[0])
    return np.asarray(middle + half * amplitude * wave)


def shifted(plan: Array) -> Array:
    """Move plans (..., N, m), or whatever has a row for each step, on by one; hold the last row."""
    return np.concatenate([plan[..., 1:, :], plan[..., -1:, :]], axis=-2)


def within_bounds(plans: Array, box: Array, rate: Array, previous: Array) -> Array:
    """Clip plans (S, N, m) to the input box and, from the previous input on, to the rate bounds."""
    plans = np.clip(plans, box[0], box[1])
    if np.isfinite(rate).any():
        before = previous
        for k in range(plans.shape[1]):
            plans[:, k] = before = np.clip(plans[:, k], before - rate, before + rate)
    return plans
