"""EDMD with inputs: one least-squares problem per fit, all else chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from sklearn.base import BaseEstimator, clone

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked
from koopman_control.features import Angle, FeatureMap
from koopman_control.features.base import redrawn
from koopman_control.identification.errors import prediction_score
from koopman_control.identification.fitting.averaging import averaged
from koopman_control.identification.fitting.finishing import (
    finished,
    require_plain_fit,
    with_stability,
)
from koopman_control.identification.fitting.fit import Fit
from koopman_control.identification.fitting.frame import Coupling, Targets
from koopman_control.identification.fitting.preparation import batches
from koopman_control.identification.fitting.selection import Choice
from koopman_control.identification.fitting.settings import candidate_features, checked_strengths
from koopman_control.identification.least_squares.penalties import Penalty
from koopman_control.identification.least_squares.threads import single_threaded_blas
from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.model.rollouts import Rollout
from koopman_control.trajectories import Trajectory, check_trajectories


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
