"""Sampled features: hidden layers whose weights are drawn from the data, not trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import expit
from sklearn.utils import check_random_state

from koopman_control.common.arrays import Array, positive_float, positive_int, product
from koopman_control.features.base import (
    ActivationName,
    FeatureMap,
    Monomials,
    Neurons,
    spread,
    unseen_inputs,
)
from koopman_control.features.registry import register_features


@dataclass(frozen=True)
class Activation:
    """An activation g.

    Args:
        value: Replaces the entries of an array h by g(h), and returns it.
        slope: Returns g'(h) as a new array.
        steepness: What <w, x> + b gains from x1 to x2.
        offset: Minus <w, x1> + b.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    steepness: float
    offset: float


def _tanh_slope(h: Array) -> Array:
    t: Array = np.tanh(h)
    return 1.0 - t * t


def _sigmoid(h: Array) -> Array:
    s: Array = expit(h)
    return s


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(lambda h: np.tanh(h, out=h), _tanh_slope, np.log(3.0), np.log(3.0) / 2.0),
    "relu": Activation(
        lambda h: np.maximum(h, 0.0, out=h), lambda h: (h > 0.0).astype(np.float64), 1.0, 0.0
    ),
    "sine": Activation(lambda h: np.sin(h, out=h), np.cos, np.pi / 3.0, np.pi / 6.0),
    "softplus": Activation(
        lambda h: np.logaddexp(h, 0.0, out=h), _sigmoid, 2.0 * np.log(3.0), np.log(3.0)
    ),
}


Sampling = Literal["pairs", "uniform", "gaussian"]

CANDIDATES_PER_FEATURE = 20
SHORTEST_PAIR = 1e-6  # in standard deviations; two readings of one point are no pair


class SampledFeatures(FeatureMap):
    """Hidden layers with weights sampled from pairs of data points.

    Args:
        n_features: Number of neurons h of every layer.
        activation: "tanh", "relu", "sine" or "softplus".
        n_layers: Number of layers. Only the last one's neurons are features.
        sampling: "pairs" draws data pairs in proportion to how fast the target changes between
            them, "uniform" draws data pairs evenly, "gaussian" draws normal weights (an extreme
            learning machine).
        steepness: Factor on all weights, dimensionless. Below 1 the neurons are smoother than the
            data pairs ask for, which fits smooth plants from fewer samples.
        ignored: Inputs that no neuron sees, by number: the position of a plant that behaves alike
            everywhere, say. The lifted model still carries them, linearly.
        random_state: Seed or `numpy.random.RandomState`, in scikit-learn's manner.

    Attributes:
        weights_: Weights of the first layer in the units of the data, shape (h, e).
        biases_: Biases of the first layer, shape (h,).
        deep_weights_: Weights of the further layers, shape (n_layers - 1, h, h).
        deep_biases_: Biases of the further layers, shape (n_layers - 1, h).

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> SampledFeatures(10, random_state=0).fit(X).transform(X).shape
        (200, 10)
    """

    weights_: Array
    biases_: Array
    deep_weights_: Array
    deep_biases_: Array

    def __init__(
        self,
        n_features: int = 100,
        *,
        activation: ActivationName = "tanh",
        n_layers: int = 1,
        sampling: Sampling = "pairs",
        steepness: float = 1.0,
        ignored: Sequence[int] = (),
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features = n_features
        self.activation = activation
        self.n_layers = n_layers
        self.sampling = sampling
        self.steepness = steepness
        self.ignored = ignored
        self.random_state = random_state

    @property
    def _n_features_out(self) -> int:
        return len(self.biases_)

    @property
    def _activation(self) -> Activation:
        return ACTIVATIONS[self.activation]

    def _fit(self, X: Array, y: Array | None) -> None:
        unseen = self._check_settings(X.shape[1])
        rng = check_random_state(self.random_state)
        center, scale = X.mean(axis=0), spread(X)
        Z = (X - center) / scale
        Z[:, unseen] = 0.0  # so that they do not count in the distance of two points either
        W, b = self._layer(Z, y, rng)
        W[:, unseen] = 0.0
        # Standardising is folded into the weights, so that evaluation is one affine map and a tanh.
        self.weights_ = W / scale
        self.biases_ = b - self.weights_ @ center
        n_deep = self.n_layers - 1
        self.deep_weights_ = np.empty((n_deep, self.n_features, self.n_features))
        self.deep_biases_ = np.empty((n_deep, self.n_features))
        if not n_deep:
            return
        H = self._activation.value(X @ self.weights_.T + self.biases_)
        for i in range(n_deep):
            W, b = self._layer(H, y, rng)
            if self.sampling == "gaussian":  # the inputs are many and not standardised
                W /= np.sqrt(self.n_features)
            self.deep_weights_[i], self.deep_biases_[i] = W, b
            H = self._activation.value(H @ W.T + b)

    def _layer(self, Z: Array, y: Array | None, rng: Any) -> tuple[Array, Array]:
        """Draw weights and biases of a layer on inputs Z, shape (T, n)."""
        if self.sampling == "gaussian":
            W = rng.standard_normal((self.n_features, Z.shape[1]))
            b = rng.uniform(-np.pi, np.pi, self.n_features)
        else:
            W, b = self._pair_weights(Z, y, rng)
        return self.steepness * W, self.steepness * b

    def _pair_weights(self, Z: Array, y: Array | None, rng: Any) -> tuple[Array, Array]:
        """Turn drawn pairs of points Z, shape (T, n), into weights and biases."""
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
        W = self._activation.steepness * difference[chosen] / length[chosen, None] ** 2
        return W, -np.einsum("he,he->h", W, Z[first[chosen]]) - self._activation.offset

    def _check_settings(self, n_inputs: int) -> list[int]:
        """Check the settings; return the ignored inputs."""
        positive_int("n_features", self.n_features)
        positive_int("n_layers", self.n_layers)
        positive_float("steepness", self.steepness)
        return unseen_inputs(self.ignored, n_inputs)

    def values(self, X: Array) -> Array:
        """Evaluate the last layer without checks, shape (..., e) to (..., h)."""
        act = self._activation.value
        H = product(X, self.weights_.T)
        H += self.biases_
        H = act(H)
        for W, b in zip(self.deep_weights_, self.deep_biases_, strict=True):
            H = act(product(H, W.T) + b)
        return H

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        act = self._activation
        H = X @ self.weights_.T
        H += self.biases_
        J: Array = act.slope(H)[..., None] * self.weights_
        for W, b in zip(self.deep_weights_, self.deep_biases_, strict=True):
            H = act.value(H) @ W.T + b
            turned = np.swapaxes(J, -1, -2)  # one large product, not one of e columns per point
            product = (turned.reshape(-1, W.shape[1]) @ W.T).reshape(turned.shape)
            J = act.slope(H)[..., None] * np.swapaxes(product, -1, -2)
        return J

    def compiled_form(self) -> list[Neurons | Monomials] | None:
        """Return a single layer as neurons; several are left to NumPy."""
        if self.n_layers > 1:
            return None
        return [Neurons(self.weights_, self.biases_, self.activation)]


_NAMES: tuple[ActivationName, ...] = get_args(ActivationName)
register_features(
    SampledFeatures,
    [SampledFeatures(12, activation=name, random_state=0) for name in _NAMES],
    compiled=True,
)
