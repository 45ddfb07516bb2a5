"""Members of a sampled RNN: chosen by forecasts from several origins, solved, and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import joblib
import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap, redrawn
from koopman_control.forecasting.intervals import Calibration
from koopman_control.forecasting.memory import Scaling
from koopman_control.forecasting.onestep import Lift, RollingOrigins, StepMap, TimeFolds
from koopman_control.identification.crossvalidation import Choice
from koopman_control.identification.errors import Windows, bounded_score, rms_per_step
from koopman_control.identification.least_squares import Accumulator
from koopman_control.identification.shards import ShardSums, merged_sums
from koopman_control.identification.snapshots import Run

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


def judged(
    candidates: Sequence[RollingOrigins], strengths: Sequence[float]
) -> tuple[list[Choice], RollingOrigins]:
    """Judge candidates by forecasts from several origins; returns all choices and the best."""
    tried = []
    for candidate in candidates:
        for value in strengths:
            score = bounded_score(candidate.errors(value)) if candidate.judges else float("nan")
            tried.append((Choice(candidate.lift.features, value, score), candidate))
    tried.sort(key=lambda pair: pair[0].score)
    return [choice for choice, _ in tried], tried[0][1]


class Ensemble:
    """Fitted members of one scaling.

    Args:
        scaling: Units and memory.
        members: At least one.
        choices: Candidates with their scores, best first.
        error_per_step: Held-out error of the best, shape (horizon,).
        calibration: What its forecasts missed on the last fold; None without folds.
    """

    def __init__(
        self,
        scaling: Scaling,
        members: list[Member],
        choices: list[Choice],
        error_per_step: Array,
        calibration: Calibration | None,
    ) -> None:
        self.scaling, self.members, self.choices = scaling, members, choices
        self.error_per_step, self.calibration = error_per_step, calibration

    @classmethod
    def chosen(
        cls,
        scaling: Scaling,
        folds: TimeFolds,
        maps: Sequence[FeatureMap],
        strengths: Sequence[float],
        *,
        horizon: int,
        increments: bool,
        n_draws: int,
    ) -> Ensemble:
        """Choose features and regularisation on the folds, and fit to all of them."""

        def origins(every: Sequence[FeatureMap]) -> list[RollingOrigins]:
            lifts = [Lift.fitted(scaling, one, folds.sample, increments) for one in every]
            both = zip(lifts, folds.sums(lifts), strict=True)
            return [RollingOrigins(lift, sums, folds.windows) for lift, sums in both]

        choices, best = judged(origins(maps), strengths)
        further = origins([redrawn(best.lift.features, k) for k in range(1, n_draws)])
        return cls._of(scaling, choices, [best, *further], folds.further, horizon)

    @classmethod
    def _of(
        cls,
        scaling: Scaling,
        choices: list[Choice],
        draws: Sequence[RollingOrigins],
        further: Sequence[Windows],
        horizon: int,
    ) -> Ensemble:
        """Solve for all draws with what was chosen, and measure what they miss."""
        strength, calibration, error_per_step = choices[0].regularization, None, np.empty(0)
        if further:
            error_per_step = rms_per_step(draws[0].errors(strength))
            newest = [draw.newest(strength) for draw in draws]
            (windows,) = further
            forecasts = _rolled_out(newest, windows.x0, windows.U)
            calibration = Calibration.of(forecasts, _truth(windows, scaling))
        members = [Member.solved(draw, strength) for draw in draws]
        return cls(scaling, members, choices, error_per_step, calibration)

    def merged(
        self, parts: Sequence[ShardSums], strengths: Sequence[float], horizon: int
    ) -> Ensemble:
        """Return the ensemble of the data of all parts, with the scales and features of this one.

        Raises:
            ValueError: If a part is of another pilot, or they hold too little.
        """
        total = merged_sums(parts, self.mark)
        used = [i for i, one in enumerate(total.sums[0]) if one.factor().n_samples]
        windows = [one for i in used if (one := total.windows[i]) is not None]
        every = [
            RollingOrigins(member.lift, [sums[i] for i in used], windows)
            for member, sums in zip(self.members, total.sums, strict=True)
        ]
        if self.calibration is not None and len(windows) < 2:
            raise ValueError("parts hold a single snapshot pair; expected at least two")
        if not total.n_pairs:
            raise ValueError("parts hold no snapshot pair beyond the memory; expected some")
        choices, _ = judged(every[:1], strengths)
        return self._of(self.scaling, choices, every, windows[-1:], horizon)

    @cached_property
    def mark(self) -> str:
        """What tells the scales and features of this ensemble apart from those of others."""
        scaling, lifts = self.scaling, [member.lift for member in self.members]
        probes = [lift.features.values(lift.center + 0.1 * lift.scale) for lift in lifts]
        bases = [member.total.basis for member in self.members]
        found: str = joblib.hash([scaling.center, scaling.scale, probes, bases])
        return found

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
            windows, self.scaling
        )
        return errors


def _rolled_out(maps: Sequence[StepMap], x0: Array, U: Array) -> Array:
    return np.stack([step_map.rolled_out(x0, U) for step_map in maps])


def _truth(windows: Windows, scaling: Scaling) -> Array:
    """Return the outputs of windows, NaN outside the data."""
    return np.where(windows.valid[..., None], windows.X[..., : len(scaling.center)], np.nan)
