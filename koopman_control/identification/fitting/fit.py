"""One least-squares fit: settings and data in, a model out; more data can be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap
from koopman_control.identification.data.snapshots import Run, runs_of, split_into_folds
from koopman_control.identification.fitting.checks import (
    warn_of_few_levels,
    warn_of_lost_directions,
)
from koopman_control.identification.fitting.crossvalidation import CrossValidation
from koopman_control.identification.fitting.frame import Frame
from koopman_control.identification.fitting.preparation import coordinates_of, framed, weights_of
from koopman_control.identification.fitting.regression import Regression
from koopman_control.identification.fitting.selection import Selection, alone, best_of, trials_of
from koopman_control.identification.fitting.settings import candidate_features
from koopman_control.identification.least_squares.factor import RFactor, RidgeSolver
from koopman_control.identification.least_squares.penalties import solver_for
from koopman_control.identification.model.model import LiftedModel
from koopman_control.trajectories import Trajectory, check_trajectories

if TYPE_CHECKING:
    from koopman_control.identification.edmdc import EDMDc

LONGEST = 10_000  # characters of the text that describes an estimator


class Fit:
    """Choices made on first data, and the sums of all data so far.

    Args:
        settings: An `EDMDc`, whose settings are read.
        data: Trajectories, checked.
        strengths: Regularisations to choose from.
        sample_weight: As in `EDMDc.fit`.
    """

    def __init__(
        self,
        settings: EDMDc,
        data: Sequence[Trajectory],
        strengths: Sequence[float],
        sample_weight: Any,
    ) -> None:
        self._settings = settings
        described = settings.__repr__(N_CHAR_MAX=LONGEST)  # type: ignore[call-arg]  # scikit-learn's
        self._made_by = " ".join(described.split())
        self._seen = data[0]
        self.selection = _selected(settings, data, strengths, sample_weight)
        trial = self.selection.trial
        self.regression = trial.regression
        self._n_pairs = sum(len(run.U) for run in trial.runs)
        self.model, decomposed = self._solved(trial.factor)
        least = self.selection.choices[0].regularization
        warn_of_lost_directions(trial.regression, trial.factor, decomposed, trial.runs, least)
        self._total = trial.total()

    def add(self, data: Sequence[Trajectory], sample_weight: Any) -> None:
        """Add rows to the sums of the fit; `solve` brings the model up to date."""
        checked = check_trajectories([self._seen, *data])[1:]
        coordinates = self.regression.frame.coordinates
        runs = runs_of(checked, coordinates, weights_of(checked, sample_weight))
        self._total.absorb(self.regression.sums([runs], self._total.basis)[0])
        self._n_pairs += sum(len(run.U) for run in runs)

    def solve(self) -> None:
        """Solve for the model of all data so far."""
        self.model, _ = self._solved(self._total.factor())

    def _solved(self, factor: RFactor) -> tuple[LiftedModel, RidgeSolver]:
        """Solve for the model with the choices made, and note the facts about the fit."""
        settings, best, decomposed = self._settings, self.selection.choices[0], factor.solver()
        ridge = settings.penalty == "ridge"
        solver = decomposed if ridge else solver_for(settings.penalty, factor)
        strength = self.selection.strength
        summary: dict[str, Any] = {
            "estimator": self._made_by,
            "regularization": best.regularization,
            "condition_number": decomposed.condition_number,
            "n_samples": factor.n_samples,
            "n_censored": self._n_pairs - factor.n_samples,
            "n_features": best.features._n_features_out,
            "cv_score": best.score,
            "cv_rollout": settings.rollout,
            "cv_horizon": settings.horizon,
            "cv_scores": self.selection.scores(),
        }
        if isinstance(strength, np.ndarray):
            per_state = strength[self.regression.state_targets]
            summary["regularization_per_state"] = per_state.tolist()
        model = self.regression.model(solver.solve(strength), summary)
        return replace(model, error_quantiles=self.selection.error_quantiles()), decomposed

    def score_left_out(self, seen: Sequence[Trajectory], judged: Sequence[Trajectory]) -> float:
        """Score the choices on `judged`, each part of it by a fit that left it out."""
        settings, model = self._settings, self.model
        frame, _ = _framed(settings, check_trajectories([*seen, *judged]), model.input_features)
        regression = Regression(
            replace(frame, saturating=model.saturating), self.selection.choices[0].features
        )
        folds = split_into_folds(runs_of(judged, model.coordinates), max(2, settings.n_folds))
        always = runs_of(seen, model.coordinates)
        trial = CrossValidation(regression, folds, settings.horizon, always, settings.penalty)
        return -trial.score(self.selection.strength, settings.rollout)


def _selected(
    settings: EDMDc,
    data: Sequence[Trajectory],
    strengths: Sequence[float],
    sample_weight: Any,
) -> Selection:
    """Accumulate the data once for every candidate, and choose."""
    input_features = settings.input_features
    if input_features is not None:
        U = np.concatenate([t.actions for t in data])
        input_features = clone(input_features).fit(U)
        warn_of_few_levels(input_features, U)
    frame, runs = _framed(settings, data, input_features, weights_of(data, sample_weight))
    trials = trials_of(
        frame,
        runs,
        candidate_features(settings),
        settings.n_folds,
        settings.horizon,
        settings.penalty,
        data[0].action_names,
    )
    if not settings.n_folds:
        return alone(trials[0], strengths[0])
    return best_of(trials, strengths, settings.rollout, settings.regularization == "cv-per-state")


def _framed(
    settings: EDMDc,
    data: Sequence[Trajectory],
    input_features: FeatureMap | None,
    weights: Sequence[Array] | None = None,
) -> tuple[Frame, list[Run]]:
    """Read states, scales and limits from the data as the settings say."""
    coordinates = coordinates_of(data, settings.states, settings.angles, settings.memory)
    limited = settings.limits == "data"
    return framed(
        data,
        coordinates,
        settings.coupling,
        limited,
        weights,
        input_features,
        settings.targets,
    )
