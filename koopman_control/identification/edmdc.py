"""EDMD with inputs: one least-squares problem per fit, all else chosen by cross-validation.

In the order of a fit: settings checked, one `Fit`, what may follow it (corrections for noise,
horizon and stability), and `EDMDc`, the estimator that ties them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.common.border import check_fields, checked
from koopman_control.features import Angle, FeatureMap, SampledFeatures
from koopman_control.features.base import redrawn
from koopman_control.identification.crossvalidation import (
    Choice,
    CrossValidation,
    Selection,
    alone,
    averaged,
    best_of,
    trials_of,
)
from koopman_control.identification.errors import prediction_score
from koopman_control.identification.horizon import refine_over_horizon
from koopman_control.identification.least_squares import RFactor, RidgeSolver, single_threaded_blas
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.noise import correct_for_noise
from koopman_control.identification.penalties import Penalty, path_of, solver_for
from koopman_control.identification.preparation import (
    batches,
    coordinates_of,
    framed,
    warn_of_few_levels,
    warn_of_lost_directions,
    weights_of,
)
from koopman_control.identification.regression import Coupling, Frame, Regression, Targets
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.snapshots import Run, runs_of, split_into_folds
from koopman_control.identification.stability import stabilized, stabilized_if_needed
from koopman_control.trajectories import Trajectory, check_trajectories


def checked_strengths(settings: EDMDc) -> Sequence[float]:
    """Check all settings of a fit and return the regularisations to try."""
    check_fields(settings)
    _check_corrections(settings)
    if settings.rollout not in ("relifted", settings.coupling):
        raise ValueError(
            f"rollout is {settings.rollout!r}; with coupling={settings.coupling!r} expected one of "
            f"relifted, {settings.coupling}"
        )
    positive_int("horizon", settings.horizon)
    positive_int("memory", settings.memory, minimum=0)
    if positive_int("n_draws", settings.n_draws) > 1:
        _check_draws(settings)
    strengths = regularizations(settings.regularization, path_of(settings.penalty))
    if settings.n_folds != 0:
        positive_int("n_folds", settings.n_folds, minimum=2)
    elif len(strengths) > 1 or len(candidate_features(settings)) > 1:
        raise ValueError(
            "n_folds is 0, which leaves nothing to choose by; expected a number as "
            "regularization and a single feature map, or at least 2 folds"
        )
    return strengths


def _check_corrections(settings: EDMDc) -> None:
    """Check what follows the fit."""
    if settings.refine_horizon and settings.coupling != "linear":
        raise ValueError(
            f"refine_horizon is True with coupling={settings.coupling!r}; only the linear roll-out "
            'is refined: use coupling="linear"'
        )
    if settings.stability not in (None, "auto"):
        positive_float("stability", settings.stability)


def _check_draws(settings: EDMDc) -> None:
    """Raise a ValueError before the first draw if others cannot differ or be averaged."""
    if settings.rollout != "linear":
        raise ValueError(
            f"n_draws is {settings.n_draws} with rollout={settings.rollout!r}; only linear "
            'roll-outs can be averaged: use n_draws=1, or rollout="linear"'
        )
    for features in candidate_features(settings):
        redrawn(features, 1)


def candidate_features(settings: EDMDc) -> list[FeatureMap]:
    """Return the candidate features, unfitted."""
    given = settings.features
    return feature_maps(SampledFeatures(random_state=0) if given is None else given)


def regularizations(value: Any, candidates: Sequence[float]) -> Sequence[float]:
    """Return the candidates for "cv..." and otherwise the value alone, checked."""
    if isinstance(value, str) and value in ("cv", "cv-per-state"):
        return candidates
    number = isinstance(value, (int, float, np.integer, np.floating))
    if number and 0.0 <= float(value) < np.inf:
        return (float(value),)
    raise ValueError(f'regularization is {value!r}; expected "cv" or a number of at least 0')


def feature_maps(features: Any) -> list[FeatureMap]:
    """Return one feature map or a sequence of them as a list, which is not empty."""
    given = list(features) if isinstance(features, (list, tuple)) else [features]
    if not given:
        raise ValueError("features is an empty list; expected at least one feature map")
    return given


def finished(settings: EDMDc, model: LiftedModel, data: Sequence[Trajectory]) -> LiftedModel:
    """Apply the corrections that the settings ask for, and note them in the summary.

    Corrections for noise and horizon are kept only where left-out data confirm them, so the bounds
    on the error of the plain fit are kept with them.

    Args:
        settings: An `EDMDc`, whose settings are read.
        model: The plain fit.
        data: The trajectories it was fitted to.
    """
    bounds = model.error_quantiles
    if settings.noise == "instruments":
        model = correct_for_noise(model, data, rollout=settings.rollout, horizon=settings.horizon)
    if settings.refine_horizon:
        model = refine_over_horizon(model, data, settings.horizon)
    return with_stability(settings, replace(model, error_quantiles=bounds), data)


def with_stability(settings: EDMDc, model: LiftedModel, data: Sequence[Trajectory]) -> LiftedModel:
    """Apply the setting `stability` to a model."""
    if settings.stability is None:
        return model
    if settings.stability != "auto":
        return stabilized(model, settings.stability, data)
    if settings.rollout != "linear":
        return model
    return stabilized_if_needed(model, data, settings.horizon)


def require_plain_fit(settings: EDMDc, what: str) -> None:
    """Raise a ValueError if the settings ask for corrections that need all data at once."""
    wanted: dict[str, Any] = {"noise": settings.noise, "refine_horizon": settings.refine_horizon}
    for name, value in wanted.items():
        if value not in ("ignore", False):
            raise ValueError(
                f'{name} is {value!r}, which {what}; use noise="ignore" and refine_horizon=False'
            )


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
        input_features: A feature map of the inputs: v = [u, input_features(u)] then enters instead
            of u, as B v (+ sum_j v_j N_j z), for plants that are not affine in their inputs. States
            are clipped at their limits, but none counts as stopped by the plant.
        regularization: Weight of the ridge term, at least 0, or "cv" to choose it from
            1e-14 ... 1e-2 ("lasso", "elasticnet": 1e-4 ... 1e-1 of the penalty that leaves only a
            constant).
            "cv-per-state" then goes on to choose one for each state, which took up to a tenth off
            the held-out error of Van der Pol and nothing off Pendulum's.
        penalty: "ridge"; "truncation" drops the directions that ridge would shrink to less than
            half, and shrinks none; "lasso" keeps few regressors per lifted state, "elasticnet" few
            groups of those that are alike (both take seconds where ridge takes milliseconds).
        targets: What is regressed, and so what a penalty pulls towards: "increments" z+ - z (a
            plant that stands still), or "states" z+ (zero). Angles always by their increments.
        noise: "ignore" measurement noise, or correct for it by "instruments"; see
            `correct_for_noise`.
        refine_horizon: Refine a linear model over the horizon; see `refine_over_horizon`.
        stability: Largest spectral radius allowed, see `stabilized`; "auto" intervenes only where
            the linear roll-out is used and diverges on the data; None never does.
        rollout: Roll-out judged in cross-validation: "relifted", or the one matching the coupling.
        horizon: Longest prediction judged, in steps; about the controller's horizon.
        states: Observation columns to model; None takes all. Leave out goals, which do not move.
        angles: A (cosine column, sine column) pair, or a column in radians, for each angle in the
            observation.
        memory: Number of past steps and inputs that the state also holds (a delay embedding), for
            plants whose observation does not tell all (positions without speeds). Predictions are
            judged by the present states only. More than is needed helps against noise.
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
    _fit: Fit

    def __init__(
        self,
        features: FeatureMap | Sequence[FeatureMap] | None = None,
        *,
        coupling: Coupling = "linear",
        input_features: FeatureMap | None = None,
        regularization: float | Literal["cv", "cv-per-state"] = "cv",
        penalty: Penalty = "ridge",
        targets: Targets = "increments",
        noise: Literal["ignore", "instruments"] = "ignore",
        refine_horizon: bool = False,
        stability: float | Literal["auto"] | None = "auto",
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
        self.input_features = input_features
        self.regularization = regularization
        self.penalty = penalty
        self.targets = targets
        self.noise = noise
        self.refine_horizon = refine_horizon
        self.stability = stability
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
        strengths = checked_strengths(self)
        checked = check_trajectories(data)
        if sample_weight is not None:
            require_plain_fit(self, "knows no sample_weight")
        with single_threaded_blas():
            self._fit = Fit(self, checked, strengths, sample_weight)
            self.model_ = finished(self, self._fit.model, checked)
        selection = self._fit.selection
        self.choices_, self.cv_error_ = selection.choices, selection.error_per_step
        if self.n_draws > 1:
            self.model_ = averaged([self.model_, *self._other_draws(checked, sample_weight)])
        return self

    def _other_draws(self, data: list[Trajectory], sample_weight: Any) -> list[LiftedModel]:
        """Fit to other draws of the same candidate features."""
        models = []
        for k in range(1, self.n_draws):
            draws = [redrawn(features, k) for features in candidate_features(self)]
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
        require_plain_fit(self, "needs all data at once, unlike partial_fit")
        if sample_weight is not None or isinstance(data, (Trajectory, list, tuple)):
            pieces: Iterable[list[Trajectory]] = [check_trajectories(data)]
        else:
            pieces = batches(data)
        added = False
        for piece in pieces:
            if not hasattr(self, "model_"):
                self.fit(piece, sample_weight=sample_weight)
                continue
            with single_threaded_blas():
                self._fit.add(piece, sample_weight)
            added = True
        if added:
            with single_threaded_blas():
                self._fit.solve()
                self.model_ = with_stability(self, self._fit.model, piece)
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
        with single_threaded_blas():
            return self._fit.score_left_out(seen, judged)
