"""Direct forecasts: every lead by regressions of its own, averaged by what they missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from koopman_control.common.arrays import Array, positive_int, seed_number
from koopman_control.common.border import check_fields, checked
from koopman_control.common.files import PathLike, refusing
from koopman_control.forecasting.blending import Blend, Folds, Rows, Scales, Weighed
from koopman_control.forecasting.intervals import Forecast
from koopman_control.forecasting.series import Series, checked_histories, checked_series
from koopman_control.forecasting.store import read_forecaster, write_forecaster
from koopman_control.identification.least_squares import single_threaded_blas

LONGEST, PARTS = 720, 8  # of look-backs: rows, and the share of the data
SHORTER, N_LOOKBACKS = 1.5, 5  # steps from one look-back to the next
SHORTEST = 64  # of the longest, beside these
MOST_NUMBERS = 6e7  # in the factors of all columns

_PLAIN, _LISTS = (
    ("horizon", "lookback", "n_folds", "n_draws", "random_state"),
    ("periods", "n_features"),
)


class DirectForecaster(BaseEstimator):  # type: ignore[misc]
    """Forecasts of all leads at once, by least squares and without feeding predictions back.

    Linear regressions on the last rows, shrunk towards naive forecasts (the last value, means of
    the last rows, the last seasons), with coefficients shared by all columns or for each by itself,
    and sampled features on the state of all columns. Look-backs and strengths are not chosen:
    all are fitted to the past, judged on the rows that follow, several times, and averaged with
    the weights that would have been best there, for every output and range of leads.

    Args:
        horizon: Number of steps H to predict.
        periods: Numbers of rows after which the series may repeat itself, such as 24 for hours.
        lookback: Longest look-back in rows; None takes an eighth of the rows, at most 720.
        n_features: Numbers of sampled features to try on the state of all columns; 0 is linear.
        n_folds: Parts of the second half of the rows that regressions are judged on.
        n_draws: Draws of the sampled features; all of them are fitted and averaged.
        random_state: Seed of the features.

    Attributes:
        weights_: What is averaged, in words, with its mean weight, largest first.
        errors_: Root-mean-square errors of the average on the parts, shape (H, p).
        cv_error_: The same over all outputs, in their standard deviations, shape (H,).
        notes_: What was kept beside it, of a forecaster from a file.

    Example:
        >>> t = np.arange(400)
        >>> forecaster = DirectForecaster(horizon=50).fit(np.sin(0.1 * t))
        >>> ahead = forecaster.forecast(np.sin(0.1 * t))
        >>> np.allclose(ahead[:, 0], np.sin(0.1 * (400 + t[:50])))
        True
    """

    weights_: list[tuple[str, float]]
    errors_: Array
    cv_error_: Array
    notes_: dict[str, Any]
    _scales: Scales
    _blend: Blend
    _usual: Array
    _ratios: Array
    _like: Series

    def __init__(
        self,
        horizon: int = 24,
        *,
        periods: Sequence[int] = (),
        lookback: int | None = None,
        n_features: Sequence[int] = (0, 100, 300),
        n_folds: int = 3,
        n_draws: int = 1,
        random_state: int = 0,
    ) -> None:
        self.horizon = horizon
        self.periods = periods
        self.lookback = lookback
        self.n_features = n_features
        self.n_folds = n_folds
        self.n_draws = n_draws
        self.random_state = random_state

    def fit(self, series: Any, y: None = None, *, inputs: Any = None) -> DirectForecaster:
        """Fit to one or several series.

        Args:
            series: Rows of outputs, shape (T, p) or (T,), a pandas frame, or a `Trajectory`, whose
                actions are the inputs; or a list of these, or shape (S, T, p).
            y: Ignored, for scikit-learn.
            inputs: Inputs that are known in advance, shape (T, m): row i acts from row i of the
                series to row i + 1 (the last may be left out). For several series, a list.

        Returns:
            The fitted estimator.

        Raises:
            TypeError: If settings or data are of the wrong kind.
            ValueError: If settings are out of range, or data hold NaN, a constant column or too few
                rows.
        """
        self._check_settings()
        data = checked_series(series, inputs)
        lookbacks = self._lookbacks(data)
        with single_threaded_blas():
            scales = Scales.of(data)
            folds = Folds(
                [Rows.of(one, scales) for one in data],
                scales,
                self.horizon,
                lookbacks,
                [k for k in self.periods if k <= lookbacks[0]],
                self.n_features,
                self.n_folds,
                self.n_draws,
                self.random_state,
            )
            weighed = Weighed.of(folds)
            self._blend = folds.blended(weighed.weights, self.n_folds + 1)
        self._scales, self._like = scales, data[0]
        leads = np.arange(1, self.horizon + 1)
        usual = np.sqrt((weighed.errors**2).mean(axis=0))
        self._usual = np.column_stack([np.interp(leads, weighed.leads, u) for u in usual.T])
        near = np.abs(leads[:, None] - weighed.leads).argmin(axis=1)
        self._ratios = (-weighed.errors / np.maximum(usual, np.finfo(float).tiny))[:, near]
        self.errors_ = self._usual * scales.scale
        self.cv_error_ = np.sqrt((self._usual**2).mean(axis=1))
        told: dict[str, float] = {}
        for candidate, weight in weighed.weights.items():
            name = folds.described(candidate)
            told[name] = told.get(name, 0.0) + float(weight.mean())
        self.weights_ = sorted(told.items(), key=lambda item: -item[1])
        return self

    @checked
    def save(self, path: PathLike, notes: Mapping[str, Any] | None = None) -> None:
        """Write the fitted forecaster to a .npz file, which holds no code.

        Args:
            path: Where the file goes.
            notes: What JSON can hold, to be kept beside it; `load` gives it back as `notes_`.

        Raises:
            FileNotWritableError: The file cannot be written; what was there stays.
        """
        check_is_fitted(self, "weights_")
        settings = {name: value for name, value in self.get_params().items() if name in _PLAIN}
        settings |= {name: [int(k) for k in getattr(self, name)] for name in _LISTS}
        settings |= {
            "weights": self.weights_,
            "names": list(self._like.names),
            "notes": dict(notes or {}),
        }
        further = {"usual": self._usual, "ratios": self._ratios}
        write_forecaster(path, self._scales, self._blend, further, settings)

    @classmethod
    def load(cls, path: PathLike) -> DirectForecaster:
        """Read what `save` wrote.

        Raises:
            FileFormatError: The file is damaged, of another kind, or of another format.
        """
        scales, blend, further, settings = read_forecaster(path)
        with refusing(f"{path} does not hold a whole forecaster; make it again"):
            asked: dict[str, Any] = {name: settings[name] for name in _PLAIN}
            asked |= {name: tuple(settings[name]) for name in _LISTS}
            found = cls(**asked)
            found._check_settings()
            found._scales, found._blend = scales, blend
            found._usual, found._ratios = further["usual"], further["ratios"]
            found.errors_ = found._usual * scales.scale
            found.cv_error_ = np.sqrt((found._usual**2).mean(axis=1))
            found.weights_ = [(str(name), float(w)) for name, w in settings["weights"]]
            found.notes_ = dict(settings["notes"])
            p, m, H = len(scales.center), len(scales.input_center), found.horizon
            if found._usual.shape != (H, p) or found._ratios.shape[1:] != (H, p):
                raise ValueError(f"errors of shape {found._usual.shape} for {H} steps")
            names = tuple(str(name) for name in settings["names"])
            found._like = Series(np.empty((0, p)), np.empty((0, m)), names)
        return found

    @property
    def n_history(self) -> int:
        """Number of rows that a forecast needs: the look-back, and one before it with inputs."""
        check_is_fitted(self, "weights_")
        return int(self._blend.coefficients.shape[1] + (self._like.U.shape[1] > 0))

    @checked
    def forecast(self, history: Any, inputs: Any = None) -> Array:
        """Predict the H rows that follow a history, or many histories at once.

        Args:
            history: At least `n_history` rows, of the kinds that `fit` takes; several histories as
                a list or as shape (S, T, p).
            inputs: Inputs from the history's first row to the horizon, shape (T - 1 + H, m); for a
                `Trajectory`, those of the horizon, shape (H, m). For several, a list of these.

        Returns:
            Shape (H, p), or (S, H, p) for several histories.

        Raises:
            ValueError: If the history is too short, rows or columns do not match, or there is NaN.
        """
        return self.forecast_with_intervals(history, inputs).mean

    @checked
    def forecast_with_intervals(self, history: Any, inputs: Any = None) -> Forecast:
        """Predict as `forecast` does, with intervals and samples of what may come.

        Raises:
            ValueError: As `forecast`.
        """
        check_is_fitted(self, "weights_")
        n, H, scales = self.n_history, self.horizon, self._scales
        Y, U, single = checked_histories(history, inputs, H, n - 1, self._like)
        Y, U, effect = scales.outputs(Y), scales.inputs(U), scales.effect
        known, rest = U[:, n - 1 :], Y
        if U.shape[2]:  # the first row is there for its input, which acts on the next
            Y = Y[:, 1:]
            rest = Y - U[:, : n - 1] @ effect
        past, rest = (a.swapaxes(1, 2)[..., ::-1] for a in (Y, rest))
        with single_threaded_blas():
            mean = self._blend.forecast(past, rest, known, known @ effect)
        mean = mean * scales.scale + scales.center
        size = np.broadcast_to(self._usual * scales.scale, mean.shape)
        return Forecast(mean[0] if single else mean, size[0] if single else size, self._ratios)

    def score(self, series: Any, y: None = None, *, inputs: Any = None) -> float:
        """Return minus the root-mean-square error over all windows, in standard deviations."""
        check_is_fitted(self, "weights_")
        squares = []
        for one in checked_series(series, inputs, self._like):
            rows, L, H = np.arange(len(one.Y)), self.n_history, self.horizon
            starts = rows[: max(0, len(one.Y) - L - H + 1)]
            for chunk in np.array_split(starts, max(1, len(starts) // 256)):
                if not len(chunk):
                    continue
                Y = one.Y[chunk[:, None] + np.arange(L + H)]
                U = one.U[chunk[:, None] + np.arange(L - 1 + H)]
                given = U if U.shape[2] else None
                errors = (self.forecast(Y[:, :L], given) - Y[:, L:]) / self._scales.scale
                squares.append((errors**2).mean(axis=(1, 2)))
        if not squares:
            raise ValueError(
                f"no series has {self.n_history + self.horizon} rows, a window's look-back and "
                "horizon; expected at least one as long"
            )
        return -float(np.sqrt(np.concatenate(squares).mean()))

    def _check_settings(self) -> None:
        check_fields(self)
        positive_int("horizon", self.horizon)
        positive_int("n_folds", self.n_folds)
        positive_int("n_draws", self.n_draws)
        seed_number("random_state", self.random_state)
        for k in self.periods:
            positive_int("periods", k)
        for n in self.n_features:
            positive_int("n_features", n, minimum=0)
        if self.lookback is not None:
            positive_int("lookback", self.lookback)

    def _lookbacks(self, data: Sequence[Series]) -> list[int]:
        """Return the look-backs to try, longest first."""
        T, H, p = max(len(one.Y) for one in data), self.horizon, data[0].Y.shape[1]
        room = T // 2 - H - self.n_folds - 1
        if room < 1:
            raise ValueError(
                f"the longest series has {T} rows; expected at least {2 * (H + self.n_folds + 2)} "
                f"for a horizon of {H} and {self.n_folds} folds: shorten these, or take more data"
            )
        if self.lookback is not None and self.lookback > room:
            raise ValueError(
                f"lookback is {self.lookback}; expected at most {room} for {T} rows and a horizon "
                f"of {H}"
            )
        if self.lookback is not None:
            longest = self.lookback
        else:
            longest = min(max(8, T // PARTS), LONGEST)
            longest = max(longest, *(k for k in (*self.periods, 1) if k <= T // 4))
            while longest > 8 and p * longest * (longest + H) > MOST_NUMBERS:
                longest = int(longest / SHORTER)
            longest = min(longest, room)
        steps = [*(longest / SHORTER ** np.arange(N_LOOKBACKS)), longest / SHORTEST]
        return sorted({max(1, int(step)) for step in steps}, reverse=True)
