"""The linear trunk: every lead is a weighted sum of the last rows, shrunk towards a naive forecast.

A window x of the last L rows (newest first) and the rows y ahead are taken as deviations from a
level, the mean of the last rows; ridge regression of y - prior(x) on them then shrinks towards the
naive forecast `prior`: that level again, or the mean of the last seasons. Level and prior are
linear in x, so that the R factor of [x | y], accumulated once, has every look-back, level, prior
and strength in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.identification.least_squares import (
    Accumulator,
    RFactor,
    RidgeSolver,
    decomposed,
)

CHUNK = 1024  # windows that are cut at once
# Of standardised windows. At zero only directions at rounding level are dropped.
STRENGTHS = (0.0, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Trunk:
    """One way to regress.

    Args:
        shared: Whether all columns have the same coefficients, or each its own.
        lookback: Rows L that count.
        level: Rows whose mean is subtracted, at least 1: the last value; they may reach beyond L.
        period: Rows of a season that the prior repeats, its mean over `level` rows; 0: the level.
    """

    shared: bool
    lookback: int
    level: int
    period: int = 0

    @property
    def length(self) -> int:
        """Number of rows that a forecast needs."""
        return max(self.lookback, self.level)

    def prior(self, leads: NDArray[np.int_]) -> Array:
        """Return the naive forecast's coefficients, shape (length, n leads)."""
        weights = np.zeros((self.length, len(leads)))
        if self.period:
            same = (np.arange(self.level)[:, None] + leads) % self.period == 0
            weights[: self.level] = same / same.sum(axis=0)
        else:
            weights[: self.level] = 1.0 / self.level
        return weights

    def solved(self, factor: RFactor, leads: NDArray[np.int_]) -> Coefficients:
        """Decompose the deviations' factor, once for all strengths.

        Args:
            factor: Of [x | y], x with at least `length` columns, newest first, y one for each lead.
            leads: Steps ahead to predict, from 1 on.
        """
        n, L = self.length, self.lookback
        R, Y = factor.R[:n, :n], factor.R[:n, factor.n_regressors + leads - 1]
        mean, prior = np.zeros(n), self.prior(leads)
        mean[: self.level] = 1.0 / self.level
        U, s, Vt = decomposed(R[:, :L] - (R @ mean)[:, None])
        solver = RidgeSolver(s, Vt.T, U.T @ (Y - R @ prior), factor.n_samples)
        return Coefficients(solver, mean, prior)


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of a trunk for any strength."""

    solver: RidgeSolver
    mean: Array
    prior: Array

    def at(self, strength: float) -> Array:
        """Return what turns windows into forecasts, shape (length, n leads)."""
        K = self.solver.solve(strength)
        total: Array = self.prior - np.outer(self.mean, K.sum(axis=0))
        total[: len(K)] += K
        return total


def trunks(lookbacks: Sequence[int], periods: Sequence[int], n_columns: int) -> list[Trunk]:
    """List what is tried, of the longest look-back less than of others, for it takes longest."""
    longest, found = lookbacks[0], []
    for i, L in enumerate(lookbacks):
        flat = [1, longest] if i == 0 else [1, *periods, L, longest]
        seasons = [k for k in periods if 1 < k <= L][: 1 if i == 0 else None]
        levels = [*((k, 0) for k in flat if k <= longest), *((k * (L // k), k) for k in seasons)]
        levels = list(dict.fromkeys(levels))
        if n_columns == 1:
            found += [Trunk(False, L, *level) for level in levels]
            continue
        found += [Trunk(True, L, *level) for level in levels]
        if i % 2 == 0:
            found += [Trunk(False, L, *level) for level in levels[: 1 if i == 0 else 2]]
    return found


def windows(Y: Array, origins: NDArray[np.int_], length: int) -> Array:
    """Return the last rows up to each origin, newest first, shape (S, p, length)."""
    cut = np.lib.stride_tricks.sliding_window_view(Y, length, axis=0)
    return np.asarray(cut[origins - length + 1][..., ::-1])


def ahead(Y: Array, origins: NDArray[np.int_], leads: NDArray[np.int_]) -> Array:
    """Return the rows that follow, shape (S, n leads, p)."""
    return np.asarray(Y[origins[:, None] + leads])


def window_sums(
    parts: Sequence[tuple[Array, NDArray[np.int_]]], length: int, horizon: int, basis: Array | None
) -> Accumulator:
    """Accumulate [x | y] of one column.

    Args:
        parts: Series (T, 1), each with the origins to count in it.
        length: Columns of x.
        horizon: Columns of y.
        basis: What whitens x.
    """
    total = Accumulator(length, horizon, basis)
    leads = np.arange(1, horizon + 1)
    for Y, origins in parts:
        for start in range(0, len(origins), CHUNK):
            chunk = origins[start : start + CHUNK]
            total.add(windows(Y, chunk, length)[:, 0], ahead(Y, chunk, leads)[..., 0])
    return total
