"""Random Fourier features: waves of random direction and length, spread over the data.

Frequencies w are drawn so that the waves together stand for a Gaussian kernel (Rahimi & Recht
2007); orthogonal ones (Yu et al. 2016, arXiv 1610.09072) cover the directions more evenly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.features.base import FeatureMap, Monomials, Neurons, spread
from koopman_control.features.registry import register_features


class FourierFeatures(FeatureMap):
    """Cosines and sines of random frequencies of the standardised inputs.

    The first half of the features (the larger one) are cosines, the second half sines of the same
    frequencies. Times 2/h, the inner product of two points' features approaches the Gaussian kernel
    exp(-|x - x'|^2 / (2 length_scale^2)).

    Args:
        n_features: Number of features h.
        length_scale: Length over which the features vary, in standard deviations of the data.
        orthogonal: Draw the frequencies in orthogonal blocks, which approximate the kernel better
            with the same number of features.
        random_state: Seed or `numpy.random.RandomState`, in scikit-learn's manner.

    Attributes:
        frequencies_: Angular frequencies in the units of the data, shape (ceil(h / 2), e).
        phases_: Phases at x = 0, those of the cosines and then the sines, shape (h,).

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> FourierFeatures(10, random_state=0).fit(X).transform(X).shape
        (200, 10)
    """

    frequencies_: Array
    phases_: Array

    def __init__(
        self,
        n_features: int = 100,
        *,
        length_scale: float = 1.0,
        orthogonal: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features = n_features
        self.length_scale = length_scale
        self.orthogonal = orthogonal
        self.random_state = random_state

    @property
    def _n_features_out(self) -> int:
        return len(self.phases_)

    def _fit(self, X: Array, y: Array | None) -> None:
        positive_int("n_features", self.n_features)
        positive_float("length_scale", self.length_scale)
        rng = check_random_state(self.random_state)
        n, e = -(-self.n_features // 2), X.shape[1]
        W = _orthogonal_normals(n, e, rng) if self.orthogonal else rng.standard_normal((n, e))
        self.frequencies_ = W / (self.length_scale * spread(X))
        phases = -self.frequencies_ @ X.mean(axis=0)
        self.phases_ = np.concatenate([phases, phases[: self.n_features - n]])

    def values(self, X: Array) -> Array:
        """Evaluate [cos(W x + b), sin(W x + b)] without checks, shape (..., e) to (..., h)."""
        H, n = self._angles(X), len(self.frequencies_)
        np.cos(H[..., :n], out=H[..., :n])
        np.sin(H[..., n:], out=H[..., n:])
        return H

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        H, n = self._angles(X), len(self.frequencies_)
        W = np.concatenate([-self.frequencies_, self.frequencies_[: H.shape[-1] - n]])
        slopes = np.concatenate([np.sin(H[..., :n]), np.cos(H[..., n:])], axis=-1)
        J: Array = slopes[..., None] * W
        return J

    def compiled_form(self) -> list[Neurons | Monomials] | None:
        """Return the waves as sines: a cosine is a sine a quarter ahead."""
        W, phases = self.frequencies_, self.phases_.copy()
        phases[: len(W)] += 0.5 * np.pi
        return [Neurons(np.concatenate([W, W[: len(phases) - len(W)]]), phases, "sine")]

    def _angles(self, X: Array) -> Array:
        """Return the arguments of the cosines and sines, shape (..., h)."""
        H = X @ self.frequencies_.T
        n_sines = len(self.phases_) - H.shape[-1]
        return np.concatenate([H, H[..., :n_sines]], axis=-1) + self.phases_


def _orthogonal_normals(n: int, e: int, rng: Any) -> Array:
    """Draw n rows of length e, orthogonal in blocks of e, each distributed like normal rows."""
    blocks = [_random_rotation(e, rng) for _ in range(-(-n // e))]
    rows: Array = np.concatenate(blocks)[:n] * np.sqrt(rng.chisquare(e, size=(n, 1)))
    return rows


def _random_rotation(e: int, rng: Any) -> Array:
    """Draw an orthogonal matrix, uniformly: without the signs, QR would prefer some directions."""
    Q, R = np.linalg.qr(rng.standard_normal((e, e)))
    rotation: Array = Q * np.sign(np.diag(R))
    return rotation


register_features(
    FourierFeatures,
    [FourierFeatures(11, random_state=0), FourierFeatures(12, orthogonal=True, random_state=0)],
    compiled=True,
)
