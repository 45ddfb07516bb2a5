"""Feature maps as arrays for the compiled loops: neurons side by side, then monomials.

A union of sampled layers, Fourier waves and a polynomial, in any order, becomes one vector of
values [neurons, standardised inputs, monomials], every monomial the product of two entries before
it. The inputs are among the values, so whatever is linear in [1, inputs, features] is linear in
[1, values].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import (
    FeatureMap,
    FeatureUnion,
    FourierFeatures,
    PolynomialFeatures,
    SampledFeatures,
)

ACTIVATION_CODES = {"tanh": 0, "relu": 1, "sine": 2, "softplus": 3}


class Features(NamedTuple):
    """Everything of a feature map of e inputs that the loops read; v = n + e + p values.

    Args:
        weights: Of the neurons, shape (e, n).
        biases: Shape (n,).
        codes: Activation of each layer of neurons.
        ends: Place after the last neuron of each layer.
        center: What standardising takes off the inputs, shape (e,).
        scale: What it divides them by, shape (e,).
        parents: Place of each monomial's first factor among the values, shape (p,).
        factors: Place of its second factor, shape (p,).
    """

    weights: Array
    biases: Array
    codes: NDArray[np.int64]
    ends: NDArray[np.int64]
    center: Array
    scale: Array
    parents: NDArray[np.int64]
    factors: NDArray[np.int64]


class Point(NamedTuple):
    """A feature map at a point: room that the loops fill.

    Args:
        inputs: Shape (e,).
        values: Shape (v,).
        slopes: Of the neurons' activations, shape (n,).
        adjoint: Derivative of something to the values, shape (v,).
        gradient: Derivative of it to the inputs, shape (e,).
    """

    inputs: Array
    values: Array
    slopes: Array
    adjoint: Array
    gradient: Array


class CoveredFeatures:
    """A feature map that the loops can evaluate.

    Args:
        maps: Sampled layers, Fourier waves, and at most one polynomial.
        n_inputs: Number of inputs e.

    Attributes:
        arrays: What the loops read.
    """

    def __init__(self, maps: list[FeatureMap], n_inputs: int) -> None:
        layers = [_layer(item) for item in maps if not isinstance(item, PolynomialFeatures)]
        weights = np.concatenate([np.empty((0, n_inputs)), *(W for W, _, _ in layers)])
        ends = np.cumsum([len(b) for _, b, _ in layers], dtype=np.int64)
        n, none = len(weights), np.empty(0, dtype=np.int64)
        center, scale, parents, factors = np.zeros(n_inputs), np.ones(n_inputs), none, none
        self._places, places_of_layers = none, np.split(np.arange(n), ends[:-1])
        for item in maps:
            if isinstance(item, PolynomialFeatures):
                center, scale = item.center_, item.scale_
                parents, factors = n + item.parents_, n + item.factors_
                places = n + n_inputs + np.arange(len(parents))
            else:
                places = places_of_layers.pop(0)
            self._places = np.concatenate([self._places, places])
        self.arrays = Features(
            weights=np.ascontiguousarray(weights.T),
            biases=np.concatenate([np.empty(0), *(b for _, b, _ in layers)]),
            codes=np.array([code for _, _, code in layers], dtype=np.int64),
            ends=ends,
            center=center,
            scale=scale,
            parents=parents,
            factors=factors,
        )

    def in_values(self, coefficients: Array) -> Array:
        """Turn coefficients of [1, inputs, features], in rows, into those of [1, values]."""
        f, (e, n) = self.arrays, self.arrays.weights.shape
        inputs = coefficients[1 : 1 + e]
        out = np.zeros((1 + n + e + len(f.parents), *coefficients.shape[1:]))
        out[0] = coefficients[0] + np.tensordot(f.center, inputs, 1)
        out[1 + n : 1 + n + e] = (inputs.T * f.scale).T
        out[1 + self._places] = coefficients[1 + e :]
        return out


def covered_features(features: FeatureMap) -> CoveredFeatures | None:
    """Return a fitted map as the loops need it, or None if it is of a kind they do not cover."""
    maps = _side_by_side(features)
    polynomials = sum(isinstance(item, PolynomialFeatures) for item in maps)
    if polynomials > 1 or not all(map(_is_covered, maps)):
        return None
    return CoveredFeatures(maps, int(features.n_features_in_))


def _side_by_side(features: FeatureMap) -> list[FeatureMap]:
    if not isinstance(features, FeatureUnion):
        return [features]
    return [item for part in features.maps_ for item in _side_by_side(part)]


def _is_covered(features: FeatureMap) -> bool:
    if isinstance(features, SampledFeatures):
        return features.n_layers == 1
    return isinstance(features, FourierFeatures | PolynomialFeatures)


def _layer(features: FeatureMap) -> tuple[Array, Array, int]:
    """Return weights (h, e), biases (h,) and activation of neurons."""
    if isinstance(features, SampledFeatures):
        code = ACTIVATION_CODES[features.activation]
        return features.weights_, features.biases_, code
    assert isinstance(features, FourierFeatures)
    W, phases = features.frequencies_, features.phases_.copy()
    phases[: len(W)] += 0.5 * np.pi  # a cosine is a sine a quarter ahead
    return np.concatenate([W, W[: len(phases) - len(W)]]), phases, ACTIVATION_CODES["sine"]
