"""Which states the plant holds at their limit (a clipped speed, an end stop), read from a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features.base import spread
from koopman_control.identification.data.snapshots import Run, at_limit
from koopman_control.identification.fitting.frame import Frame
from koopman_control.identification.fitting.regression import Regression
from koopman_control.identification.least_squares.factor import RFactor
from koopman_control.identification.model.folding import folded
from koopman_control.identification.model.relift import OneStepMap

OVERSHOOT = 1e-3  # in standard deviations: a prediction this far beyond a limit means a stop
REACTION = 0.05  # share of a state's typical increment that its inputs must be able to cause
ROWS = 4096  # evaluated at a time, to keep memory small


def with_saturating_states(regression: Regression, factor: RFactor, runs: Sequence[Run]) -> Frame:
    """Decide which states the plant holds at their limit, by a fit to the samples that are free.

    A limited state counts as held if its inputs can move it noticeably everywhere, so that a stop
    can be expressed as an effective input, unless the data speak against it: samples that end on
    the limit without the fit going beyond it (a cosine at 1, say). Inputs with features need not
    be able to express a stop, so with them no state counts as held.
    """
    frame = regression.frame
    if not np.isfinite(frame.limits).any() or frame.input_features is not None:
        return frame
    pairs = frame.snapshots(runs)
    step_map = folded(regression.model(factor.solver().solve(1e-10)))
    drift, gain = _drift_and_gain(step_map, pairs.X)
    X_free = pairs.X + drift + np.einsum("sm,smd->sd", pairs.U, gain)
    beyond = np.maximum(X_free - frame.limits[1], frame.limits[0] - X_free) / spread(pairs.X)
    ends_there = at_limit(pairs.X + pairs.dX, frame.limits)
    spoken_against = (ends_there.sum(axis=0) >= 2) & (
        (ends_there & (beyond > OVERSHOOT)).sum(axis=0) < 2
    )
    noticeable = REACTION * pairs.dX.std(axis=0) / frame.input_scale[:, None]
    driven = (np.quantile(np.abs(gain), 0.1, axis=0) > noticeable).any(axis=0)
    limited = np.isfinite(frame.limits).any(axis=0)
    return replace(frame, saturating=limited & driven & ~spoken_against)


def _drift_and_gain(step_map: OneStepMap, X: Array) -> tuple[Array, Array]:
    parts = [step_map.drift_and_gain(X[i : i + ROWS]) for i in range(0, len(X), ROWS)]
    drift, gain = zip(*parts, strict=True)
    return np.concatenate(drift), np.concatenate(gain)
