"""EDMD with inputs: one least-squares problem per fit, all else chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone

from koopman_control.common.arrays import Array, positive_int
from koopman_control.features import Angle, FeatureMap, SampledFeatures
from koopman_control.identification.averaging import averaged
from koopman_control.identification.checks import (
    feature_maps,
    one_of,
    regularizations,
    warn_of_idle_inputs,
    warn_of_lost_directions,
)
from koopman_control.identification.crossvalidation import CrossValidation
from koopman_control.identification.errors import (
    bounded_score,
    rms_per_step,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.least_squares import RFactor, RidgeSolver
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.penalties import PENALTIES, Penalty, path_of, solver_for
from koopman_control.identification.preparation import (
    batches,
    coordinates_of,
    fitted_candidates,
    framed,
    weights_of,
)
from koopman_control.identification.regression import Coupling, Frame, Regression
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.saturation import with_saturating_states
from koopman_control.identification.snapshots import Run, runs_of, split_into_folds
from koopman_control.identification.threads import single_threaded_blas
from koopman_control.trajectories import Trajectory, check_trajectories

COUPLINGS = ("linear", "bilinear")
REDRAWN = 100_003  # distance between the seeds of feature draws


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
            1e-14 ... 1e-2 (a "lasso": 1e-4 ... 1e-1 of the penalty that leaves only a constant).
            "cv-per-state" then goes on to choose one for each state, which took up to a tenth off
            the held-out error of Van der Pol and nothing off Pendulum's.
        penalty: "ridge"; "truncation" drops the directions that ridge would shrink to less than
            half, and shrinks none; "lasso" keeps few regressors per lifted state (slow).
        rollout: Roll-out judged in cross-validation: "relifted", or the one matching the coupling.
        horizon: Longest prediction judged, in steps; about the controller's horizon.
        states: Observation columns to model; None takes all. Leave out goals, which do not move.
        angles: A (cosine column, sine column) pair, or a column in radians, for each angle in the
            observation.
        memory: Number of past steps and inputs that the state also holds, for plants whose
            observation does not tell all (positions without speeds). Predictions are judged by the
            present states only. More than is needed helps against noise.
        limits: "data" takes the observation bounds stored with the trajectories, None knows none.
        n_folds: Folds of the cross-validation; 0 does without, for a single feature map and a
            given regularisation.
        n_draws: Draws of the features, each fitted by itself, whose linear roll-outs are averaged:
            more draws, less luck. For the linear roll-out; the roll-outs of `cv_error_` and the
            scores are those of the first draw.

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
    _strength: float | Array

    def __init__(
        self,
        features: FeatureMap | Sequence[FeatureMap] | None = None,
        *,
        coupling: Coupling = "linear",
        regularization: float | Literal["cv", "cv-per-state"] = "cv",
        penalty: Penalty = "ridge",
        rollout: Rollout = "relifted",
        horizon: int = 20,
        states: Sequence[int] | None = None,
        angles: Sequence[Angle] = (),
        memory: int = 0,
        limits: Literal["data"] | None = "data",
        n_folds: int = 5,
        n_draws: int = 1,
    ) -> None:
        self.features = features
        self.coupling = coupling
        self.regularization = regularization
        self.penalty = penalty
        self.rollout = rollout
        self.horizon = horizon
        self.states = states
        self.angles = angles
        self.memory = memory
        self.limits = limits
        self.n_folds = n_folds
        self.n_draws = n_draws

    def fit(
        self,
        data: Trajectory | Sequence[Trajectory],
        y: None = None,
        sample_weight: Any = None,
    ) -> EDMDc:
        """Fit a model to trajectories.

        Args:
            data: One trajectory or several; no snapshot pair crosses from one to the next.
            y: Ignored, for scikit-learn.
            sample_weight: One number per trajectory, or one array per trajectory with a weight
                for each of its steps, or None. A weight of 2 counts a step twice.

        Returns:
            The estimator; the model is in `model_`.

        Raises:
            TypeError: If settings or data are of the wrong kind.
            ValueError: If settings are out of range, or there are fewer samples than unknowns.
            UserWarning: If data cannot tell unknowns apart (an input that never moves or follows
                the state, repeated data), or features are saturated.
        """
        strengths = self._check_settings()
        checked = check_trajectories(data)
        with single_threaded_blas():
            trials = self._trials(checked, sample_weight)
            trial = self._choose(trials, strengths)
            self._regression = trial.regression
            self._seen = checked[0]
            self._n_pairs = sum(len(run.U) for run in trial.runs)
            decomposed = self._solve(trial.factor)
            least = self.choices_[0].regularization
            warn_of_lost_directions(trial.regression, trial.factor, decomposed, trial.runs, least)
            self._total = trial.total()
        if self.n_draws > 1:
            self.model_ = averaged([self.model_, *self._redrawn(checked, sample_weight)])
        return self

    def _redrawn(self, data: list[Trajectory], sample_weight: Any) -> list[LiftedModel]:
        """Fit to other draws of the same candidate features."""
        models = []
        for k in range(1, self.n_draws):
            draws = [clone(features) for features in self._given_features()]
            for features in draws:
                seed = features.get_params().get("random_state") or 0
                features.set_params(random_state=seed + REDRAWN * k)
            other = clone(self).set_params(features=draws, n_draws=1)
            models.append(other.fit(data, sample_weight=sample_weight).model_)
        return models

    def partial_fit(
        self,
        data: Trajectory | Iterable[Trajectory],
        y: None = None,
        sample_weight: Any = None,
    ) -> EDMDc:
        """Add data to the fit; memory does not grow with them.

        The first call is a `fit`: it chooses features, scales and regularisation, which then stay.
        So give it data from all over the state space. After that, the model is that of a fit with
        these to all data so far.

        Args:
            data: Trajectories, or an iterator over them (a generator that reads them from a disk),
                which is used up in pieces of 100,000 steps or more.
            y: Ignored, for scikit-learn.
            sample_weight: As in `fit`; not for iterators.

        Returns:
            The estimator; the updated model is in `model_`.

        Raises:
            TypeError: If data or settings are of the wrong kind.
            ValueError: If data differ in columns or time step from those before.

        Example:
            >>> pieces = (Trajectory(*load(i)) for i in range(1000))  # doctest: +SKIP
            >>> EDMDc(SampledFeatures(500)).partial_fit(pieces).model_  # doctest: +SKIP
        """
        if self.n_draws > 1:
            raise ValueError(f"n_draws is {self.n_draws}; partial_fit needs n_draws=1")
        if sample_weight is not None or isinstance(data, (Trajectory, list, tuple)):
            pieces: Iterable[list[Trajectory]] = [check_trajectories(data)]
        else:
            pieces = batches(data)
        added = False
        for piece in pieces:
            if not hasattr(self, "model_"):
                self.fit(piece, sample_weight=sample_weight)
                continue
            self._add(piece, sample_weight)
            added = True
        if added:
            with single_threaded_blas():
                self._solve(self._total.factor())
        return self

    def _add(self, data: list[Trajectory], sample_weight: Any) -> None:
        """Add rows to the sums of the fit."""
        checked = check_trajectories([self._seen, *data])[1:]
        frame = self._regression.frame
        runs = runs_of(checked, frame.coordinates, weights_of(checked, sample_weight))
        with single_threaded_blas():
            self._total.absorb(self._regression.sums([runs], self._total.basis)[0])
        self._n_pairs += sum(len(run.U) for run in runs)

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
        frame, _ = self._regression_data(check_trajectories([*seen, *judged]))
        regression = Regression(replace(frame, saturating=model.saturating), best.features)
        folds = split_into_folds(runs_of(judged, model.coordinates), max(2, self.n_folds))
        always = runs_of(seen, model.coordinates)
        with single_threaded_blas():
            trial = CrossValidation(regression, folds, self.horizon, always, self.penalty)
            return -trial.score(self._strength, self.rollout)

    def _check_settings(self) -> Sequence[float]:
        """Return the regularisations to try."""
        one_of("coupling", self.coupling, COUPLINGS)
        one_of("penalty", self.penalty, PENALTIES)
        where = f"with coupling={self.coupling!r} "
        one_of("rollout", self.rollout, ("relifted", self.coupling), where)
        one_of("limits", self.limits, ("data", None))
        positive_int("horizon", self.horizon)
        positive_int("memory", self.memory, minimum=0)
        if positive_int("n_draws", self.n_draws) > 1 and self.rollout != "linear":
            raise ValueError(
                f"n_draws is {self.n_draws} with rollout={self.rollout!r}; only linear roll-outs "
                'can be averaged: use n_draws=1, or rollout="linear"'
            )
        strengths = regularizations(self.regularization, path_of(self.penalty))
        if self.n_folds != 0:
            positive_int("n_folds", self.n_folds, minimum=2)
        elif len(strengths) > 1 or (
            isinstance(self.features, (list, tuple)) and len(self.features) > 1
        ):
            raise ValueError(
                "n_folds is 0, which leaves nothing to choose by; expected a number as "
                "regularization and a single feature map, or at least 2 folds"
            )
        return strengths

    def _regression_data(
        self, data: Sequence[Trajectory], weights: Sequence[Array] | None = None
    ) -> tuple[Frame, list[Run]]:
        coordinates = coordinates_of(data, self.states, self.angles, self.memory)
        return framed(data, coordinates, self.coupling, self.limits == "data", weights)

    def _given_features(self) -> Sequence[FeatureMap]:
        """Return the candidate features, unfitted."""
        given = SampledFeatures(random_state=0) if self.features is None else self.features
        return feature_maps(given)

    def _trials(self, data: list[Trajectory], sample_weight: Any) -> list[CrossValidation]:
        """Accumulate the data once for every candidate."""
        frame, runs = self._regression_data(data, weights_of(data, sample_weight))
        folds = split_into_folds(runs, self.n_folds) if self.n_folds else [runs]
        if self.n_folds and len(folds) < 2:
            raise ValueError("data holds a single step; expected at least two, to leave some out")
        trials = [
            CrossValidation(regression, folds, self.horizon, penalty=self.penalty)
            for regression in fitted_candidates(frame, runs, self._given_features())
        ]
        frame = with_saturating_states(trials[0].regression, trials[0].factor, runs)
        for trial in trials:
            trial.put_in(frame)
        warn_of_idle_inputs(frame, data[0].action_names)
        return trials

    def _choose(self, trials: list[CrossValidation], weights: Sequence[float]) -> CrossValidation:
        """Judge all candidates and note the best; one that stands alone need not be judged."""
        if not self.n_folds:
            features = trials[0].regression.features
            self.choices_ = [Choice(features, weights[0], float("nan"))]
            self.cv_error_, self._strength = {}, weights[0]
            return trials[0]
        judged = [
            (trial, Choice(trial.regression.features, value, trial.score(value, self.rollout)))
            for trial in trials
            for value in weights
        ]
        judged.sort(key=lambda pair: pair[1].score)
        self.choices_ = [choice for _, choice in judged]
        trial, best = judged[0]
        self._strength = best.regularization
        if self.regularization == "cv-per-state":
            self._strength = trial.per_state(best.regularization, weights, self.rollout)
        self.cv_error_ = {
            rollout: rms_per_step(trial.errors(self._strength, rollout))
            for rollout in (self.coupling, "relifted")
        }
        return trial

    def _solve(self, factor: RFactor) -> RidgeSolver:
        """Solve for the model with the choices made, and note the facts about the fit."""
        best, regression, decomposed = self.choices_[0], self._regression, factor.solver()
        solver = decomposed if self.penalty == "ridge" else solver_for(self.penalty, factor)
        summary: dict[str, Any] = {
            "regularization": best.regularization,
            "condition_number": decomposed.condition_number,
            "n_samples": factor.n_samples,
            "n_censored": self._n_pairs - factor.n_samples,
            "n_features": best.features._n_features_out,
            "cv_score": best.score,
            "cv_rollout": self.rollout,
            "cv_horizon": self.horizon,
        }
        if isinstance(self._strength, np.ndarray):
            summary["regularization_per_state"] = self._strength[regression.state_targets].tolist()
        self.model_ = regression.model(solver.solve(self._strength), summary)
        return decomposed
