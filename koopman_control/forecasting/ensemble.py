"""Members with different feature draws, fitted side by side and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap
from koopman_control.features.base import redrawn
from koopman_control.forecasting.frame import Frame
from koopman_control.forecasting.intervals import Calibration
from koopman_control.forecasting.onestep import Lift, StepMap
from koopman_control.forecasting.origins import RollingOrigins
from koopman_control.identification.data.snapshots import Run
from koopman_control.identification.errors import Windows, bounded_score, rms_per_step, windows_of
from koopman_control.identification.fitting.selection import Choice
from koopman_control.identification.least_squares.accumulation import Accumulator

if TYPE_CHECKING:
    from koopman_control.forecasting.rnn import SampledRNN

CALIBRATION_WINDOWS = 200


@dataclass
class Member:
    """One draw of the features: the sums of all its data, and the map solved from them."""

    lift: Lift
    total: Accumulator
    step_map: StepMap

    @classmethod
    def solved(cls, origins: RollingOrigins, strength: float) -> Member:
        """Fit to the data of all folds, whose sums are used up."""
        lift, total = origins.lift, origins.total()
        return cls(lift, total, lift.step_map(total.factor().solver().solve(strength)))

    def add(self, runs: Sequence[Run], strength: float) -> None:
        """Add runs and solve again."""
        self.total.absorb(self.lift.sums([runs], self.total.basis)[0])
        self.step_map = self.lift.step_map(self.total.factor().solver().solve(strength))


class Ensemble:
    """Fitted members of one frame.

    Args:
        frame: Units and memory.
        members: At least one.
        choices: Candidates with their scores, best first.
        error_per_step: Held-out error of the best, shape (horizon,).
        calibration: What its forecasts missed on the last fold; None without folds.
    """

    def __init__(
        self,
        frame: Frame,
        members: list[Member],
        choices: list[Choice],
        error_per_step: Array,
        calibration: Calibration | None,
    ) -> None:
        self.frame, self.members, self.choices = frame, members, choices
        self.error_per_step, self.calibration = error_per_step, calibration

    @classmethod
    def chosen(
        cls,
        settings: SampledRNN,
        frame: Frame,
        folds: list[list[Run]],
        maps: Sequence[FeatureMap],
        strengths: Sequence[float],
    ) -> Ensemble:
        """Choose features and regularisation on the folds, and fit to all of them."""
        choices, best = _best(settings, frame, folds, maps, strengths)
        strength = choices[0].regularization
        draws = [best]
        for k in range(1, settings.n_draws):
            again = redrawn(best.lift.features, k)
            draws.append(_origins(settings, frame, folds, again))
        calibration, error_per_step = None, np.empty(0)
        if len(folds) > 1:
            error_per_step = rms_per_step(best.errors(strength))
            windows = windows_of(folds[-1], settings.horizon, CALIBRATION_WINDOWS)
            calibration = _calibration([draw.newest(strength) for draw in draws], windows)
        members = [Member.solved(draw, strength) for draw in draws]
        return cls(frame, members, choices, error_per_step, calibration)

    def add(self, runs: Sequence[Run]) -> None:
        """Add runs to every member and solve again."""
        for member in self.members:
            member.add(runs, self.choices[0].regularization)

    def rolled_out(self, x0: Array, U: Array) -> Array:
        """Predict standardised outputs (n, S, H, p) from states (S, d) and inputs (S, H, m)."""
        return _rolled_out([member.step_map for member in self.members], x0, U)

    def errors(self, windows: Windows) -> Array:
        """Return standardised errors of the mean, (W, H, p), NaN outside the data."""
        errors: Array = self.rolled_out(windows.x0, windows.U).mean(axis=0) - _truth(
            windows, self.frame
        )
        return errors


def _best(
    settings: SampledRNN,
    frame: Frame,
    folds: list[list[Run]],
    maps: Sequence[FeatureMap],
    strengths: Sequence[float],
) -> tuple[list[Choice], RollingOrigins]:
    """Judge all candidates; return them, best first, and the sums of the best features."""
    tried: list[tuple[Choice, RollingOrigins]] = []
    for features in maps:
        origins = _origins(settings, frame, folds, features)
        for value in strengths:
            score = bounded_score(origins.errors(value)) if len(folds) > 1 else float("nan")
            tried.append((Choice(features, value, score), origins))
    tried.sort(key=lambda pair: pair[0].score)
    return [choice for choice, _ in tried], tried[0][1]


def _origins(
    settings: SampledRNN, frame: Frame, folds: list[list[Run]], features: FeatureMap
) -> RollingOrigins:
    runs = [run for fold in folds for run in fold]
    lift = Lift.fitted(frame, features, runs, settings.increments)
    return RollingOrigins(lift, folds, settings.horizon)


def _rolled_out(maps: Sequence[StepMap], x0: Array, U: Array) -> Array:
    return np.stack([step_map.rolled_out(x0, U) for step_map in maps])


def _calibration(maps: Sequence[StepMap], windows: Windows) -> Calibration:
    members = _rolled_out(maps, windows.x0, windows.U)
    return Calibration.of(members, _truth(windows, maps[0].frame))


def _truth(windows: Windows, frame: Frame) -> Array:
    """Return the outputs of windows, NaN outside the data."""
    return np.where(windows.valid[..., None], windows.X[..., : len(frame.center)], np.nan)
