"""Time-series cross-validation: fit to the past, judge on what follows, for several origins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.forecasting.onestep import Lift, StepMap
from koopman_control.identification.data.snapshots import Run
from koopman_control.identification.errors import Windows, windows_of
from koopman_control.identification.least_squares.accumulation import Accumulator
from koopman_control.identification.least_squares.factor import RidgeSolver

# From exact data up to noise. At zero only directions at rounding level are dropped.
STRENGTHS = (0.0, *(10.0**k for k in range(-20, 2, 2)))


def time_folds(runs: Sequence[Run], n_folds: int) -> list[list[Run]]:
    """Cut data into folds in the order of time: runs as they are, or a part of every run.

    Returns:
        At most `n_folds` folds; with at least as many runs as folds, whole runs.
    """
    if len(runs) >= n_folds:
        edges = np.linspace(0, len(runs), n_folds + 1).astype(int).tolist()
        return [list(runs[a:b]) for a, b in pairwise(edges)]
    folds: list[list[Run]] = [[] for _ in range(n_folds)]
    for run in runs:
        edges = np.linspace(0, len(run.U), n_folds + 1).astype(int).tolist()
        for fold, (a, b) in zip(folds, pairwise(edges), strict=True):
            if b > a:
                fold.append(run.piece(a, b))
    return [fold for fold in folds if fold]


class RollingOrigins:
    """Forecasts of every fold but the first by models that have seen only the folds before it.

    Args:
        lift: Features and units.
        folds: Runs by fold, in the order of time.
        horizon: Longest prediction judged, in steps.
    """

    def __init__(self, lift: Lift, folds: Sequence[Sequence[Run]], horizon: int) -> None:
        self.lift = lift
        self._folds, self._horizon = folds, horizon
        self._sums = lift.sums(folds)

    def total(self) -> Accumulator:
        """Return the sums over all data, ready for more; call it last."""
        whole = self._sums[0]
        for part in self._sums[1:]:
            whole.absorb(part)
        return whole

    def errors(self, regularization: float) -> Array:
        """Return standardised errors on windows of all folds but the first, (W, horizon, p)."""
        errors = []
        for solver, fold in zip(self._solvers, self._folds[1:], strict=True):
            windows = windows_of(fold, self._horizon)
            errors.append(_errors(self.lift, solver.solve(regularization), windows))
        return np.concatenate(errors)

    def newest(self, regularization: float) -> StepMap:
        """Return the model that has seen all folds but the last."""
        return self.lift.step_map(self._solvers[-1].solve(regularization))

    @cached_property
    def _solvers(self) -> list[RidgeSolver]:
        """A solver per fold after the first, of the folds before it."""
        return [Accumulator.merged(self._sums[:i]).solver() for i in range(1, len(self._folds))]


def _errors(lift: Lift, K: Array, windows: Windows) -> Array:
    p = K.shape[1]
    predicted = lift.step_map(K).rolled_out(windows.x0, windows.U)
    return np.where(windows.valid[..., None], predicted - windows.X[..., :p], np.nan)
