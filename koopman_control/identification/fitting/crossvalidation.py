"""Cross-validation of regularisation and features on multi-step errors of left-out runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.data.snapshots import Run
from koopman_control.identification.errors import (
    Windows,
    bounded_score,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.fitting.frame import Frame
from koopman_control.identification.fitting.regression import Regression
from koopman_control.identification.least_squares.accumulation import Accumulator
from koopman_control.identification.least_squares.penalties import Penalty, Solver, solver_for
from koopman_control.identification.model.rollouts import Rollout


class CrossValidation:
    """Solvers that each leave one fold out, from one pass over the data.

    Args:
        regression: The candidate.
        folds: Runs by fold, at least two folds, or one beside `always`; a single fold alone can
            be fitted but not judged.
        horizon: Longest prediction judged, in steps.
        always: Runs that every solver sees and that are not judged.
        penalty: What regularises.
    """

    def __init__(
        self,
        regression: Regression,
        folds: Sequence[Sequence[Run]],
        horizon: int,
        always: Sequence[Run] = (),
        penalty: Penalty = "ridge",
    ) -> None:
        self.regression = regression
        self._penalty: Penalty = penalty
        self._fixed = 1 if always else 0
        self._sums = regression.sums([*([always] if always else []), *folds])
        self.factor = Accumulator.merged(self._sums)
        self.runs = [run for fold in folds for run in fold]
        self._folds, self._horizon = folds, horizon

    def put_in(self, frame: Frame) -> None:
        """Replace the frame by one that differs only in which states saturate."""
        self.regression = replace(self.regression, frame=frame)

    def total(self) -> Accumulator:
        """Return the sums over all data, ready for more."""
        whole = self._sums[0]
        for part in self._sums[1:]:
            whole.absorb(part)
        self._sums = [whole]
        return whole

    def errors(self, regularization: float | Array, rollout: Rollout) -> Array:
        """Return the scaled errors on all left-out windows, shape (W, horizon, d)."""
        return np.concatenate(
            [
                scaled_errors(
                    self.regression.model(self._coefficients(solver, regularization, rollout)),
                    windows,
                    self.scale,
                    rollout,
                )
                for solver, windows in zip(self._solvers, self._windows, strict=True)
            ]
        )

    def _coefficients(
        self, solver: Solver, regularization: float | Array, rollout: Rollout
    ) -> Array:
        """Solve for all targets, or, to lift again at each step, only for the states' own."""
        if rollout != "relifted":
            return solver.solve(regularization)
        K = np.zeros((self.regression.n_regressors, self.regression.n_targets))
        targets = self.regression.state_targets
        if isinstance(regularization, np.ndarray):
            regularization = regularization[targets]
        K[:, targets] = solver.solve(regularization, targets)
        return K

    def score(self, regularization: float | Array, rollout: Rollout) -> float:
        """Return the bounded multi-step error, 0 (perfect) to 1 (no better than the mean)."""
        return bounded_score(self.errors(regularization, rollout))

    def per_state(self, common: float, strengths: Sequence[float], rollout: Rollout) -> Array:
        """Choose a regularisation for each state after the other, starting from the common one.

        Returns:
            Strength per target, shape (q,); the features' targets keep the common one.
        """
        chosen = np.full(self.regression.n_targets, common)
        best = self.score(chosen, rollout)
        for column in self.regression.state_targets:
            for value in strengths:
                trial = chosen.copy()
                trial[column] = value
                score = self.score(trial, rollout)
                if score < best:
                    best, chosen = score, trial
        return chosen

    @cached_property
    def _solvers(self) -> list[Solver]:
        """A solver per fold that has seen all the others."""
        first, sums = self._fixed, self._sums
        return [
            solver_for(self._penalty, Accumulator.merged([*sums[:i], *sums[i + 1 :]]))
            for i in range(first, len(sums))
        ]

    @cached_property
    def _windows(self) -> list[Windows]:
        return [windows_of(fold, self._horizon) for fold in self._folds]

    @cached_property
    def scale(self) -> Array:
        """What errors are divided by, shape (d,)."""
        return state_scale(self.runs, self.regression.frame.coordinates)
