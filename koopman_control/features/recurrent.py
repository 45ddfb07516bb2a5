"""Recurrent features: a driven random network reads the remembered past, oldest sample first.

h <- tanh(W h + V s_j + b) from h = 0, along the samples s_k, ..., s_0 that a state with a memory of
k steps holds; the last h are the features. W is drawn, not trained, and scaled so that the network
forgets its start (an echo state network, Jaeger 2001; with "cyclic" recurrence the minimal one of
Rodan & Tino, IEEE Transactions on Neural Networks 22, 2011). As the network starts at zero for
every state, it is a pure map of the state, with an exact derivative.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.features.base import FeatureMap, spread
from koopman_control.features.coordinates import Coordinates
from koopman_control.features.registry import register_features

Recurrence = Literal["cyclic", "sparse"]

LINKS = 5  # neurons that each neuron hears, where recurrence is sparse


class RecurrentFeatures(FeatureMap):
    """State of a driven random network after it has read the past, for `EDMDc(memory=k)`.

    `EDMDc` tells the map which columns of the state are of which time. Fitted to plain points, or
    without a memory, it sees a single sample: one random layer.

    Args:
        n_features: Number of neurons h.
        recurrence: "cyclic" passes every neuron on to the next, all alike; "sparse" draws a few
            links with random weights for each.
        spectral_radius: Spectral radius of W, in (0, 1): how slowly the network forgets.
        steepness: Factor on the weights of the samples and the biases, dimensionless.
        random_state: Seed or `numpy.random.RandomState`, in scikit-learn's manner.

    Attributes:
        reader_: From a point to its samples, the oldest first, shape (k + 1, w, e).
        weights_: Weights V of the samples in the units of the data, shape (h, w).
        biases_: Shape (h,).
        sources_: Neurons that each neuron hears, shape (h, links).
        links_: Weights of these, the entries of W, shape (h, links).

    Example:
        >>> EDMDc(RecurrentFeatures(200), memory=10).fit(data)  # doctest: +SKIP
    """

    reader_: Array
    weights_: Array
    biases_: Array
    sources_: NDArray[np.int64]
    links_: Array

    def __init__(
        self,
        n_features: int = 100,
        *,
        recurrence: Recurrence = "cyclic",
        spectral_radius: float = 0.5,
        steepness: float = 0.5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features = n_features
        self.recurrence = recurrence
        self.spectral_radius = spectral_radius
        self.steepness = steepness
        self.random_state = random_state

    def fit_to_states(self, X: Any, y: Any, coordinates: Coordinates) -> FeatureMap:
        """Fit to feature inputs of states, reading their past in order of time."""
        self._reader = samples_of(coordinates)
        try:
            return self.fit(X, y)
        finally:
            del self._reader

    @property
    def _n_features_out(self) -> int:
        return len(self.biases_)

    def _fit(self, X: Array, y: Array | None) -> None:
        self._check_settings()
        rng, h = check_random_state(self.random_state), self.n_features
        self.reader_ = getattr(self, "_reader", np.eye(X.shape[1])[None])
        samples = self._samples(X).reshape(-1, self.reader_.shape[1])
        V = self.steepness * rng.uniform(-1.0, 1.0, (h, samples.shape[1])) / spread(samples)
        self.weights_ = V
        self.biases_ = self.steepness * rng.uniform(-1.0, 1.0, h) - V @ samples.mean(axis=0)
        if self.recurrence == "cyclic":
            self.sources_ = (np.arange(h)[:, None] - 1) % h
            self.links_ = np.full((h, 1), float(self.spectral_radius))
        else:
            self.sources_ = rng.randint(0, h, (h, LINKS))
            self.links_ = self._scaled(rng.uniform(-1.0, 1.0, (h, LINKS)))

    def _scaled(self, links: Array) -> Array:
        """Scale drawn links so that W has the wanted spectral radius."""
        W = np.zeros((len(links), len(links)))
        np.add.at(W, (np.arange(len(links))[:, None], self.sources_), links)
        radius = np.abs(np.linalg.eigvals(W)).max()
        return np.asarray(links * (self.spectral_radius / radius if radius > 0.0 else 0.0))

    def _check_settings(self) -> None:
        positive_int("n_features", self.n_features)
        positive_float("steepness", self.steepness)
        if not 0.0 < positive_float("spectral_radius", self.spectral_radius) < 1.0:
            raise ValueError(
                f"spectral_radius is {self.spectral_radius}; expected a number below 1, for the "
                "network to forget its start"
            )

    def values(self, X: Array) -> Array:
        """Run the network without checks, shape (..., e) to (..., h)."""
        driven = self._driven(X)
        H: Array = np.tanh(driven[..., 0, :])
        for j in range(1, driven.shape[-2]):
            H = np.tanh(driven[..., j, :] + self._passed_on(H))
        return H

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        driven, drives = self._driven(X), self.weights_ @ self.reader_
        H: Array = np.tanh(driven[..., 0, :])
        J: Array = (1.0 - H**2)[..., None] * drives[0]
        for j in range(1, len(drives)):
            H = np.tanh(driven[..., j, :] + self._passed_on(H))
            turned = np.swapaxes(self._passed_on(np.swapaxes(J, -1, -2)), -1, -2)
            J = (1.0 - H**2)[..., None] * (turned + drives[j])
        return J

    def _samples(self, X: Array) -> Array:
        """Read the samples, oldest first, shape (..., e) to (..., k + 1, w)."""
        samples: Array = np.einsum("...e,kwe->...kw", X, self.reader_, optimize=True)
        return samples

    def _driven(self, X: Array) -> Array:
        """Return V s + b for every sample, shape (..., k + 1, h)."""
        return self._samples(X) @ self.weights_.T + self.biases_

    def _passed_on(self, H: Array) -> Array:
        """Return W h, shape (..., h) to (..., h)."""
        out = H[..., self.sources_[:, 0]] * self.links_[:, 0]
        for k in range(1, self.links_.shape[1]):
            out += H[..., self.sources_[:, k]] * self.links_[:, k]
        return out


def samples_of(coordinates: Coordinates) -> Array:
    """Return the matrices that read past samples from the feature inputs of a state.

    The sample j steps ago holds the outputs y_t-j, where an angle is replaced by the step that led
    to it and by the present's cosine and sine, and the inputs u_t-j-1. The oldest sample holds no
    step and no inputs.

    Args:
        coordinates: From observations to states.

    Returns:
        The oldest first, shape (k + 1, w, e).
    """
    p, k, m = coordinates.n_outputs, coordinates.memory, coordinates.n_inputs
    column = {origin: j for j, origin in enumerate(coordinates.embedded)}
    angles = np.flatnonzero(coordinates.is_angle).tolist()
    samples = np.zeros((k + 1, p + m + 2 * len(angles), len(column)))
    for ago, S in enumerate(samples):
        for i in range(p):
            steps = [column[p + lag * p + i, "id"] for lag in range(min(ago + 1, k))]
            if i in angles:
                S[i, steps[ago : ago + 1]] = 1.0
            else:
                S[i, column[i, "id"]] = 1.0
                S[i, steps[:ago]] = -1.0
        for i in range(m if ago < k else 0):
            S[p + i, column[p + k * p + ago * m + i, "id"]] = 1.0
        for i, angle in enumerate(angles):
            S[p + m + 2 * i, column[angle, "cos"]] = 1.0
            S[p + m + 2 * i + 1, column[angle, "sin"]] = 1.0
    return samples[::-1].copy()


register_features(
    RecurrentFeatures,
    [
        RecurrentFeatures(12, random_state=0),
        RecurrentFeatures(12, recurrence="sparse", random_state=0),
    ],
    compiled=False,
)
