"""Radial features: functions of the distance to centres placed among the data."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.features.base import FeatureMap, spread
from koopman_control.features.registry import register_features

Kernel = Literal["thin_plate", "gaussian"]
Centers = Literal["sampled", "kmeans"]

POINTS_PER_CENTER = 50  # seen by k-means; more of them move the centres little and take long


class RadialFeatures(FeatureMap):
    """Radial basis functions of the distance r to centres, in length scales.

    Thin plates r^2 ln r (as in Korda & Mezić 2018) grow away from their centre; Gaussians
    exp(-r^2 / 2) are local.

    Args:
        n_features: Number of centres h.
        kernel: "thin_plate" or "gaussian".
        centers: "sampled" takes data points evenly, "kmeans" takes cluster centres. Where the data
            hold fewer different points than centres, further ones lie between two of them.
        length_scale: Length by which distances are divided, in standard deviations of the data.
        random_state: Seed or `numpy.random.RandomState`, in scikit-learn's manner.

    Attributes:
        centers_: Centres, centred and scaled, shape (h, e).
        center_: What is taken off the inputs, shape (e,).
        scale_: What the rest is divided by: standard deviations times the length scale, shape (e,).

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> RadialFeatures(10, random_state=0).fit(X).transform(X).shape
        (200, 10)
    """

    centers_: Array
    center_: Array
    scale_: Array

    def __init__(
        self,
        n_features: int = 100,
        *,
        kernel: Kernel = "thin_plate",
        centers: Centers = "sampled",
        length_scale: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features = n_features
        self.kernel = kernel
        self.centers = centers
        self.length_scale = length_scale
        self.random_state = random_state

    @property
    def _n_features_out(self) -> int:
        return len(self.centers_)

    def _fit(self, X: Array, y: Array | None) -> None:
        positive_int("n_features", self.n_features)
        positive_float("length_scale", self.length_scale)
        self.center_, self.scale_ = X.mean(axis=0), self.length_scale * spread(X)
        rng, Z = check_random_state(self.random_state), self._scaled(X)
        self.centers_ = _placed(Z, self.n_features, self.centers, rng)

    def values(self, X: Array) -> Array:
        """Evaluate without checks, shape (..., e) to (..., h)."""
        s = self._squared_distances(self._scaled(X))
        if self.kernel == "gaussian":
            return np.exp(-0.5 * s)
        return 0.5 * s * _log(s)

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        Z = self._scaled(X)
        s = self._squared_distances(Z)
        slope = -np.exp(-0.5 * s) if self.kernel == "gaussian" else 1.0 + _log(s)
        J = Z[..., None, :] - self.centers_
        J *= slope[..., None]
        J /= self.scale_
        return J

    def _scaled(self, X: Array) -> Array:
        return (X - self.center_) / self.scale_

    def _squared_distances(self, Z: Array) -> Array:
        """Return r^2 to every centre, shape (..., h), by one matrix product."""
        s = Z @ (-2.0 * self.centers_.T)
        s += np.einsum("...e,...e->...", Z, Z)[..., None]
        s += np.einsum("he,he->h", self.centers_, self.centers_)
        return np.maximum(s, 0.0, out=s)  # rounding


def _log(s: Array) -> Array:
    """Return ln s, and something finite at a centre, where s or r multiplies it to zero."""
    return np.log(np.maximum(s, np.finfo(np.float64).eps))


def _placed(Z: Array, n: int, centers: str, rng: Any) -> Array:
    """Place n centres among points Z, shape (T, e)."""
    distinct = np.unique(Z, axis=0)
    if len(distinct) <= n:
        first, second = distinct[rng.randint(0, len(distinct), (2, n - len(distinct)))]
        between = first + rng.uniform(size=(len(first), 1)) * (second - first)
        return np.concatenate([distinct, between])
    if centers == "sampled":
        chosen: Array = distinct[rng.choice(len(distinct), n, replace=False)]
        return chosen
    seen = rng.permutation(len(distinct))[: POINTS_PER_CENTER * n]
    from sklearn.cluster import KMeans  # here, as it takes a while to import

    means: Array = KMeans(n, n_init=1, random_state=rng).fit(distinct[seen]).cluster_centers_
    return means


register_features(
    RadialFeatures,
    [
        RadialFeatures(12, random_state=0),
        RadialFeatures(8, kernel="gaussian", centers="kmeans", length_scale=1.5, random_state=0),
    ],
    compiled=False,
)
