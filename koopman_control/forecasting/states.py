"""All leads from one state of all columns: sampled features beside a linear part, one solve.

A state holds means over recent rows of every column, dense at first and ever longer, as deviations
from a level, and means over the known inputs ahead in the same manner. Targets are deviations from
the naive forecast of a `Trunk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap, SampledFeatures, spread
from koopman_control.forecasting.trunk import CHUNK, Trunk, ahead, windows
from koopman_control.identification.least_squares import Accumulator, RFactor

SAMPLE = 4000  # windows that features are placed by
GROWTH = 1.5  # of the blocks of rows that one mean is taken over
MOST_NUMBERS = 400  # in a state
STRENGTHS = (1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0)

Part = tuple[Array, Array, NDArray[np.int_]]  # rows (T, p), inputs (T - 1 + H, m), origins


def blocks(length: int, dense: int) -> Array:
    """Return what turns `length` rows into means over blocks, shape (length, number of blocks)."""
    edges = list(range(min(dense, length) + 1))
    while edges[-1] < length:
        edges.append(min(length, max(edges[-1] + 1, int(GROWTH * edges[-1]))))
    means = np.zeros((length, len(edges) - 1))
    for i, (a, b) in enumerate(pairwise(edges)):
        means[a:b, i] = 1.0 / (b - a)
    return means


@dataclass(frozen=True)
class StateMap:
    """How states are made and lifted.

    Args:
        trunk: Look-back, level and naive forecast.
        past: From rows to blocks, shape (L, b).
        future: From inputs ahead to blocks, shape (H, c).
        features: Fitted map of standardised states, None for a linear model.
        center: Means of the states, shape (d,).
        scale: Standard deviations of the states, shape (d,).
    """

    trunk: Trunk
    past: Array
    future: Array
    features: FeatureMap | None
    center: Array
    scale: Array

    @classmethod
    def placed(
        cls, trunk: Trunk, parts: Sequence[Part], horizon: int, features: SampledFeatures | None
    ) -> StateMap:
        """Measure scales and place features on windows of all parts."""
        p, m = parts[0][0].shape[1], parts[0][1].shape[1]
        dense = max(8, trunk.period) if trunk.period <= 48 else 8
        while True:
            past, future = blocks(trunk.lookback, dense), blocks(horizon, min(dense, 8))
            if dense == 1 or past.shape[1] * p + future.shape[1] * m <= MOST_NUMBERS:
                break
            dense = dense // 2
        rough = cls(trunk, past, future, None, np.zeros(1), np.ones(1))
        total = sum(len(origins) for _, _, origins in parts)
        thin = max(1, -(-total // SAMPLE))
        found = [rough._plain(Y, U, origins[::thin]) for Y, U, origins in parts if len(origins)]
        Z, leads = np.concatenate(found), np.unique(np.linspace(1, horizon, 8).astype(int))
        center, scale = Z.mean(axis=0), spread(Z)
        if features is not None:
            targets = [rough.targets(Y, o[::thin], leads) for Y, _, o in parts if len(o)]
            features = features.fit((Z - center) / scale, np.concatenate(targets))
        return cls(trunk, past, future, features, center, scale)

    @property
    def n_regressors(self) -> int:
        """Number of columns of `regressors`."""
        return 1 + len(self.center) + (self.features._n_features_out if self.features else 0)

    def _plain(self, Y: Array, U: Array, origins: NDArray[np.int_]) -> Array:
        L, H = len(self.past), len(self.future)
        known = ahead(U, origins - 1, np.arange(1, H + 1)) if U.shape[1] else None
        return self._state(windows(Y, origins, L), known)

    def _state(self, past: Array, known: Array | None) -> Array:
        """Return states (S, d) of windows (S, p, L), newest first, and inputs ahead (S, H, m)."""
        past = past - past[..., : self.trunk.level].mean(axis=-1, keepdims=True)
        parts = [(past @ self.past).reshape(len(past), -1)]
        if known is not None and known.shape[2]:
            parts.append((known.swapaxes(1, 2) @ self.future).reshape(len(past), -1))
        return np.concatenate(parts, axis=1)

    def regressors(self, past: Array, known: Array | None) -> Array:
        """Return [1, z, features(z)] of windows and inputs ahead, shape (S, k)."""
        Z = (self._state(past[..., : len(self.past)], known) - self.center) / self.scale
        parts = [np.ones((len(Z), 1)), Z]
        if self.features is not None:
            parts.append(self.features.values(Z))
        return np.concatenate(parts, axis=1)

    def naive(self, past: Array, leads: NDArray[np.int_]) -> Array:
        """Return the naive forecast (S, n leads, p)."""
        found: Array = (past[..., : self.trunk.length] @ self.trunk.prior(leads)).swapaxes(1, 2)
        return found

    def targets(self, Y: Array, origins: NDArray[np.int_], leads: NDArray[np.int_]) -> Array:
        """Return deviations from the naive forecast, shape (S, n leads p)."""
        past = windows(Y, origins, self.trunk.lookback)
        return (ahead(Y, origins, leads) - self.naive(past, leads)).reshape(len(origins), -1)

    def sums(self, parts: Sequence[Part], basis: Array | None) -> Accumulator:
        """Accumulate regressors beside targets at all leads."""
        H, L = len(self.future), self.trunk.lookback
        leads = np.arange(1, H + 1)
        total = Accumulator(self.n_regressors, H * parts[0][0].shape[1], basis)
        for Y, U, origins in parts:
            for start in range(0, len(origins), CHUNK):
                chunk = origins[start : start + CHUNK]
                known = ahead(U, chunk - 1, leads) if U.shape[1] else None
                total.add(
                    self.regressors(windows(Y, chunk, L), known), self.targets(Y, chunk, leads)
                )
        return total

    def forecast(
        self, K: Array, past: Array, known: Array | None, leads: NDArray[np.int_]
    ) -> Array:
        """Predict at leads with coefficients K (k, n leads p); returns (S, n leads, p)."""
        deviations = (self.regressors(past, known) @ K).reshape(len(past), len(leads), -1)
        return deviations + self.naive(past, leads)


def columns_of(leads: NDArray[np.int_], n_outputs: int) -> NDArray[np.int_]:
    """Return which targets of `StateMap.sums` belong to leads."""
    return ((leads - 1)[:, None] * n_outputs + np.arange(n_outputs)).ravel()


def at_leads(factor: RFactor, leads: NDArray[np.int_], n_outputs: int) -> RFactor:
    """Return the factor with the targets of some leads only."""
    k = factor.n_regressors
    kept = np.concatenate([np.arange(k), k + columns_of(leads, n_outputs)])
    return RFactor(factor.R[:, kept], k, factor.n_samples)
