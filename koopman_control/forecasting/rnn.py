"""The sampled RNN: a forecaster of time series whose fit is one least-squares solve.

Members with different feature draws are fitted side by side and averaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from koopman_control.common.arrays import Array, positive_int, seed_number
from koopman_control.common.border import check_fields, checked
from koopman_control.features import FeatureMap, SampledFeatures, redrawn
from koopman_control.forecasting.control import as_model
from koopman_control.forecasting.intervals import Calibration, Forecast, sizes
from koopman_control.forecasting.memory import Scaling
from koopman_control.forecasting.onestep import STRENGTHS, Lift, RollingOrigins, StepMap, time_folds
from koopman_control.forecasting.series import Series, checked_histories, checked_series
from koopman_control.identification import LiftedModel
from koopman_control.identification.corrections import Corrections
from koopman_control.identification.crossvalidation import (
    Choice,
    checked_candidates,
    feature_maps,
)
from koopman_control.identification.edmdc import EDMDc
from koopman_control.identification.errors import Windows, bounded_score, rms_per_step, windows_of
from koopman_control.identification.least_squares import Accumulator, single_threaded_blas
from koopman_control.identification.smoothing import NoiseEstimate
from koopman_control.identification.snapshots import Run
from koopman_control.trajectories import Trajectory

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
        folds: list[list[Run]],
        maps: Sequence[FeatureMap],
        strengths: Sequence[float],
        *,
        horizon: int,
        increments: bool,
        n_draws: int,
    ) -> Ensemble:
        """Choose features and regularisation on the folds, and fit to all of them."""
        runs = [run for fold in folds for run in fold]

        def origins(features: FeatureMap) -> RollingOrigins:
            return RollingOrigins(Lift.fitted(scaling, features, runs, increments), folds, horizon)

        tried: list[tuple[Choice, RollingOrigins]] = []
        for features in maps:
            candidate = origins(features)
            for value in strengths:
                judged = len(folds) > 1
                score = bounded_score(candidate.errors(value)) if judged else float("nan")
                tried.append((Choice(features, value, score), candidate))
        tried.sort(key=lambda pair: pair[0].score)
        choices, best = [choice for choice, _ in tried], tried[0][1]
        strength = choices[0].regularization
        draws = [best, *(origins(redrawn(best.lift.features, k)) for k in range(1, n_draws))]
        calibration, error_per_step = None, np.empty(0)
        if len(folds) > 1:
            error_per_step = rms_per_step(best.errors(strength))
            windows = windows_of(folds[-1], horizon, CALIBRATION_WINDOWS)
            newest = [draw.newest(strength) for draw in draws]
            forecasts = _rolled_out(newest, windows.x0, windows.U)
            calibration = Calibration.of(forecasts, _truth(windows, scaling))
        members = [Member.solved(draw, strength) for draw in draws]
        return cls(scaling, members, choices, error_per_step, calibration)

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


def _something(U: Array) -> Array:
    """Let an input that never moves stand where there is none."""
    return U if U.shape[1] else np.zeros((len(U), 1))


def _rolled_out(maps: Sequence[StepMap], x0: Array, U: Array) -> Array:
    return np.stack([step_map.rolled_out(x0, U) for step_map in maps])


def _truth(windows: Windows, scaling: Scaling) -> Array:
    """Return the outputs of windows, NaN outside the data."""
    return np.where(windows.valid[..., None], windows.X[..., : len(scaling.center)], np.nan)


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
                actions are the inputs; or a list of these, or shape (S, T, p).
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
        maps, strengths = self._checked_settings()
        data = checked_series(series, inputs)
        if self.noise == "smooth":
            data = self._smoothed(data)
        with single_threaded_blas():
            scaling = Scaling.of(data, self.memory, self.n_recurrent, self.random_state)
            runs = scaling.runs(data)
            folds = time_folds(runs, self.n_folds) if self.n_folds else [runs]
            if self.n_folds and len(folds) < 2:
                raise ValueError(
                    "series make a single snapshot pair beyond the memory; expected at least two "
                    "for cross-validation"
                )
            ensemble = Ensemble.chosen(
                scaling,
                folds,
                maps,
                strengths,
                horizon=self.horizon,
                increments=self.increments,
                n_draws=self.n_draws,
            )
        self._ensemble, self._like = ensemble, data[0]
        self.choices_, self.cv_error_ = ensemble.choices, ensemble.error_per_step
        return self

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
            fit = settings.fit([Trajectory(one.Y, _something(one.U)) for one in data])
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
        if self.noise != "ignore":
            raise ValueError(
                f"noise is {self.noise!r}, which needs all data at once, unlike partial_fit; use "
                'noise="ignore"'
            )
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
