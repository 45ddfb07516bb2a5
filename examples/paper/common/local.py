"""A sampled layer that looks alike at every point of a ring, and one regression for all points.

The same neurons see the neighbourhood of every point (as in Pathak et al. 2018); the next heights
are a convolution of heights and neurons along the ring. In waves along the ring a convolution is
a product, so the least-squares problem falls apart into a small one for every wave. Waves too short
to be resolved are left out: their heights are at rounding level, and noise there would grow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array
from koopman_control.features import FeatureMap, SampledFeatures

SNAPSHOTS = 5_000  # pairs of the regression, drawn from the training run
PLACING = 20_000  # neighbourhoods that neurons are drawn from
LARGEST = 10.0  # forecasts are held within, in standard deviations


@dataclass(frozen=True)
class LocalModel:
    """y+ = K [y, neurons of all neighbourhoods], in standard deviations.

    Args:
        scale: Standard deviation of the heights.
        neighbours: Points seen from every point, shape (n, e).
        features: Map from a neighbourhood to h neurons.
        K: Coefficients, shape (n (1 + h), n).
    """

    scale: float
    neighbours: NDArray[np.int64]
    features: FeatureMap
    K: Array

    def forecast(self, history: Array, horizon: int, known: None = None) -> Array:
        """Predict (S, H, n) from histories (S, L, n)."""
        y = history[:, -1] / self.scale
        out = np.empty((len(y), horizon, y.shape[1]))
        for k in range(horizon):
            rows = lifted(y, self.neighbours, self.features).reshape(len(y), -1)
            y = np.clip(rows @ self.K, -LARGEST, LARGEST)
            out[:, k] = y
        return out * self.scale


def lifted(y: Array, neighbours: NDArray[np.int64], features: FeatureMap) -> Array:
    """Return heights and neurons, shape (S, n, 1 + h), at the points of heights (S, n)."""
    around = y[:, neighbours].reshape(-1, neighbours.shape[1])
    neurons = features.values(around).reshape(*y.shape, -1)
    return np.concatenate([y[..., None], neurons], axis=2)


class LocalSampled:
    """Sampled layers shared by all points of a ring.

    Args:
        width: Neurons h of the layer.
        grid: Settings to try: `reach` of a neighbourhood to both sides in points, `steepness` of
            the neurons, number of `waves` that are kept, and `cut`, the size of singular values
            below which directions are dropped, relative to the largest.
    """

    def __init__(self, width: int, grid: Sequence[Settings]) -> None:
        self.name = f"sampled, local ({width})"
        self.width, self.grid = width, grid

    def searched(self, train: Array) -> Iterator[tuple[Settings, LocalModel]]:
        """Fit once for every setting of the search."""
        for settings in self.grid:
            yield settings, self.fit(train, settings, seed=0)

    def fit(self, train: Array, settings: Settings, seed: int) -> LocalModel:
        """Fit to heights (T, n)."""
        rng = np.random.default_rng(seed)
        scale, n = float(train.std()), train.shape[1]
        waves = np.fft.rfft(train / scale)
        waves[:, settings["waves"] + 1 :] = 0.0
        Y = np.fft.irfft(waves, n)
        reach = settings["reach"]
        neighbours = (np.arange(n)[:, None] + np.arange(-reach, reach + 1)) % n
        features = SampledFeatures(self.width, steepness=settings["steepness"], random_state=seed)
        t, i = rng.integers(len(Y) - 1, size=PLACING), rng.integers(n, size=PLACING)
        features.fit(Y[t[:, None], neighbours[i]], (Y[t + 1, i] - Y[t, i])[:, None])
        pairs = rng.choice(len(Y) - 1, min(SNAPSHOTS, len(Y) - 1), replace=False)
        rows = lifted(Y[pairs], neighbours, features)
        K = convolution(rows, Y[pairs + 1], settings["waves"], settings["cut"])
        return LocalModel(scale, neighbours, features, K)


def convolution(rows: Array, targets: Array, n_waves: int, cut: float) -> Array:
    """Regress targets (T, n) on convolutions of columns (T, n, k) along the ring.

    Returns:
        Coefficients of the columns at all points, shape (n k, n).
    """
    n, k = rows.shape[1:]
    F, G = np.fft.rfft(rows, axis=1), np.fft.rfft(targets, axis=1)
    kernel = np.zeros((F.shape[1], k), dtype=np.complex128)
    for m in range(1, n_waves + 1):  # the mean, wave 0, is conserved and zero
        sizes = np.linalg.norm(F[:, m], axis=0)
        kernel[m] = np.linalg.lstsq(F[:, m] / sizes, G[:, m], rcond=cut)[0] / sizes
    shift = (np.arange(n) - np.arange(n)[:, None]) % n  # from point i to point j
    return np.asarray(np.fft.irfft(kernel, n, axis=0)[shift].swapaxes(1, 2).reshape(n * k, n))
