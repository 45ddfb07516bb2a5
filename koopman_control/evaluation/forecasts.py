"""How good a forecast is: of the next steps, of the climate, and of its own uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from koopman_control.common import Array, finite_array, positive_float, positive_int, real_array
from koopman_control.common.border import checked
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import DAY, Forecast, SampledRNN, TimeTable

MARGIN = 0.1  # in standard deviations of the truth, around its range
PSEUDO_COUNT = 1e-5  # added to every bin
MOST_BINS = 10_000_000


@checked
def valid_prediction_time(
    forecast: ArrayLike,
    truth: ArrayLike,
    *,
    scale: ArrayLike,
    dt: float = 1.0,
    lyapunov_exponent: float = 1.0,
    threshold: float = 0.3,
) -> Array:
    """Return how long forecasts stay close, in Lyapunov times.

    A step is valid while mean_i ((forecast_i - truth_i) / scale_i)^2 <= threshold^2 there and at
    every step before; the time is (number of valid steps) dt lyapunov_exponent (Mandal & Gottwald,
    arXiv 2501.06661, with 0.3). The threshold is another one elsewhere: 0.5 with a root mean square
    in Vlachas et al. 2020.

    Args:
        forecast: From one step after the start on, shape (S, H, p) or (H, p). NaN is invalid.
        truth: Same shape.
        scale: Standard deviation of every output over the data, shape (p,).
        dt: Time step; 1 counts steps.
        lyapunov_exponent: Largest exponent of the system per unit of time; 1 keeps plain time.
        threshold: Largest error allowed, in standard deviations.

    Returns:
        Shape (S,), or () for a single forecast; H dt lyapunov_exponent where all steps are valid.

    Raises:
        ValueError: If shapes do not match.
    """
    y = finite_array("truth", truth)
    errors = real_array("forecast", forecast, shape=y.shape) - y
    if y.ndim not in (2, 3):
        raise ValueError(f"truth has shape {y.shape}; expected (H, p) or (S, H, p)")
    errors /= finite_array("scale", scale, shape=(y.shape[-1],))
    with np.errstate(over="ignore"):
        valid = (errors**2).mean(axis=-1) <= positive_float("threshold", threshold) ** 2
    steps = np.logical_and.accumulate(valid, axis=-1).sum(axis=-1)
    unit = positive_float("dt", dt) * positive_float("lyapunov_exponent", lyapunov_exponent)
    return np.asarray(steps * unit, dtype=np.float64)


@checked
def mean_squared_error(
    forecast: ArrayLike, truth: ArrayLike, scale: ArrayLike | None = None
) -> float:
    """Return the mean of ((forecast - truth) / scale)^2 over all entries of (..., p).

    Args:
        forecast: Shape (..., p).
        truth: Same shape.
        scale: Standard deviation of every output, shape (p,); None leaves the units.
    """
    y = finite_array("truth", truth)
    errors = real_array("forecast", forecast, shape=y.shape) - y
    if scale is not None:
        errors /= finite_array("scale", scale, shape=(y.shape[-1],))
    return float(np.mean(errors**2))


@checked
def continuous_ranked_probability_score(samples: ArrayLike, truth: ArrayLike) -> float:
    """Judge a predictive distribution given by N equally likely samples; 0 is perfect.

    CRPS = mean |x_i - y| - (1/2) mean |x_i - x_j| over all i, j, averaged over the entries; in the
    units of the data, and the absolute error where N = 1.

    Args:
        samples: Shape (N, ...).
        truth: Shape (...).
    """
    y = finite_array("truth", truth)
    x = np.sort(finite_array("samples", samples, shape=(None, *y.shape)), axis=0)
    N = len(x)
    if not N:
        raise ValueError("samples is empty; expected at least one sample")
    weight = (2.0 * np.arange(1, N + 1) - N - 1.0) / N**2
    spread = np.tensordot(weight, x, axes=1)
    return float(np.mean(np.abs(x - y).mean(axis=0) - spread))


@checked
def state_space_divergence(generated: ArrayLike, truth: ArrayLike, n_bins: int = 30) -> float:
    """Return D_stsp, how far a generated series visits other regions than the true one; 0 is best.

    KL(p || q) = sum p ln(p / q) between histograms of truth (p) and generated (q), n_bins per
    column over [min - 0.1 sigma, max + 0.1 sigma] of the truth, each smoothed as (count + a) /
    (sum of counts + a n_bins^p) with a = 1e-5. Points outside the box are left out (as in
    DurstewitzLab/GTF-shPLRNN). NaN if all generated points are outside.

    Args:
        generated: A long free-running forecast, shape (T', p).
        truth: Shape (T, p).
        n_bins: Bins per column.

    Raises:
        ValueError: If columns differ, or n_bins^p exceeds 10 million.
    """
    y = finite_array("truth", truth, ndim=2)
    x = real_array("generated", generated, shape=(None, y.shape[1]))
    m, p = positive_int("n_bins", n_bins), y.shape[1]
    if not len(y):
        raise ValueError(f"truth has shape {y.shape}; expected at least one row")
    if m**p > MOST_BINS:
        raise ValueError(
            f"{m} bins for each of {p} columns are {m**p:.0e} bins; expected at most "
            f"{MOST_BINS:.0e}: use fewer bins, or some of the columns"
        )
    margin = MARGIN * y.std(axis=0)
    edges = [
        np.linspace(low, high, m + 1)
        for low, high in zip(y.min(axis=0) - margin, y.max(axis=0) + margin, strict=True)
    ]
    inside = x[np.isfinite(x).all(axis=1)]
    counts = [np.histogramdd(rows, edges)[0].ravel() for rows in (y, inside)]
    if not counts[1].any():
        return float("nan")
    a = PSEUDO_COUNT
    P, Q = ((count + a) / (count.sum() + a * count.size) for count in counts)
    return float(np.sum(P * np.log(P / Q)))


@checked
def spectrum_distance(generated: ArrayLike, truth: ArrayLike, smoothing: float = 20.0) -> float:
    """Return D_H, the Hellinger distance between power spectra, 0 (equal) to 1 (disjoint).

    Each column is standardised; |rfft|^2 is smoothed by a Gaussian of `smoothing` bins (reflected
    at the ends) and normalised to sum 1; D = sqrt(1 - sum sqrt(P Q)), averaged over the columns
    (as in DurstewitzLab/GTF-shPLRNN). The |rfft|^2 of several runs are averaged, which lowers
    what chance adds to the distance.

    Args:
        generated: One run (T, p), or several (S, T, p).
        truth: Same shape.
        smoothing: Standard deviation of the smoothing, in frequency bins.
    """
    y = finite_array("truth", truth)
    x = finite_array("generated", generated, shape=y.shape)
    if y.ndim not in (2, 3):
        raise ValueError(f"truth has shape {y.shape}; expected (T, p) or (S, T, p)")
    width = positive_float("smoothing", smoothing)
    P, Q = (_power(rows, width) for rows in (y, x))
    overlap = np.sqrt(P * Q).sum(axis=0)
    return float(np.mean(np.sqrt(np.maximum(1.0 - overlap, 0.0))))


def _power(rows: Array, smoothing: float) -> Array:
    """Return the smoothed and normalised power spectrum of every column of (..., T, p)."""
    runs = rows.reshape(-1, *rows.shape[-2:])
    size = runs.std(axis=(0, 1))
    still = np.flatnonzero(size == 0.0)
    if len(still):
        raise ValueError(f"column {still[0]} never moves, so it has no spectrum; leave it out")
    deviations = (runs - runs.mean(axis=(0, 1))) / size
    power = (np.abs(np.fft.rfft(deviations, axis=1)) ** 2).mean(axis=0)
    smooth = np.maximum(gaussian_filter1d(power, smoothing, axis=0, mode="reflect"), 0.0)
    return np.asarray(smooth / smooth.sum(axis=0))


WIDTHS, STEEPNESS = (30, 100, 300), 0.25
LONGEST_MEMORY = 200  # steps; more makes the fit slow and seldom better
HELD_OUT = 0.2
MOST_WINDOWS = 200


@dataclass(frozen=True)
class Backtest:
    """What came out, all in the units of the table.

    Args:
        forecaster: Fitted to the whole table.
        ahead: Its forecast of the rows that follow.
        scores: Held-out scores of the targets, strict JSON but for NaN.
        errors: Root-mean-square error of the first target at each lead, by method.
    """

    forecaster: SampledRNN
    ahead: Forecast
    scores: dict[str, Any]
    errors: dict[str, Array]


@checked
def backtest(
    table: TimeTable,
    n_targets: int,
    horizon: int,
    *,
    memory: int | None = None,
    n_draws: int = 4,
    level: float = 0.9,
) -> Backtest:
    """Fit to the first four fifths, judge forecasts of the rest, and look ahead.

    Args:
        table: Regular rows; the first `n_targets` columns are judged, the others help.
        n_targets: Number of targets.
        horizon: Number of steps to predict.
        memory: Past steps the model remembers; None takes the horizon, at most 200.
        n_draws: Size of the ensemble.
        level: Probability of the interval whose coverage is measured.

    Raises:
        ValueError: If the table is too short for memory and horizon.
    """
    positive_int("horizon", horizon)
    positive_int("n_targets", n_targets)
    length = min(horizon, LONGEST_MEMORY) if memory is None else memory
    positive_int("memory", length, minimum=0)
    T = len(table.rows)
    split = int((1.0 - HELD_OUT) * T)
    if T - split < horizon + 1 or split < 4 * (horizon + length + 1):
        needed = max((horizon + 1) / HELD_OUT, 4 * (horizon + length + 1) / (1.0 - HELD_OUT))
        raise ValueError(
            f"the table has {T} rows; expected at least {needed:.0f} for a horizon of {horizon} "
            f"and a memory of {length}: shorten these, or take more data"
        )
    U = table.calendar(horizon)
    widths = [SampledFeatures(n, steepness=STEEPNESS, random_state=0) for n in WIDTHS]
    rnn = SampledRNN(widths, memory=length, horizon=horizon, n_draws=n_draws)
    rnn.fit(table.rows[:split], inputs=U[:split])
    scores, errors = _judged(rnn, table, U, split, n_targets, level)
    # From the last state of the fit on, so that no pair of rows is lost or counted twice.
    since = split - 1 - length
    rnn.partial_fit(table.rows[since:], inputs=U[since:T])
    ahead = rnn.forecast_with_intervals(
        table.rows[T - length - 1 :], horizon, U[T - length - 1 : T - 1 + horizon]
    )
    return Backtest(rnn, ahead.of_outputs(range(n_targets)), scores, errors)


def _judged(
    rnn: SampledRNN, table: TimeTable, U: Array, split: int, n_targets: int, level: float
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Score forecasts of the rows from `split` on."""
    Y, length, horizon = table.rows, rnn.memory, rnn.horizon
    last = np.linspace(split - 1, len(Y) - 1 - horizon, MOST_WINDOWS).astype(int)
    last = np.unique(last)
    histories = np.stack([Y[t - length : t + 1] for t in last])
    inputs = np.stack([U[t - length : t + horizon] for t in last])
    truth = np.stack([Y[t + 1 : t + 1 + horizon, :n_targets] for t in last])
    forecast = rnn.forecast_with_intervals(histories, horizon, inputs)
    low, high = (bound[..., :n_targets] for bound in forecast.interval(level))
    methods = {"model": forecast.mean[..., :n_targets], **_simple(table, last, horizon, n_targets)}
    scores: dict[str, Any] = {
        "targets": list(table.names[:n_targets]),
        "n_windows": len(last),
        "cv_score": rnn.choices_[0].score,
        "regularization": rnn.choices_[0].regularization,
        "n_features": rnn.choices_[0].features._n_features_out,
        "level": level,
        "coverage": _per_target((low <= truth) & (truth <= high)),
        "crps": [_crps(forecast, truth, j) for j in range(n_targets)],
    }
    for method, predicted in methods.items():
        scores[f"mse_{method}"] = [
            mean_squared_error(predicted[..., j], truth[..., j]) for j in range(n_targets)
        ]
    errors = {
        method: np.sqrt(((predicted - truth)[..., 0] ** 2).mean(axis=0))
        for method, predicted in methods.items()
    }
    return scores, errors


def _simple(table: TimeTable, last: NDArray[np.intp], horizon: int, p: int) -> dict[str, Array]:
    """Forecast that nothing changes and, if rows tell hours, that all is as it was a day ago."""
    Y, day = table.rows[:, :p], round(DAY / table.dt)
    methods = {"persistence": np.stack([np.tile(Y[t], (horizon, 1)) for t in last])}
    if 1 < day <= last[0]:
        leads = np.arange(1, horizon + 1)
        days = -(-leads // day)  # so that no value is taken from the future
        methods["same_as_yesterday"] = np.stack([Y[t + leads - day * days] for t in last])
    return methods


def _crps(forecast: Forecast, truth: Array, j: int) -> float:
    samples = forecast.of_outputs([j]).samples()
    return continuous_ranked_probability_score(samples, truth[..., [j]]) if len(samples) else np.nan


def _per_target(hits: Any) -> list[float]:
    shares: list[float] = np.mean(hits, axis=(0, 1)).tolist()
    return shares
