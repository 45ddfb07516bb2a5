"""EDMD with inputs: one least-squares problem per fit, all else chosen by cross-validation.

In the order of a fit: its settings, one `Fit`, and `EDMDc`, the estimator that ties them together;
`corrections` holds the groups of settings that are rarely changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import check_fields, checked
from koopman_control.common.shorthand import takes_fields
from koopman_control.features import Angle, Coordinates, FeatureMap, SampledFeatures, redrawn
from koopman_control.identification.corrections import (
    CORRECTIONS,
    FIELDS,
    LEAST_SQUARES,
    Corrections,
    LeastSquares,
)
from koopman_control.identification.crossvalidation import (
    Choice,
    CrossValidation,
    Selection,
    alone,
    averaged,
    best_of,
    checked_candidates,
    feature_maps,
    trials_of,
)
from koopman_control.identification.delays import without_input_delay
from koopman_control.identification.errors import prediction_score
from koopman_control.identification.least_squares import RFactor, RidgeSolver, single_threaded_blas
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.penalties import path_of, solver_for
from koopman_control.identification.preparation import (
    batches,
    prepared,
    warn_of_few_levels,
    warn_of_lost_directions,
    weights_of,
)
from koopman_control.identification.regression import Coupling, Design, Regression
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.smoothing import (
    Measured,
    NoiseEstimate,
    as_logged,
    smoothed_fit,
)
from koopman_control.identification.snapshots import Run, runs_of, split_into_folds
from koopman_control.identification.trimming import JUDGED, Trimmed, trimmed
from koopman_control.trajectories import Trajectory, check_trajectories

DEFAULT_FEATURES = SampledFeatures(random_state=0)


@dataclass(frozen=True)
class FitSettings:
    """Settings of an `EDMDc` as a fit needs them, checked.

    Args:
        features: Candidates, unfitted.
        input_features: Unfitted, or None.
        coupling: "linear" or "bilinear".
        strengths: Regularisations to choose from.
        per_state: Choose one for each state.
        least_squares: How the regression is set up.
        rollout: Roll-out judged.
        horizon: Longest prediction judged, in steps.
        states: Observation columns to model, or None.
        angles: Columns that are angles.
        memory: Number of past steps in the state.
        n_folds: Folds of the cross-validation, or 0.
        described: The estimator in words.
    """

    features: list[FeatureMap]
    input_features: FeatureMap | None
    coupling: Coupling
    strengths: Sequence[float]
    per_state: bool
    least_squares: LeastSquares
    rollout: Rollout
    horizon: int
    states: Sequence[int] | None
    angles: Sequence[Angle]
    memory: int
    n_folds: int
    described: str

    def coordinates(self, data: Sequence[Trajectory]) -> Coordinates:
        """Say what a state of the data is."""
        p, m = data[0].observations.shape[1], data[0].actions.shape[1] if self.memory else 0
        return Coordinates.of(p, self.states, self.angles, memory=self.memory, n_inputs=m)

    def quick_fit(self, data: Sequence[Trajectory]) -> LiftedModel:
        """Fit the middle one of the candidate features, roughly, without a word about it."""
        middle, some = self.features[len(self.features) // 2], self.strengths[::3]
        rough = replace(
            self, features=[middle], strengths=some, per_state=False, horizon=JUDGED, n_folds=2
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Fit(rough, data, None).model


class Fit:
    """Choices made on first data, and the sums of all data so far.

    Args:
        settings: What to do.
        data: Trajectories, checked and without delay.
        weights: A weight for each step of each trajectory, or None.
    """

    def __init__(
        self, settings: FitSettings, data: Sequence[Trajectory], weights: Sequence[Array] | None
    ) -> None:
        self._settings, self._seen = settings, data[0]
        self.selection = self._selected(data, weights)
        trial = self.selection.trial
        self.regression = trial.regression
        self._n_pairs = sum(len(run.U) for run in trial.runs)
        self.model, decomposed = self._solved(trial.factor)
        least = self.selection.choices[0].regularization
        warn_of_lost_directions(trial.regression, trial.factor, decomposed, trial.runs, least)
        self._total = trial.total()

    def add(self, data: Sequence[Trajectory], weights: Sequence[Array] | None) -> None:
        """Add rows to the sums of the fit; `solve` brings the model up to date."""
        checked = check_trajectories([self._seen, *data])[1:]
        runs = runs_of(checked, self.model.coordinates, weights)
        self._total.absorb(self.regression.sums([runs], self._total.basis)[0])
        self._n_pairs += sum(len(run.U) for run in runs)

    def solve(self) -> None:
        """Solve for the model of all data so far."""
        self.model, _ = self._solved(self._total.factor())

    def _solved(self, factor: RFactor) -> tuple[LiftedModel, RidgeSolver]:
        """Solve for the model with the choices made, and note the facts about the fit."""
        settings, best, decomposed = self._settings, self.selection.choices[0], factor.solver()
        penalty = settings.least_squares.penalty
        solver = decomposed if penalty == "ridge" else solver_for(penalty, factor)
        strength = self.selection.strength
        summary: dict[str, Any] = {
            "estimator": settings.described,
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
        settings, fitted = self._settings, self.model.signals
        design, _ = self._design(check_trajectories([*seen, *judged]), fitted.input_features)
        signals = replace(design.signals, saturating=fitted.saturating)
        regression = Regression(
            replace(design, signals=signals), self.selection.choices[0].features
        )
        folds = split_into_folds(runs_of(judged, fitted.coordinates), max(2, settings.n_folds))
        always, penalty = runs_of(seen, fitted.coordinates), settings.least_squares.penalty
        trial = CrossValidation(regression, folds, settings.horizon, always, penalty)
        return -trial.score(self.selection.strength, settings.rollout)

    def _selected(self, data: Sequence[Trajectory], weights: Sequence[Array] | None) -> Selection:
        """Accumulate the data once for every candidate, and choose."""
        settings, input_features = self._settings, self._settings.input_features
        if input_features is not None:
            U = np.concatenate([t.actions for t in data])
            input_features = clone(input_features).fit(U)
            warn_of_few_levels(input_features, U)
        design, runs = self._design(data, input_features, weights)
        trials = trials_of(
            design,
            runs,
            settings.features,
            settings.n_folds,
            settings.horizon,
            settings.least_squares.penalty,
            data[0].action_names,
        )
        if not settings.n_folds:
            return alone(trials[0], settings.strengths[0])
        return best_of(trials, settings.strengths, settings.rollout, settings.per_state)

    def _design(
        self,
        data: Sequence[Trajectory],
        input_features: FeatureMap | None,
        weights: Sequence[Array] | None = None,
    ) -> tuple[Design, list[Run]]:
        """Read states, scales and limits from the data as the settings say."""
        settings = self._settings
        coordinates = settings.coordinates(data)
        limited = settings.least_squares.limits == "data"
        signals, runs = prepared(data, weights, coordinates, limited, input_features)
        regression = settings.least_squares
        design = Design.of(
            signals, runs, settings.coupling, regression.targets, regression.derivatives
        )
        return design, runs


LONGEST = 10_000  # characters of the text that describes an estimator


class EDMDc(BaseEstimator):  # type: ignore[misc]
    """Extended dynamic mode decomposition with inputs.

    Fits z+ = A z + B u (+ sum_i u_i N_i z) with z = [1, x, features(x)] by ridge regression on
    increments, min |dz - K [z, u, u z]|^2 / T + regularization |K|^2, through an orthogonal
    factorisation. Features and regularisation are chosen by the multi-step error of the roll-out
    that will be used, on runs left out of the fit.

    Fields of the groups may be given alone: `noise="smooth"` is short for
    `corrections=Corrections(noise="smooth")`.

    Samples that end on a known limit (a clipped speed) are censored: left out of the regression;
    predictions are stopped at the limit instead.

    Args:
        features: A feature map, or several candidates of which the best is kept.
        coupling: "linear" (B u) or "bilinear" (B u + sum_i u_i N_i z).
        input_features: A feature map of the inputs: v = [u, input_features(u)] then enters instead
            of u, as B v (+ sum_j v_j N_j z), for plants that are not affine in their inputs. States
            are clipped at their limits, but none counts as stopped by the plant.
        regularization: Weight of the ridge term, at least 0, or "cv" to choose it from
            1e-14 ... 1e-2 ("lasso", "elasticnet": 1e-4 ... 1e-1 of the penalty that leaves only a
            constant).
            "cv-per-state" then goes on to choose one for each state, which took up to a tenth off
            the held-out error of Van der Pol and nothing off Pendulum's.
        least_squares: How the regression is set up: penalty, targets, limits of the plant; None
            means `LeastSquares()`.
        corrections: What follows it, for noise, over the horizon and for stability; None means
            `Corrections()`.
        rollout: Roll-out judged in cross-validation: "relifted", or the one matching the coupling.
        horizon: Longest prediction judged, in steps; about the controller's horizon.
        states: Observation columns to model; None takes all. Leave out goals, which do not move.
        angles: A (cosine column, sine column) pair, or a column in radians, for each angle in the
            observation.
        memory: Number of past steps and inputs that the state also holds (a delay embedding), for
            plants whose observation does not tell all (positions without speeds). Predictions are
            judged by the present states only. More than is needed helps against noise.
        input_delay: Samples that pass before an input acts; `estimate_input_delay` finds it. Inputs
            are shifted before anything is fitted, as by `with_input_delay`, and the model knows the
            delay of the data it will meet. Trajectories that are no longer are left out. -1 is
            feed-through: the input of a row acts on the outputs of that row.
        n_folds: Folds of the cross-validation; 0 does without, for a single feature map and a
            given regularisation.
        n_draws: Draws of the features, each fitted by itself, whose linear roll-outs are averaged:
            more draws, less luck. For the linear roll-out; the roll-outs of `cv_error_` and the
            scores are those of the first draw.

    Attributes:
        model_: The fitted `LiftedModel`.
        choices_: All candidates with their cross-validated scores, best first.
        cv_error_: Held-out error 1 ... horizon steps ahead per roll-out, in standard deviations.
        noise_: What was found about the noise of the data (`NoiseEstimate`), with corrections that
            smooth.
        smoothed_: The data, their noise taken out and their gaps filled, likewise.
        trimmed_: Which samples `Corrections(trim=...)` kept, or None.

    Example:
        >>> from koopman_control.trajectories import collect
        >>> model = EDMDc(SampledFeatures(20)).fit(collect("Pendulum-v1", n_steps=200)).model_
        >>> model.n_lifted
        24
    """

    model_: LiftedModel
    choices_: list[Choice]
    cv_error_: dict[str, Array]
    noise_: NoiseEstimate
    smoothed_: list[Trajectory]
    trimmed_: Trimmed | None
    _fit: Fit

    @takes_fields(FIELDS)
    def __init__(
        self,
        features: FeatureMap | Sequence[FeatureMap] | None = None,
        *,
        coupling: Coupling = "linear",
        input_features: FeatureMap | None = None,
        regularization: float | Literal["cv", "cv-per-state"] = "cv",
        least_squares: LeastSquares | None = None,
        corrections: Corrections | None = None,
        rollout: Rollout = "relifted",
        horizon: int = 20,
        states: Sequence[int] | None = None,
        angles: Sequence[Angle] = (),
        memory: int = 0,
        input_delay: int = 0,
        n_folds: int = 5,
        n_draws: int = 1,
    ) -> None:
        self.features = features
        self.coupling = coupling
        self.input_features = input_features
        self.regularization = regularization
        self.least_squares = least_squares
        self.corrections = corrections
        self.rollout = rollout
        self.horizon = horizon
        self.states = states
        self.angles = angles
        self.memory = memory
        self.input_delay = input_delay
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
        settings, corrections = self._checked_settings()
        missing = corrections.smooths and corrections.trim is None
        checked = check_trajectories(data, missing=missing)
        if sample_weight is not None:
            corrections.require_plain("knows no sample_weight")
        shifted, weights = self._without_delay(checked, sample_weight)
        with single_threaded_blas():
            self.trimmed_, noise = None, None
            if corrections.trim is not None:
                self.trimmed_ = trimmed(settings.quick_fit, shifted, corrections.trim)
                shifted = self.trimmed_.pieces
            if corrections.smooths and weights is None:
                doubting = corrections.noise == "smooth"
                whole = Measured.of(shifted, settings.coordinates(shifted), doubting=doubting).data
                self._fit = Fit(settings, whole, None)
                self.smoothed_ = shifted = self._smoothed(settings, corrections, shifted)
                if self.trimmed_ is None:
                    checked = self.smoothed_ = as_logged(checked, shifted, self.input_delay)
                noise = self.noise_.acting
            else:
                self._fit = Fit(settings, shifted, weights)
            model = corrections.applied(self._fit.model, shifted, self.rollout, self.horizon)
            self.model_ = self._with_delay(model, noise)
        selection = self._fit.selection
        self.choices_, self.cv_error_ = selection.choices, selection.error_per_step
        if self.n_draws > 1:
            self.model_ = averaged([self.model_, *self._other_draws(checked, sample_weight)])
        return self

    def _checked_settings(self) -> tuple[FitSettings, Corrections]:
        """Check all settings, and return what a fit and what follows it needs of them."""
        check_fields(self)
        least_squares, corrections = self.least_squares or LEAST_SQUARES, self._corrections
        if corrections.refine_horizon and self.rollout == "bilinear":
            raise ValueError(
                "refine_horizon is True with rollout='bilinear'; only the linear and the re-lifted "
                'roll-out are refined: use rollout="relifted"'
            )
        if self.rollout not in ("relifted", self.coupling):
            raise ValueError(
                f"rollout is {self.rollout!r}; with coupling={self.coupling!r} expected one of "
                f"relifted, {self.coupling}"
            )
        positive_int("horizon", self.horizon)
        positive_int("memory", self.memory, minimum=0)
        positive_int("input_delay", self.input_delay, minimum=-1)
        if self.n_draws > 1 and self.rollout != "linear":
            raise ValueError(
                f"n_draws is {self.n_draws} with rollout={self.rollout!r}; only linear "
                'roll-outs can be averaged: use n_draws=1, or rollout="linear"'
            )
        maps, path = feature_maps(self.features, DEFAULT_FEATURES), path_of(least_squares.penalty)
        strengths = checked_candidates(maps, self.regularization, path, self.n_folds, self.n_draws)
        settings = FitSettings(
            features=maps,
            input_features=self.input_features,
            coupling=self.coupling,
            strengths=strengths,
            per_state=self.regularization == "cv-per-state",
            least_squares=least_squares,
            rollout=self.rollout,
            horizon=self.horizon,
            states=self.states,
            angles=self.angles,
            memory=self.memory,
            n_folds=self.n_folds,
            described=" ".join(self.__repr__(N_CHAR_MAX=LONGEST).split()),  # type: ignore[call-arg]
        )
        return settings, corrections

    @property
    def _corrections(self) -> Corrections:
        return self.corrections or CORRECTIONS

    def _without_delay(
        self, data: list[Trajectory], sample_weight: Any
    ) -> tuple[list[Trajectory], list[Array] | None]:
        """Let every input stand beside the step it acts in; also weights of what is left."""
        weights, k = weights_of(data, sample_weight), self.input_delay
        if not k:
            return data, weights
        if weights is not None:
            cut = slice(k, None) if k > 0 else slice(k)
            weights = [w[cut] for t, w in zip(data, weights, strict=True) if len(t) > abs(k)]
        return without_input_delay(data, k), weights

    def _smoothed(
        self, settings: FitSettings, corrections: Corrections, data: list[Trajectory]
    ) -> list[Trajectory]:
        """Take noise out of the data and fit again; returns the data that were fitted to."""
        self._fit, used, self.noise_ = smoothed_fit(
            self._fit,
            data,
            lambda data, **changes: Fit(replace(settings, **changes), data, None),
            corrections.noise_std,
            known=settings.least_squares.derivatives,
            unless_clean=corrections.noise == "auto",
        )
        return used

    def _with_delay(self, model: LiftedModel, noise: Array | None = None) -> LiftedModel:
        """Let a model know the delay of the data it will meet, and their noise."""
        if not self.input_delay and noise is None:
            return model
        signals = replace(model.signals, input_delay=self.input_delay, noise=noise)
        return replace(model, signals=signals)

    def _other_draws(self, data: list[Trajectory], sample_weight: Any) -> list[LiftedModel]:
        """Fit to other draws of the same candidate features."""
        models, corrections = [], self._corrections
        if corrections.smooths:  # the data are smooth by now
            corrections = replace(corrections, noise="ignore", noise_std=None)
        for k in range(1, self.n_draws):
            draws = [redrawn(f, k) for f in feature_maps(self.features, DEFAULT_FEATURES)]
            other = clone(self).set_params(features=draws, n_draws=1, corrections=corrections)
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
        self._corrections.require_plain("needs all data at once, unlike partial_fit")
        if sample_weight is not None or isinstance(data, (Trajectory, list, tuple)):
            pieces: Iterable[list[Trajectory]] = [check_trajectories(data)]
        else:
            pieces = batches(data)
        added = False
        for piece in pieces:
            if not hasattr(self, "model_"):
                self.fit(piece, sample_weight=sample_weight)
                continue
            shifted, weights = self._without_delay(piece, sample_weight)
            with single_threaded_blas():
                self._fit.add(shifted, weights)
            added = True
        if added:
            with single_threaded_blas():
                self._fit.solve()
                stable = self._corrections.stable
                model = stable(self._fit.model, shifted, self.rollout, self.horizon)
                self.model_ = self._with_delay(model)
        return self

    @checked
    def score(self, data: Trajectory | Sequence[Trajectory], y: None = None) -> float:
        """Return minus the multi-step error on data: 0 is perfect, -1 no better than the mean."""
        return -prediction_score(self.model_, data, self.horizon, self.rollout)

    @checked
    def score_left_out(self, seen: Sequence[Trajectory], judged: Sequence[Trajectory]) -> float:
        """Score the chosen settings on `judged`, each part of it by a fit that left it out.

        Args:
            seen: Trajectories that every fit sees.
            judged: Trajectories that are cut into parts; each is judged by a fit to all the rest.

        Returns:
            Minus the multi-step error, comparable with `score(judged)` of a fit to `seen` alone.
        """
        (before, _), (after, _) = (self._without_delay(list(d), None) for d in (seen, judged))
        with single_threaded_blas():
            return self._fit.score_left_out(before, after)
