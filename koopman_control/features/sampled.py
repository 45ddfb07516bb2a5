"""Sampled features: one hidden layer whose weights are drawn from the data, not trained.

A pair of data points (x1, x2) becomes one neuron that is -1/2 at x1 and +1/2 at x2 (for tanh):
w = s1 (x2 - x1) / |x2 - x1|^2, b = -<w, x1> - s2. Pairs between which the target changes fast are
drawn more often ("SWIM", Bolager et al. 2023, arXiv 2306.16830).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.features.base import FeatureMap
from koopman_control.features.scaling import spread

Sampling = Literal["pairs", "uniform", "gaussian"]
SAMPLINGS = ("pairs", "uniform", "gaussian")

# tanh is +-1/2 at +-ln(3)/2: steepness s1 = ln 3, offset s2 = ln(3)/2 (swimnetworks, dense.py).
STEEPNESS = np.log(3.0)
OFFSET = np.log(3.0) / 2.0
CANDIDATES_PER_FEATURE = 20
SHORTEST_PAIR = 1e-6  # in standard deviations; two readings of one point are no pair


class SampledFeatures(FeatureMap):
    """Hidden tanh layer with weights sampled from pairs of data points.

    Args:
        n_features: Number of neurons h.
        sampling: "pairs" draws data pairs in proportion to how fast the target changes between
            them, "uniform" draws data pairs evenly, "gaussian" draws normal weights (an extreme
            learning machine).
        steepness: Factor on all weights, dimensionless. Below 1 the neurons are smoother than the
            data pairs ask for, which fits smooth plants from fewer samples.
        random_state: Seed or `numpy.random.RandomState`, in scikit-learn's manner.

    Attributes:
        weights_: Weights in the units of the data, shape (h, e).
        biases_: Biases, shape (h,).

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> SampledFeatures(10, random_state=0).fit(X).transform(X).shape
        (200, 10)
    """

    weights_: Array
    biases_: Array

    def __init__(
        self,
        n_features: int = 100,
        *,
        sampling: Sampling = "pairs",
        steepness: float = 1.0,
        random_state: int | None = None,
    ) -> None:
        self.n_features = n_features
        self.sampling = sampling
        self.steepness = steepness
        self.random_state = random_state

    @property
    def _n_features_out(self) -> int:
        return len(self.biases_)

    def _fit(self, X: Array, y: Array | None) -> None:
        self._check_settings()
        rng = check_random_state(self.random_state)
        center, scale = X.mean(axis=0), spread(X)
        standard = (X - center) / scale
        if self.sampling == "gaussian":
            W = rng.standard_normal((self.n_features, X.shape[1]))
            b = rng.uniform(-np.pi, np.pi, self.n_features)
        else:
            W, b = self._pair_weights(standard, y, rng)
        W, b = self.steepness * W, self.steepness * b
        # Standardising is folded into the weights, so that evaluation is one affine map and a tanh.
        self.weights_ = W / scale
        self.biases_ = b - self.weights_ @ center

    def _pair_weights(self, Z: Array, y: Array | None, rng: Any) -> tuple[Array, Array]:
        """Turn drawn pairs of standardised points Z, shape (T, e), into weights and biases."""
        T, count = len(Z), CANDIDATES_PER_FEATURE * self.n_features
        first = rng.randint(0, T, count)
        second = (first + rng.randint(1, T, count)) % T
        difference = Z[second] - Z[first]
        length = np.maximum(np.linalg.norm(difference, axis=1), SHORTEST_PAIR)
        rate = np.where(length > SHORTEST_PAIR, 1.0, 0.0)
        if not rate.any():  # all points are one
            rate[:] = 1.0
        if self.sampling == "pairs" and y is not None:
            change = (np.abs(y[second] - y[first]) / spread(y)).max(axis=1)
            if (change * rate).any():  # a constant target prefers no pair
                rate *= change / length
        chosen = rng.choice(count, self.n_features, p=rate / rate.sum())
        W = STEEPNESS * difference[chosen] / length[chosen, None] ** 2
        return W, -np.einsum("he,he->h", W, Z[first[chosen]]) - OFFSET

    def _check_settings(self) -> None:
        positive_int("n_features", self.n_features)
        positive_float("steepness", self.steepness)
        if self.sampling not in SAMPLINGS:
            expected = ", ".join(SAMPLINGS)
            raise ValueError(f"sampling is {self.sampling!r}; expected one of {expected}")

    def values(self, X: Array) -> Array:
        """Evaluate tanh(W x + b) without checks, shape (..., e) to (..., h)."""
        H = X @ self.weights_.T
        H += self.biases_
        return np.tanh(H, out=H)

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        H = self.values(X)
        return (1.0 - H * H)[..., None] * self.weights_
