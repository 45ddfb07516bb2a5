"""Cross-validation of regularisation and features on multi-step errors of left-out runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.errors import (
    Windows,
    bounded_score,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.least_squares import RFactor, RidgeSolver
from koopman_control.identification.regression import Regression
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.snapshots import Run


class CrossValidation:
    """Solvers that each leave one fold out, made from one R factor per fold without refitting.

    Args:
        regression: The candidate.
        folds: Runs by fold, at least two folds, or one beside `always`.
        horizon: Longest prediction judged, in steps.
        always: Runs that every solver sees and that are not judged.
    """

    def __init__(
        self,
        regression: Regression,
        folds: Sequence[Sequence[Run]],
        horizon: int,
        always: Sequence[Run] = (),
    ) -> None:
        self.regression = regression
        factors = [regression.factor(fold) for fold in folds]
        fixed = [regression.factor(always)] if always else []
        self._pairs: list[tuple[RidgeSolver, Windows]] = [
            (
                RFactor.merged([*fixed, *factors[:i], *factors[i + 1 :]]).solver(),
                windows_of(fold, horizon),
            )
            for i, fold in enumerate(folds)
        ]
        judged = [run for fold in folds for run in fold]
        self._scale = state_scale(judged, regression.frame.coordinates)

    def errors(self, regularization: float, rollout: Rollout) -> Array:
        """Return the scaled errors on all left-out windows, shape (W, horizon, d)."""
        return np.concatenate(
            [
                scaled_errors(
                    self.regression.model(solver.solve(regularization)),
                    windows,
                    self._scale,
                    rollout,
                )
                for solver, windows in self._pairs
            ]
        )

    def score(self, regularization: float, rollout: Rollout) -> float:
        """Return the bounded multi-step error, 0 (perfect) to 1 (no better than the mean)."""
        return bounded_score(self.errors(regularization, rollout))
