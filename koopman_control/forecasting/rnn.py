"""The sampled RNN: a forecaster of time series whose fit is one least-squares solve.

Members with different feature draws are fitted side by side and averaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from koopman_control.common.arrays import Array, positive_int, seed_number
from koopman_control.common.border import check_fields, checked
from koopman_control.features import FeatureMap, SampledFeatures
from koopman_control.forecasting.control import as_model
from koopman_control.forecasting.ensemble import Ensemble
from koopman_control.forecasting.intervals import Forecast, sizes
from koopman_control.forecasting.memory import Scaling
from koopman_control.forecasting.onestep import STRENGTHS, TimeFolds, in_time
from koopman_control.forecasting.series import (
    Series,
    checked_histories,
    checked_series,
    require_moving,
    series_of,
)
from koopman_control.identification import LiftedModel
from koopman_control.identification.corrections import Corrections
from koopman_control.identification.crossvalidation import (
    Choice,
    FoldsInMemory,
    checked_candidates,
    feature_maps,
)
from koopman_control.identification.edmdc import EDMDc
from koopman_control.identification.errors import bounded_score, windows_of
from koopman_control.identification.least_squares import single_threaded_blas
from koopman_control.identification.shards import (
    PilotSummation,
    ShardedFolds,
    ShardSums,
    Summation,
    check_pilot,
    extent,
    require_parts,
)
from koopman_control.identification.smoothing import NoiseEstimate
from koopman_control.identification.snapshots import Run, sample_of
from koopman_control.identification.workers import Shards, read, sharded
from koopman_control.trajectories import Trajectory, check_trajectories

CALIBRATION_WINDOWS = 200


@dataclass(frozen=True)
class SeriesRuns:
    """From the trajectories of a shard to runs, on a worker.

    Args:
        like: A series that has the columns expected.
        scaling: Units and memory; None takes outputs and inputs as they are.
    """

    like: Series
    scaling: Scaling | None

    def __call__(self, trajectories: Sequence[Trajectory]) -> list[Run]:
        """Read the states of every series that is long enough; there may be none."""
        data = checked_series(list(trajectories), None, self.like) if trajectories else []
        if self.scaling is None:
            return [Run(one.Y, one.U) for one in data]
        long = [one for one in data if len(one.U) > self.scaling.memory.length]
        return self.scaling.runs(long) if long else []


N_FEATURES, STEEPNESS = 500, 0.4  # the smoothness that served Lorenz's system best


class SampledRNN(BaseEstimator):  # type: ignore[misc]
    """A recurrent network with a sampled hidden layer, fitted without gradients.

    Predicts y+ = y + K [1, x, u, features(x, u)], where the state x holds the newest outputs y and
    a memory of earlier ones, and lifts again at every step. K is one least-squares solve.
    Features and regularisation are chosen by forecasting several steps ahead from several origins,
    each time with a fit to the past alone.

    Args:
        features: A feature map, or several candidates (of different widths, say) of which the best
            is kept; None takes 500 sampled features.
        memory: Number of past steps the state remembers, for series that do not show all.
        n_recurrent: Neurons of a random recurrent layer that holds the memory and forgets over
            `memory` steps; 0 keeps the past steps themselves.
        increments: Whether steps y+ - y are regressed (a skip connection) rather than y+.
        regularization: Weight of the ridge term, at least 0, or "cv" to choose it from 0 and
            1e-20 ... 1.
        horizon: Longest forecast judged, and the longest that has intervals, in steps.
        n_folds: Parts in time of the cross-validation; 0 does without (and without intervals), for
            a single feature map and a given regularisation.
        n_draws: Draws of the features, each fitted by itself, whose forecasts are averaged.
        random_state: Seed of the recurrent layer and of the features where `features` is None.
        noise: "ignore" measurement noise, or "smooth" the series first, by an `EDMDc` with these
            features and this memory (`Corrections(noise="smooth")`). Forecasts, errors and
            intervals are then those of the series without noise. Not with `n_recurrent`.

    Attributes:
        choices_: All candidates with their cross-validated scores, best first.
        cv_error_: Held-out error 1 ... horizon steps ahead, in standard deviations.
        noise_: What was found about the noise (`NoiseEstimate`), where it is taken out.
        smoothed_: The series without it, a list of arrays (T, p), likewise.

    Example:
        >>> t = np.arange(300)
        >>> rnn = SampledRNN(SampledFeatures(20, random_state=0), memory=2).fit(np.sin(0.1 * t))
        >>> np.allclose(rnn.forecast(np.sin(0.1 * t), 50)[:, 0], np.sin(0.1 * (300 + t[:50])))
        True
    """

    choices_: list[Choice]
    cv_error_: Array
    noise_: NoiseEstimate
    smoothed_: list[Array]
    _ensemble: Ensemble
    _like: Series

    def __init__(
        self,
        features: FeatureMap | Sequence[FeatureMap] | None = None,
        *,
        memory: int = 0,
        n_recurrent: int = 0,
        increments: bool = True,
        regularization: float | Literal["cv"] = "cv",
        horizon: int = 20,
        n_folds: int = 4,
        n_draws: int = 1,
        random_state: int = 0,
        noise: Literal["ignore", "smooth"] = "ignore",
    ) -> None:
        self.features = features
        self.memory = memory
        self.n_recurrent = n_recurrent
        self.increments = increments
        self.regularization = regularization
        self.horizon = horizon
        self.n_folds = n_folds
        self.n_draws = n_draws
        self.random_state = random_state
        self.noise = noise

    def fit(self, series: Any, y: None = None, *, inputs: Any = None) -> SampledRNN:
        """Fit to one or several series, of any lengths.

        Args:
            series: Rows of outputs, shape (T, p) or (T,), a pandas frame, or a `Trajectory`, whose
                actions are the inputs; or a list of these, or shape (S, T, p). Or shards of
                trajectories, which need not fit into memory; see `fit_shards`.
            y: Ignored, for scikit-learn.
            inputs: Exogenous inputs, shape (T, m): row i acts from row i of the series to row
                i + 1 (the last may be left out). For several series, a list of these.

        Returns:
            The fitted estimator.

        Raises:
            TypeError: If settings or data are of the wrong kind.
            ValueError: If settings are out of range, or data hold NaN, a constant column or too few
                rows; the message names them.
        """
        shards = sharded(series)
        if shards is not None:
            if inputs is not None:
                raise TypeError("inputs are given beside shards; their actions are the inputs")
            return self.fit_shards(shards)
        self._checked_settings()
        data = checked_series(series, inputs)
        if self.noise == "smooth":
            data = self._smoothed(data)
        with single_threaded_blas():
            self._take(self._chosen(data), data[0])
        return self

    def _chosen(self, data: list[Series]) -> Ensemble:
        """Fit to series in memory."""
        sample = sample_of([Run(one.Y, one.U) for one in data])
        scaling = self._scaling(sample, data[0].names)
        folds = FoldsInMemory(
            scaling.runs(data),
            self.n_folds,
            self.horizon,
            deal=in_time,
            n_further=CALIBRATION_WINDOWS,
        )
        return self._on(folds, scaling)

    def _scaling(self, sample: Sequence[Run], names: tuple[str, ...]) -> Scaling:
        """Measure scales on a sample of the data."""
        series = [Series(run.X, run.U, names) for run in sample]
        return Scaling.of(series, self.memory, self.n_recurrent, self.random_state)

    def _on(self, folds: TimeFolds, scaling: Scaling) -> Ensemble:
        """Choose and fit on folds."""
        maps, strengths = self._checked_settings()
        if self.n_folds and folds.n_folds < 2:
            raise ValueError(
                "series make a single snapshot pair beyond the memory; expected at least two "
                "for cross-validation"
            )
        return Ensemble.chosen(
            scaling,
            folds,
            maps,
            strengths,
            horizon=self.horizon,
            increments=self.increments,
            n_draws=self.n_draws,
        )

    def _take(self, ensemble: Ensemble, like: Series) -> None:
        self._ensemble, self._like = ensemble, like
        self.choices_, self.cv_error_ = ensemble.choices, ensemble.error_per_step

    def fit_shards(
        self,
        readers: Sequence[Any],
        pilot: Trajectory | Sequence[Trajectory] | None = None,
        *,
        workers: int | None = None,
    ) -> SampledRNN:
        """Fit to data that are read one shard at a time, by workers; see `EDMDc.fit_shards`.

        Shards count in the order of time. Without a pilot they are read five times, of which the
        last takes nearly all the time, and forecasts are those of `fit` to all the trajectories in
        the same order, to rounding. With a pilot, they are read once, every shard is cut into folds
        by itself, and intervals are calibrated on the last part of every shard.

        Args:
            readers: Functions that return trajectories, lists of them, Dask's delayed ones, or a
                store from `open_store`; actions are the inputs.
            pilot: Trajectories for a first fit, whose scales and features stay, or None.
            workers: Processes on this machine; None leaves it to `joblib.parallel_config`, else
                one.

        Raises:
            TypeError: If settings or data are of the wrong kind; the message names the shard.
            ValueError: If shards differ in columns or are empty, or noise is to be taken out.
            MemoryError: If workers die or have too little memory. The estimator is then as before.
        """
        self._checked_settings()
        self._require_plain("a fit to shards")
        shards = Shards(readers if (given := sharded(readers)) is None else given, workers)
        with single_threaded_blas():
            if pilot is None:
                self._take(*self._over(shards))
                return self
            data = checked_series(check_trajectories(pilot))
            ensemble = self._chosen(data)
            tasks = [[i] for i in range(len(shards))]
            work = self._summation(ensemble, data[0])
            total = shards.summed(work, [None] * len(shards), ShardSums.add, tasks)
            _, strengths = self._checked_settings()
            self._take(ensemble.merged([total], strengths, self.horizon), data[0])
        return self

    def _over(self, shards: Shards) -> tuple[Ensemble, Series]:
        """Fit to shards as to all their series in memory."""
        like = series_of(shards.some()[0])
        plain = SeriesRuns(like, None)
        nothing = [None] * len(shards)
        extents = shards.each(partial(extent, read=plain), nothing)
        sample = ShardedFolds(shards, plain, extents, in_time, 0, self.horizon).sample
        require_moving([Series(run.X, run.U, like.names) for run in sample])
        scaling = self._scaling(sample, like.names)
        scaled = SeriesRuns(like, scaling)
        extents = shards.each(partial(extent, read=scaled), nothing)
        if not any(one.lengths for one in extents):
            raise ValueError(
                f"no series in {len(shards)} shards has more than {self.memory + 1} rows, which "
                f"the memory of {self.memory} needs; use a shorter memory or longer series"
            )
        folds = ShardedFolds(
            shards, scaled, extents, in_time, self.n_folds, self.horizon, CALIBRATION_WINDOWS
        )
        return self._on(folds, scaling), like

    def sums(self, shard: Any) -> ShardSums:
        """Sum up a shard by the scales and features of this fit, the pilot; see `EDMDc.sums`.

        Args:
            shard: Trajectories, or a function that returns them; actions are the inputs.

        Raises:
            NotFittedError: If there was no pilot fit.
            ValueError: If the shard differs from the pilot in columns, or noise is to be taken out.
        """
        self._require_plain("sums")
        check_pilot(self, "_ensemble", "sums")
        with single_threaded_blas(workers=1):
            return self._summation(self._ensemble, self._like)(read(shard))

    def merge(self, parts: Sequence[ShardSums]) -> SampledRNN:
        """Make the network that of the data behind sums; the pilot's own are not counted.

        Args:
            parts: What `sums` returned, in the order of time.

        Raises:
            ValueError: If there is none, or one is of another pilot.
        """
        self._require_plain("merge")
        check_pilot(self, "_ensemble", "merge")
        require_parts(parts)
        _, strengths = self._checked_settings()
        with single_threaded_blas():
            self._take(self._ensemble.merged(parts, strengths, self.horizon), self._like)
        return self

    def _summation(self, ensemble: Ensemble, like: Series) -> PilotSummation:
        like = Series(like.Y[:2], like.U[:1], like.names)
        lifts = [member.lift for member in ensemble.members]
        bases = [member.total.basis for member in ensemble.members]
        summation = Summation(SeriesRuns(like, ensemble.scaling), lifts, bases)
        return PilotSummation(summation, self.n_folds, self.horizon, ensemble.mark, in_time)

    def _require_plain(self, what: str) -> None:
        if self.noise != "ignore":
            raise ValueError(
                f"noise is {self.noise!r}, which needs all data at once, unlike {what}; use "
                'noise="ignore"'
            )

    def _smoothed(self, data: list[Series]) -> list[Series]:
        """Take the noise out of series."""
        settings = EDMDc(
            feature_maps(self.features, self._default_features()),
            coupling="bilinear" if data[0].U.shape[1] else "linear",
            corrections=Corrections(noise="smooth"),
            memory=self.memory,
            horizon=self.horizon,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the input that stands for none
            acted = [one.U if one.U.shape[1] else np.zeros((len(one.U), 1)) for one in data]
            fit = settings.fit([Trajectory(one.Y, U) for one, U in zip(data, acted, strict=True)])
        self.noise_, self.smoothed_ = fit.noise_, [t.observations for t in fit.smoothed_]
        return [replace(one, Y=Y) for one, Y in zip(data, self.smoothed_, strict=True)]

    def _default_features(self) -> FeatureMap:
        return SampledFeatures(N_FEATURES, steepness=STEEPNESS, random_state=self.random_state)

    def partial_fit(self, series: Any, y: None = None, *, inputs: Any = None) -> SampledRNN:
        """Add series to the fit; memory does not grow with them.

        The first call is a `fit`, which chooses scales, features and regularisation; these and the
        intervals then stay. After that, the coefficients are those of a fit with these to all data
        so far. Arguments are those of `fit`; a new series does not continue the one before.

        Raises:
            ValueError: If the columns differ from those before; else as `fit`.
        """
        self._require_plain("partial_fit")
        if not hasattr(self, "_ensemble"):
            return self.fit(series, inputs=inputs)
        data = checked_series(series, inputs, self._like)
        with single_threaded_blas():
            self._ensemble.add(self._ensemble.scaling.runs(data))
        return self

    @checked
    def forecast(self, history: Any, horizon: int, inputs: Any = None) -> Array:
        """Predict the rows that follow a history, or many histories at once.

        Args:
            history: At least `memory` + 1 rows, of the kinds that `fit` takes; several histories as
                a list or as shape (S, T, p).
            horizon: Number of steps H.
            inputs: Exogenous inputs from the history's first row to the horizon, shape
                (T - 1 + H, m); for a `Trajectory`, those of the horizon, shape (H, m). For several
                histories, a list of these.

        Returns:
            Shape (H, p), or (S, H, p) for several histories. Forecasts stay within the range of the
            data they were fitted to, widened on both sides by its width.

        Raises:
            ValueError: If the history is too short, rows or columns do not match, or there is NaN.
        """
        members, single = self._predicted(history, horizon, inputs)
        mean = self._ensemble.scaling.in_units(members.mean(axis=0))
        return mean[0] if single else mean

    @checked
    def forecast_with_intervals(self, history: Any, horizon: int, inputs: Any = None) -> Forecast:
        """Predict as `forecast` does, with intervals and samples of what may come.

        Raises:
            ValueError: If the horizon is longer than the one of the fit, or n_folds was 0; else as
                `forecast`.
        """
        members, single = self._predicted(history, horizon, inputs)
        calibration = self._ensemble.calibration
        if calibration is None or horizon > len(calibration.usual):
            raise ValueError(
                f"horizon is {horizon}, intervals were calibrated for horizon={self.horizon} with "
                f"n_folds={self.n_folds}; fit with a horizon as long and n_folds of at least 2"
            )
        scaling = self._ensemble.scaling
        mean = scaling.in_units(members.mean(axis=0))
        size = sizes(members, calibration.usual[:horizon]) * scaling.scale
        ratios = calibration.ratios[:, :horizon]
        if single:
            mean, size = mean[0], size[0]
        return Forecast(mean, size, ratios)

    @checked
    def model(
        self,
        *,
        dt: float | None = None,
        action_bounds: ArrayLike | None = None,
    ) -> LiftedModel:
        """Return the network as a model for `KoopmanMPC(model, ..., rollout="relifted")`.

        Its state is [y, steps of y, past inputs] over the memory. What a controller predicts is
        what `forecast` does, but that members are averaged at every step. Matrices are those of the
        network linearised at the mean of its data, for the other roll-out; they lift nothing.

        Args:
            dt: Sampling time in seconds, or None.
            action_bounds: Lowest and highest input, shape (2, m), or None.

        Raises:
            ValueError: If the fit had no inputs, or a recurrent layer, which no observation shows.

        Example:
            >>> model = SampledRNN(memory=2).fit(series, inputs=U).model()  # doctest: +SKIP
            >>> mpc = KoopmanMPC(model, 30, rollout="relifted")  # doctest: +SKIP
        """
        check_is_fitted(self, "choices_")
        return as_model(
            self._ensemble.scaling,
            [member.step_map for member in self._ensemble.members],
            self._like.names,
            dt,
            action_bounds,
        )

    def score(self, series: Any, y: None = None, *, inputs: Any = None) -> float:
        """Return minus the multi-step error: 0 is perfect, -1 no better than the mean."""
        check_is_fitted(self, "choices_")
        data = checked_series(series, inputs, self._like)
        windows = windows_of(self._ensemble.scaling.runs(data), self.horizon)
        return -bounded_score(self._ensemble.errors(windows))

    def _predicted(self, history: Any, horizon: int, inputs: Any) -> tuple[Array, bool]:
        """Return standardised predictions of every member, (n, S, H, p), and if S was not given."""
        check_is_fitted(self, "choices_")
        positive_int("horizon", horizon)
        scaling = self._ensemble.scaling
        length = scaling.memory.length
        Y, U, single = checked_histories(history, inputs, horizon, length, self._like)
        Y, U = scaling.outputs(Y), scaling.inputs(U)
        with single_threaded_blas():
            x0 = scaling.memory.last(Y, U[:, :length])
            return self._ensemble.rolled_out(x0, U[:, length:]), single

    def _checked_settings(self) -> tuple[list[FeatureMap], Sequence[float]]:
        check_fields(self)
        positive_int("horizon", self.horizon)
        seed_number("random_state", self.random_state)
        positive_int("memory", self.memory, minimum=0)
        if positive_int("n_recurrent", self.n_recurrent, minimum=0) and not self.memory:
            raise ValueError(
                f"n_recurrent is {self.n_recurrent} with memory=0; give the number of steps after "
                "which the recurrent layer forgets as memory"
            )
        if self.noise == "smooth" and self.n_recurrent:
            raise ValueError(
                f"n_recurrent is {self.n_recurrent} with noise='smooth'; the smoother knows past "
                "steps only: use n_recurrent=0, or smooth first, with an EDMDc"
            )
        maps = feature_maps(self.features, self._default_features())
        strengths = checked_candidates(
            maps, self.regularization, STRENGTHS, self.n_folds, self.n_draws
        )
        return [clone(features) for features in maps], strengths
