"""Candidates of a fit on folds of the data, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap
from koopman_control.identification.data.snapshots import Run, split_into_folds
from koopman_control.identification.errors import rms_per_step
from koopman_control.identification.fitting.checks import warn_of_idle_inputs
from koopman_control.identification.fitting.crossvalidation import CrossValidation
from koopman_control.identification.fitting.frame import Frame
from koopman_control.identification.fitting.preparation import fitted_candidates
from koopman_control.identification.fitting.saturation import with_saturating_states
from koopman_control.identification.least_squares.penalties import Penalty
from koopman_control.identification.model.rollouts import Rollout
from koopman_control.identification.quantiles import LEVEL, conformal_quantiles


@dataclass(frozen=True)
class Choice:
    """One candidate of the cross-validation: features, regularisation and held-out score."""

    features: FeatureMap
    regularization: float
    score: float


@dataclass(frozen=True)
class Selection:
    """What cross-validation chose.

    Args:
        trial: The best candidate, its data accumulated.
        strength: Regularisation, one for all targets or one for each, shape (q,).
        choices: All candidates, best first.
        errors: Left-out errors of the best by roll-out, shape (W, horizon, d) in standard
            deviations; empty where nothing was judged.
    """

    trial: CrossValidation
    strength: float | Array
    choices: list[Choice]
    errors: dict[Rollout, Array]

    @property
    def error_per_step(self) -> dict[str, Array]:
        """Root mean square of the left-out errors 1 ... horizon steps ahead, by roll-out."""
        return {rollout: rms_per_step(errors) for rollout, errors in self.errors.items()}

    def scores(self) -> list[dict[str, Any]]:
        """Describe all judged candidates, best first, as plain data."""
        maps = {id(choice.features): choice.features for choice in self.choices}
        described = {key: " ".join(repr(features).split()) for key, features in maps.items()}
        return [
            {
                "features": described[id(choice.features)],
                "regularization": choice.regularization,
                "score": choice.score,
            }
            for choice in (self.choices if self.errors else ())
        ]

    def error_quantiles(self, level: float = LEVEL) -> dict[Rollout, Array]:
        """Bound the left-out errors in the units of the states, by roll-out, shape (horizon, d)."""
        levels = np.array([level])
        return {
            rollout: conformal_quantiles(np.abs(errors), levels)[0]
            * self.trial.scale[: errors.shape[2]]
            for rollout, errors in self.errors.items()
        }


def trials_of(
    frame: Frame,
    runs: Sequence[Run],
    features: Sequence[FeatureMap],
    n_folds: int,
    horizon: int,
    penalty: Penalty,
    action_names: Sequence[str] | None,
) -> list[CrossValidation]:
    """Accumulate the data once for every candidate."""
    folds = split_into_folds(runs, n_folds) if n_folds else [list(runs)]
    if n_folds and len(folds) < 2:
        raise ValueError("data holds a single step; expected at least two, to leave some out")
    trials = [
        CrossValidation(regression, folds, horizon, penalty=penalty)
        for regression in fitted_candidates(frame, runs, features)
    ]
    frame = with_saturating_states(trials[0].regression, trials[0].factor, runs)
    for trial in trials:
        trial.put_in(frame)
    warn_of_idle_inputs(frame, action_names)
    return trials


def alone(trial: CrossValidation, strength: float) -> Selection:
    """Take the only candidate; it need not be judged."""
    choice = Choice(trial.regression.features, strength, float("nan"))
    return Selection(trial, strength, [choice], {})


def best_of(
    trials: Sequence[CrossValidation],
    strengths: Sequence[float],
    rollout: Rollout,
    per_state: bool,
) -> Selection:
    """Judge all candidates by the left-out errors of a roll-out."""
    judged = [
        (trial, Choice(trial.regression.features, value, trial.score(value, rollout)))
        for trial in trials
        for value in strengths
    ]
    judged.sort(key=lambda pair: pair[1].score)
    trial, best = judged[0]
    strength: float | Array = best.regularization
    if per_state:
        strength = trial.per_state(best.regularization, strengths, rollout)
    kinds: tuple[Rollout, ...] = (trial.regression.frame.coupling, "relifted")
    errors = {kind: trial.errors(strength, kind) for kind in kinds}
    return Selection(trial, strength, [choice for _, choice in judged], errors)
