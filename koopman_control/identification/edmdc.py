"""EDMD with inputs: one least-squares problem per fit, all else chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from sklearn.base import BaseEstimator, clone

from koopman_control.common.arrays import Array, positive_int
from koopman_control.features import Angle, Coordinates, FeatureMap, SampledFeatures
from koopman_control.identification.checks import (
    feature_maps,
    one_of,
    regularizations,
    too_few_samples,
    warn_of_idle_inputs,
)
from koopman_control.identification.crossvalidation import CrossValidation
from koopman_control.identification.errors import (
    bounded_score,
    rms_per_step,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.regression import (
    Coupling,
    Frame,
    Regression,
    with_saturating_states,
)
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.snapshots import Run, runs_of, split_into_folds
from koopman_control.trajectories import Trajectory, check_trajectories

COUPLINGS = ("linear", "bilinear")
REGULARIZATIONS = tuple(10.0**k for k in range(-14, -1))


@dataclass(frozen=True)
class Choice:
    """One candidate of the cross-validation: features, regularisation and held-out score."""

    features: FeatureMap
    regularization: float
    score: float


class EDMDc(BaseEstimator):  # type: ignore[misc]
    """Extended dynamic mode decomposition with inputs.

    Fits z+ = A z + B u (+ sum_i u_i N_i z) with z = [1, x, features(x)] by ridge regression on
    increments, min |dz - K [z, u, u z]|^2 / T + regularization |K|^2, through an orthogonal
    factorisation. Features and regularisation are chosen by the multi-step error of the roll-out
    that will be used, on runs left out of the fit.

    Samples that end on a known limit (a clipped speed) are censored: left out of the regression;
    predictions are stopped at the limit instead.

    Args:
        features: A feature map, or several candidates of which the best is kept.
        coupling: "linear" (B u) or "bilinear" (B u + sum_i u_i N_i z).
        regularization: Weight of the ridge term, at least 0, or "cv" to choose it from
            1e-14 ... 1e-2.
        rollout: Roll-out judged in cross-validation: "relifted", or the one matching the coupling.
        horizon: Longest prediction judged, in steps; about the controller's horizon.
        states: Observation columns to model; None takes all. Leave out goals, which do not move.
        angles: A (cosine column, sine column) pair, or a column in radians, for each angle in the
            observation.
        memory: Number of past steps and inputs that the state also holds, for plants whose
            observation does not tell all (positions without speeds). Predictions are judged by the
            present states only. More than is needed helps against noise.
        limits: "data" takes the observation bounds stored with the trajectories, None knows none.
        n_folds: Folds of the cross-validation.

    Attributes:
        model_: The fitted `LiftedModel`.
        choices_: All candidates with their cross-validated scores, best first.
        cv_error_: Held-out error 1 ... horizon steps ahead per roll-out, in standard deviations.

    Example:
        >>> from koopman_control.trajectories import collect
        >>> model = EDMDc(SampledFeatures(20)).fit(collect("Pendulum-v1", n_steps=200)).model_
        >>> model.n_lifted
        24
    """

    model_: LiftedModel
    choices_: list[Choice]
    cv_error_: dict[str, Array]

    def __init__(
        self,
        features: FeatureMap | Sequence[FeatureMap] | None = None,
        *,
        coupling: Coupling = "linear",
        regularization: float | Literal["cv"] = "cv",
        rollout: Rollout = "relifted",
        horizon: int = 20,
        states: Sequence[int] | None = None,
        angles: Sequence[Angle] = (),
        memory: int = 0,
        limits: Literal["data"] | None = "data",
        n_folds: int = 5,
    ) -> None:
        self.features = features
        self.coupling = coupling
        self.regularization = regularization
        self.rollout = rollout
        self.horizon = horizon
        self.states = states
        self.angles = angles
        self.memory = memory
        self.limits = limits
        self.n_folds = n_folds

    def fit(self, data: Trajectory | Sequence[Trajectory], y: None = None) -> EDMDc:
        """Fit a model to trajectories.

        Args:
            data: One trajectory or several; no snapshot pair crosses from one to the next.
            y: Ignored, for scikit-learn.

        Returns:
            The estimator; the model is in `model_`.

        Raises:
            TypeError: If settings or data are of the wrong kind.
            ValueError: If settings are out of range, or there are fewer samples than unknowns.
            UserWarning: If an input never moves, so that nothing is known about its effect.
        """
        self._check_settings()
        weights = regularizations(self.regularization, REGULARIZATIONS)
        checked = check_trajectories(data)
        frame, runs = self._framed(checked)
        folds = split_into_folds(runs, self.n_folds)
        if len(folds) < 2:
            raise ValueError("data holds a single step; expected at least two, to leave some out")
        trials = [
            CrossValidation(regression, folds, self.horizon)
            for regression in self._candidates(frame, runs)
        ]
        warn_of_idle_inputs(frame, checked[0].action_names)
        judged = [
            (trial, Choice(trial.regression.features, value, trial.score(value, self.rollout)))
            for trial in trials
            for value in weights
        ]
        judged.sort(key=lambda pair: pair[1].score)
        self.choices_ = [choice for _, choice in judged]
        trial, best = judged[0]
        self.model_ = self._solved(trial.regression, runs, best)
        self.cv_error_ = {
            rollout: rms_per_step(trial.errors(best.regularization, rollout))
            for rollout in (self.coupling, "relifted")
        }
        return self

    def score(self, data: Trajectory | Sequence[Trajectory], y: None = None) -> float:
        """Return minus the multi-step error on data: 0 is perfect, -1 no better than the mean."""
        runs = runs_of(check_trajectories(data), self.model_.coordinates)
        scale = state_scale(runs, self.model_.coordinates)
        errors = scaled_errors(self.model_, windows_of(runs, self.horizon), scale, self.rollout)
        return -bounded_score(errors)

    def score_left_out(self, seen: Sequence[Trajectory], judged: Sequence[Trajectory]) -> float:
        """Score the chosen settings on `judged`, each part of it by a fit that left it out.

        Args:
            seen: Trajectories that every fit sees.
            judged: Trajectories that are cut into parts; each is judged by a fit to all the rest.

        Returns:
            Minus the multi-step error, comparable with `score(judged)` of a fit to `seen` alone.
        """
        model, best = self.model_, self.choices_[0]
        frame, _ = self._framed(check_trajectories([*seen, *judged]))
        regression = Regression(replace(frame, saturating=model.saturating), best.features)
        folds = split_into_folds(runs_of(judged, model.coordinates), self.n_folds)
        always = runs_of(seen, model.coordinates)
        trial = CrossValidation(regression, folds, self.horizon, always)
        return -trial.score(best.regularization, self.rollout)

    def _check_settings(self) -> None:
        one_of("coupling", self.coupling, COUPLINGS)
        where = f"with coupling={self.coupling!r} "
        one_of("rollout", self.rollout, ("relifted", self.coupling), where)
        one_of("limits", self.limits, ("data", None))
        positive_int("horizon", self.horizon)
        positive_int("memory", self.memory, minimum=0)
        positive_int("n_folds", self.n_folds, minimum=2)

    def _framed(self, data: list[Trajectory]) -> tuple[Frame, list[Run]]:
        """Read states and limits from the data."""
        first = data[0]
        coordinates = Coordinates.of(
            first.observations.shape[1],
            self.states,
            self.angles,
            memory=self.memory,
            n_inputs=first.actions.shape[1] if self.memory else 0,
        )
        coordinates.check_circles(np.concatenate([t.observations for t in data]))
        limits = np.tile([[-np.inf], [np.inf]], coordinates.dim)
        if self.limits == "data" and first.observation_bounds is not None:
            limits = coordinates.bounds(first.observation_bounds)
        runs = runs_of(data, coordinates)
        return Frame.of(data, runs, coordinates, self.coupling, limits), runs

    def _candidates(self, frame: Frame, runs: Sequence[Run]) -> list[Regression]:
        """Fit clones of the candidate features; drop those with more unknowns than samples."""
        given = feature_maps(
            SampledFeatures(random_state=0) if self.features is None else self.features
        )
        pairs = frame.snapshots(runs)
        free = ~pairs.censored
        E, n_samples = frame.feature_inputs(pairs.X[free]), int(free.sum())
        if n_samples < 2:
            raise too_few_samples(n_samples, len(free), "at least 2 are needed")
        increments = pairs.dX[free, : frame.coordinates.n_outputs]
        fitted = [clone(features).fit(E, increments) for features in given]
        sizes = [Regression(frame, features).n_regressors for features in fitted]
        usable = [f for f, size in zip(fitted, sizes, strict=True) if size <= n_samples]
        if not usable:
            need = f"there are {min(sizes)} unknowns per lifted state"
            raise too_few_samples(n_samples, len(free), need)
        frame = with_saturating_states(frame, usable[0], runs)
        return [Regression(frame, features) for features in usable]

    def _solved(self, regression: Regression, runs: Sequence[Run], best: Choice) -> LiftedModel:
        """Fit the chosen candidate to all runs and note the facts about the fit."""
        factor = regression.factor(runs)
        solver = factor.solver()
        n_total = sum(len(run.U) for run in runs)
        summary = {
            "regularization": best.regularization,
            "condition_number": solver.condition_number,
            "n_samples": factor.n_samples,
            "n_censored": n_total - factor.n_samples,
            "n_features": best.features._n_features_out,
            "cv_score": best.score,
            "cv_rollout": self.rollout,
            "cv_horizon": self.horizon,
        }
        return regression.model(solver.solve(best.regularization), summary)
