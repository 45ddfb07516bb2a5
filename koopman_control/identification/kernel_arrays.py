"""What the compiled loops of `kernels` read and fill, as plain arrays; importing needs no numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array

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


class Constants(NamedTuple):
    """Everything of a one-step map that the loops read; r runs over (1 + q) d rates.

    Args:
        plain: States that are feature inputs themselves.
        angles: States that are angles.
        features: Of the feature inputs, with v values.
        inputs: Of the inputs, with q values: what enters.
        constant: Rates where all values are zero, shape (r,).
        coefficients: Rates per value, shape (r, v).
        low: Lower limits, shape (d,).
        high: Upper limits, shape (d,).
        saturating: States the plant holds at their limit.
        state_sizes: What is much of each state, shape (d,).
        input_sizes: What is much of what enters, shape (q,).
    """

    plain: np.ndarray
    angles: np.ndarray
    features: Features
    inputs: Features
    constant: Array
    coefficients: Array
    low: Array
    high: Array
    saturating: np.ndarray
    state_sizes: Array
    input_sizes: Array


class FreeRun(NamedTuple):
    """Everything of a re-lifted model with a memory that `output_error`'s loops read.

    Args:
        plain: States that are feature inputs themselves.
        angles: States that are angles.
        features: Of the feature inputs.
        places: Of the features among their values, shape (h,).
        center: What standardising takes off the feature inputs, shape (e,).
        scale: What it divides them by, shape (e,).
        low: Lower limits of the outputs, shape (p,).
        high: Upper limits, shape (p,).
        largest: Increments from which on a run counts as diverged, shape (p,).
        memory: Past samples in the state.
        bilinear: Whether inputs also multiply the regressors.
    """

    plain: np.ndarray
    angles: np.ndarray
    features: Features
    places: NDArray[np.int64]
    center: Array
    scale: Array
    low: Array
    high: Array
    largest: Array
    memory: int
    bilinear: bool


NO_GAIN, NO_INPUT = np.zeros((1, 0)), np.zeros(0)  # where changes of inputs do not matter


class Regulator(NamedTuple):
    """u - K (x - target) - L (u_before - u) inside a box, which takes plans over.

    Args:
        target: Target state, shape (d,).
        u: Target input, shape (m,).
        K: Gain of the state, shape (m, d).
        box: Lowest and highest input, shape (2, m).
        L: Gain of the input before, shape (m, m); (m, 0) where changes cost nothing.
        before: Input before the first step, shape (m,).
    """

    target: Array
    u: Array
    K: Array
    box: Array
    L: Array = NO_GAIN
    before: Array = NO_INPUT

    def inputs(self, deviation: Array, before: Array) -> Array:
        """Return the inputs (S, m) at states that deviate by (S, d) from the target.

        `before` are the inputs before, (m,) or (S, m).
        """
        u = self.u - deviation @ self.K.T
        if self.L.size:
            u -= (before - self.u) @ self.L.T
        return np.asarray(np.minimum(np.maximum(u, self.box[0]), self.box[1]))
