"""Prediction intervals: the spread of an ensemble, scaled by what held-out forecasts missed.

An error is divided by a size that depends on the forecast: the spread over feature draws plus the
usual error at that lead. The conformal quantile of these ratios on held-out windows, times the
size, is a bound that new errors respect as often as promised ("normalised conformal prediction",
Papadopoulos et al. 2008), assuming that the future resembles the last fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked
from koopman_control.identification.errors import conformal_quantiles

TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Calibration:
    """What held-out forecasts missed.

    Args:
        usual: Root-mean-square error at each lead, standardised, shape (H, p).
        ratios: Signed errors over their size, NaN outside the data, shape (W, H, p).
    """

    usual: Array
    ratios: Array

    @classmethod
    def of(cls, members: Array, truth: Array) -> Calibration:
        """Compare ensembles (n, W, H, p) with the truth (W, H, p), NaN where it is not known."""
        errors = truth - members.mean(axis=0)
        known = ~np.isnan(errors)
        counts = np.maximum(known.sum(axis=0), 1)
        usual = np.sqrt((np.where(known, errors, 0.0) ** 2).sum(axis=0) / counts)
        return cls(usual, errors / sizes(members, usual))


@dataclass(frozen=True)
class Forecast:
    """Forecasts with their uncertainty, in the user's units.

    Args:
        mean: Mean of the ensemble, shape (H, p) or (S, H, p).
        size: What a ratio of 1 amounts to, of the same shape.
        ratios: Signed errors over their size on W held-out windows, shape (W, H, p).
    """

    mean: Array
    size: Array
    ratios: Array

    @checked
    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Return lower and upper bounds; at each lead by itself they hold with probability `level`.

        Infinite where there were too few held-out windows for the level.

        Raises:
            ValueError: If level is not between 0 and 1.
        """
        bound = self.bounds(level)
        return self.mean - bound * self.size, self.mean + bound * self.size

    @checked
    def bounds(self, level: float = 0.9) -> Array:
        """Return the ratios that new ones stay within with probability `level`, shape (H, p).

        Raises:
            ValueError: If level is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level is {level!r}; expected a number between 0 and 1, such as 0.9")
        bounds: Array = conformal_quantiles(np.abs(self.ratios), np.array([level]))[0]
        return bounds

    @checked
    def of_outputs(self, columns: Sequence[int]) -> Forecast:
        """Return the forecast of some outputs only."""
        return Forecast(*(array[..., columns] for array in (self.mean, self.size, self.ratios)))

    def samples(self) -> Array:
        """Return equally likely outcomes, one per held-out window: (W, H, p) or (W, S, H, p).

        Windows that end before the horizon are left out.
        """
        ratios = self.ratios[~np.isnan(self.ratios).any(axis=(1, 2))]
        if self.mean.ndim == 3:
            ratios = ratios[:, None]
        outcomes: Array = self.mean + ratios * self.size
        return outcomes


# Steps of the logarithm of a width: of the n-th outcome, for a miss that was due; a hit moves it
# less. Long steps find the level that the fit alone got wrong, short ones keep it: steps that stay
# long follow chance, and where outcomes come late, what has passed already.
FIRST_STEP, LONG_STEPS, DECAY = 0.8, 3, 0.75
LEAST_STEP = 0.03  # so that a drift is followed for ever


def tracked(ratios: Array, bounds: Array, origins: NDArray[np.int_], level: float) -> Array:
    """Return the factors that widths had, so that they held as often as promised, and the next.

    Before every forecast, whatever has become known by then widens (a miss) or narrows (a hit) the
    interval at its lead, so that in the long run the share of misses is 1 - level whatever the
    future brings (Angelopoulos, Candes & Tibshirani 2023, quantile tracking; here of logarithms,
    with steps that decay as in Angelopoulos, Barber & Bates 2024).

    Args:
        ratios: Signed errors over their size on W forecasts, NaN where not known, shape (W, H, p).
        bounds: Widths to start with, shape (H, p).
        origins: The last row each forecast knew, ascending, shape (W,).
        level: Share that should be inside.

    Returns:
        Shape (W + 1, H, p).
    """
    W, H, _ = ratios.shape
    logs, factors = np.zeros(ratios.shape[1:]), np.ones((W + 1, *ratios.shape[1:]))
    leads, size = np.arange(1, H + 1), np.abs(ratios)
    told = np.zeros(H, dtype=int)  # forecasts whose row at this lead has counted
    counted = np.zeros(ratios.shape[1:])
    for w in range(W + 1):
        known = np.full(H, W)
        if w < W:
            known = np.searchsorted(origins, origins[w] - leads, side="right")
        while (late := np.flatnonzero(known > told)).size:
            ratio = size[told[late], late]
            there = ~np.isnan(ratio)
            step = FIRST_STEP * (1.0 + counted[late] / LONG_STEPS) ** -DECAY
            miss = ratio > bounds[late] * np.exp(logs[late])
            logs[late] += np.maximum(step, LEAST_STEP) * there * (miss - (1.0 - level))
            counted[late] += there
            told[late] += 1
        factors[w] = np.exp(logs)
    return factors


def sizes(members: Array, usual: Array) -> Array:
    """Return the size of errors to expect, (..., H, p), from an ensemble (n, ..., H, p)."""
    expected: Array = members.std(axis=0) + np.maximum(usual, TINY)
    return expected
