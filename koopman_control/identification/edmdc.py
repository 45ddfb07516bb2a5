"""EDMD with inputs: one least-squares problem per fit, all else chosen by cross-validation.

`EDMDc`, the estimator, ties together what `fitting` does in one fit and `corrections` before and
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from sklearn.base import BaseEstimator, clone

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import check_fields, checked
from koopman_control.common.shorthand import takes_fields
from koopman_control.features import Angle, FeatureMap, SampledFeatures, redrawn
from koopman_control.identification.corrections import (
    CORRECTIONS,
    FIELDS,
    LEAST_SQUARES,
    Corrections,
    LeastSquares,
)
from koopman_control.identification.crossvalidation import (
    Choice,
    averaged,
    checked_candidates,
    feature_maps,
)
from koopman_control.identification.delays import without_input_delay
from koopman_control.identification.errors import prediction_score
from koopman_control.identification.fitting import Fit, FitSettings
from koopman_control.identification.least_squares import single_threaded_blas
from koopman_control.identification.measured import Measured, as_logged
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.penalties import path_of
from koopman_control.identification.preparation import batches, weights_of
from koopman_control.identification.regression import Coupling
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.shards import ShardSums, check_pilot, require_parts
from koopman_control.identification.smoothing import NoiseEstimate, smoothed_fit
from koopman_control.identification.trimming import Trimmed, trimmed
from koopman_control.identification.workers import Shards, read, sharded
from koopman_control.trajectories import Trajectory, check_trajectories

DEFAULT_FEATURES = SampledFeatures(random_state=0)
UNSHARDED = "needs all data at once, unlike a fit to shards"
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
        data: Any,
        y: None = None,
        sample_weight: Any = None,
    ) -> EDMDc:
        """Fit a model to trajectories.

        Args:
            data: One trajectory or several; no snapshot pair crosses from one to the next. Or
                shards of them, which need not fit into memory: a store from `open_store`, a
                `dask.bag`, a list of Dask's delayed lists or of functions; see `fit_shards`.
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
        shards = sharded(data)
        if shards is not None:
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight is given with shards of data, which know none; use "
                    "sample_weight=None, or trajectories in memory"
                )
            return self.fit_shards(shards)
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
                self._fit = Fit.to(settings, whole)
                self.smoothed_ = shifted = self._smoothed(settings, corrections, shifted)
                if self.trimmed_ is None:
                    checked = self.smoothed_ = as_logged(checked, shifted, self.input_delay)
                noise = self.noise_.acting
            else:
                self._fit = Fit.to(settings, shifted, weights)
            model = corrections.applied(self._fit.model, shifted, self.rollout, self.horizon)
            self.model_ = self._with_delay(model, noise)
        self._keep_choices()
        if self.n_draws > 1:
            others = self._other_draws(lambda one: one.fit(checked, sample_weight=sample_weight))
            self.model_ = averaged([self.model_, *others])
        return self

    def _keep_choices(self) -> None:
        selection = self._fit.selection
        self.choices_, self.cv_error_ = selection.choices, selection.error_per_step

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
        regression = settings.least_squares

        def fit(data: list[Trajectory], derivatives: Any = None, **changes: Any) -> Fit:
            if derivatives:
                changes["least_squares"] = replace(regression, derivatives=derivatives)
            return Fit.to(replace(settings, **changes), data)

        self._fit, used, self.noise_ = smoothed_fit(
            self._fit,
            data,
            fit,
            corrections.noise_std,
            rollout=self.rollout,
            derivatives=regression.derivatives,
            unless_clean=corrections.noise == "auto",
        )
        return used

    def _with_delay(self, model: LiftedModel, noise: Array | None = None) -> LiftedModel:
        """Let a model know the delay of the data it will meet, and their noise."""
        if not self.input_delay and noise is None:
            return model
        signals = replace(model.signals, input_delay=self.input_delay, noise=noise)
        return replace(model, signals=signals)

    def _other_draws(self, fit: Callable[[EDMDc], EDMDc]) -> list[LiftedModel]:
        """Fit to other draws of the same candidate features."""
        models: list[LiftedModel] = []
        changes: dict[str, Any] = {"n_draws": 1}
        if self._corrections.smooths:  # the data are smooth by now
            changes["corrections"] = replace(self._corrections, noise="ignore", noise_std=None)
            if derivatives := self.noise_.derivatives:
                regression = self.least_squares or LEAST_SQUARES
                changes["least_squares"] = replace(regression, derivatives=derivatives)
        for k in range(1, self.n_draws):
            draws = [redrawn(f, k) for f in feature_maps(self.features, DEFAULT_FEATURES)]
            models.append(fit(clone(self).set_params(features=draws, **changes)).model_)
        return models

    def fit_shards(
        self,
        readers: Sequence[Any],
        pilot: Trajectory | Sequence[Trajectory] | None = None,
        *,
        workers: int | None = None,
    ) -> EDMDc:
        """Fit to data that are read one shard at a time, by workers.

        Workers lift their shards and keep sums of regressors and targets by fold; these are added
        up along a tree that the order of the shards fixes, so that the model is the same bit for
        bit whatever the number of workers and the order in which they finish (on processors of one
        kind; others may round differently). joblib carries the work: inside
        `joblib.parallel_config("dask")`, `("threading")` or `("ray")` it runs there.

        Without a pilot, shards are read three times: for lengths and extreme values, for a sample
        and the windows that judge, and for the sums, which take nearly all the time. The model is
        that of `fit` to all the trajectories in the same order, to rounding (1e-8 in A and B was
        asked for, 1e-11 is usual): scales, features and folds are the same. With a pilot they
        are read once, and these come from the pilot: its scales set the size of the ridge term and
        its states place the features, so that the model differs from that of `fit` as that of
        another draw does. Give a pilot with data from all over the state space.

        Args:
            readers: Functions without arguments, each returning the trajectories of a shard (it
                is called on a worker, so it must be picklable, and more than once without a pilot),
                or lists of trajectories, Dask's delayed ones, or a store from `open_store`. A
                trajectory ends with its shard.
            pilot: Trajectories for a first fit, whose choice of scales, features and limits stays;
                they are not counted as data. The regularisation is chosen anew.
            workers: Processes on this machine; None leaves it to `joblib.parallel_config`, else
                one.

        Returns:
            The estimator; the model is in `model_`. Linear roll-outs that diverge are stabilised by
            the first shard that holds any trajectory (`Corrections(stability="auto")`).

        Raises:
            TypeError: If settings or data are of the wrong kind; the message names the shard.
            ValueError: If shards differ in columns or time step, hold NaN, or are empty; or if
                corrections need all data at once (noise, trim, refine_horizon).
            MemoryError: If workers die or have too little memory. The estimator is then as before.

        Example:
            >>> store = open_store("logs/*.parquet", ["x"], ["u"], dt=0.01)  # doctest: +SKIP
            >>> EDMDc(SampledFeatures(500)).fit_shards(store, workers=2).model_  # doctest: +SKIP
        """
        settings, corrections = self._checked_settings()
        corrections.require_plain(UNSHARDED)
        shards = Shards(readers if (given := sharded(readers)) is None else given, workers)
        if pilot is not None:
            pilot = check_trajectories(pilot)
        with single_threaded_blas():
            if pilot is None:
                fit = Fit.to_shards(settings, shards, self.input_delay)
            else:
                first = Fit.to(settings, self._without_delay(pilot, None)[0])
                fit = first.merged([first.summed(shards, self.input_delay)])
            self._take(fit)
        if self.n_draws > 1:
            others = self._other_draws(lambda one: one.fit_shards(readers, pilot, workers=workers))
            self.model_ = averaged([self.model_, *others])
        return self

    def sums(self, shard: Any) -> ShardSums:
        """Sum up a shard by the scales and features of this fit, the pilot.

        For those who carry the work themselves: sum every shard wherever it lies, by copies of one
        fitted estimator, and `merge` what comes out. `fit_shards` does both.

        Args:
            shard: Trajectories, or a function that returns them.

        Returns:
            Sums by fold, of the same size whatever the shard; picklable.

        Raises:
            NotFittedError: If there was no pilot fit.
            ValueError: If the shard differs from the pilot in columns or time step, or corrections
                need all data at once.

        Example:
            >>> pilot = EDMDc(SampledFeatures(50)).fit(some)  # doctest: +SKIP
            >>> pilot.merge([pilot.sums(shard) for shard in shards]).model_  # doctest: +SKIP
        """
        work = self._pilot("sums").summation(self.input_delay)
        with single_threaded_blas(workers=1):
            return work(read(shard))

    def merge(self, parts: Sequence[ShardSums]) -> EDMDc:
        """Make the model that of the data behind sums; the pilot's own are not counted.

        Args:
            parts: What `sums` returned, in the order in which they are to be added (another one
                changes rounding only).

        Returns:
            The estimator, its regularisation chosen anew and its scales and features as they were.

        Raises:
            ValueError: If there is none, or one is of another pilot.
        """
        fit = self._pilot("merge")
        require_parts(parts)
        with single_threaded_blas():
            self._take(fit.merged(parts))
        return self

    def _pilot(self, what: str) -> Fit:
        """Return the fit whose choices shards share."""
        if self.n_draws > 1:
            raise ValueError(
                f"n_draws is {self.n_draws}; {what} needs n_draws=1, or use fit_shards"
            )
        self._corrections.require_plain(UNSHARDED)
        check_pilot(self, "_fit", what)
        return self._fit

    def _take(self, fit: Fit) -> None:
        """Make a fit to shards the fit of this estimator."""
        model = self._corrections.stable(fit.model, [fit.seen], self.rollout, self.horizon)
        self._fit, self.model_, self.trimmed_ = fit, self._with_delay(model), None
        self._keep_choices()

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
