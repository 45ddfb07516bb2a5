"""Which states are the speeds of which others, found in data that noise is being taken out of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates

STEPS = 10  # over which a speed is summed up: its noise averages out, what it leaves out does not
FEWEST = 50  # sums that are evidence
FOLLOWED = 1.5  # times what noise explains, which a state may differ from the sum
MOVED = 3.0  # times that difference, which it has to move
GAUSSIAN = 1.4826  # standard deviations in a median absolute deviation


def speeds_in(
    Y: Sequence[Array], coordinates: Coordinates, R: Array, dt: float | None
) -> dict[int, int]:
    """Find states that follow from the mean speed: x+ = x + dt * (v + v+) / 2.

    The relation is told from measurements alone, summed up over ten steps. What the two sides
    differ by must be what noise of the level found explains, and small beside what the state moves.
    So exact data hardly ever show one: there, the rule of the mean speed is the coarser model.

    Args:
        Y: Measured present states of each run, NaN where there is none, shape (T + 1, p).
        coordinates: What they are.
        R: Variances of their noise, shape (p,).
        dt: Sampling time, None where that is not known; nothing is found then.

    Returns:
        For each state that follows from a speed, which state is its speed.
    """
    if dt is None:
        return {}
    p, turning = coordinates.n_outputs, coordinates.is_angle
    moved, summed = [], []
    for y in Y:
        steps = coordinates.wrap(np.diff(y, axis=0))
        ends = np.cumsum(np.vstack([np.zeros(p), steps]), axis=0)
        sums = np.cumsum(np.vstack([np.zeros(p), 0.5 * dt * (y[1:] + y[:-1])]), axis=0)
        moved.append(ends[STEPS:] - ends[:-STEPS])
        summed.append(sums[STEPS:] - sums[:-STEPS])
    change, travelled = np.concatenate(moved), np.concatenate(summed)
    found: dict[int, int] = {}
    for i in range(p):
        closest = np.inf
        for j in range(p):
            if i == j or turning[j]:
                continue
            way, miss = np.abs(change[:, i]), np.abs(change[:, i] - travelled[:, j])
            way, miss = way[~np.isnan(miss)], miss[~np.isnan(miss)]
            if len(miss) < FEWEST:
                continue
            moving = way >= np.median(way)  # a state at rest tells nothing
            noise = np.sqrt(2.0 * R[i] + dt**2 * (STEPS - 0.5) * R[j])
            off, far = (GAUSSIAN * np.median(v[moving]) for v in (miss, way))
            if off < min(FOLLOWED * noise, far / MOVED, closest):
                found[i], closest = j, off
    return {i: j for i, j in found.items() if j not in found}
