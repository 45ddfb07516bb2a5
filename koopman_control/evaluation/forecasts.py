"""How good a forecast is: of the next steps, of the climate, and of its own uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d

from koopman_control.common import Array, finite_array, positive_float, positive_int, real_array
from koopman_control.common.border import checked

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
