"""One-step maps whose features see states and inputs together, as those of a sampled RNN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array, bounds_array, finite_array
from koopman_control.common.border import check_fields
from koopman_control.features import FeatureMap


@dataclass(frozen=True, eq=False)
class JointMap:
    """y+ = mean over members of (constant + e linear + features(e) nonlinear), standardised.

    e holds the standardised state, [y, steps of y, past inputs] as of `Coordinates`, and inputs.
    Nothing is known of y+ beyond the bounds, where it is held.

    Args:
        features: Fitted feature maps of e, one for each member.
        constant: Mean constant, shape (p,).
        linear: Mean linear part, shape (e, p).
        nonlinear: Shape (h, p) for each member.
        center: Means of y and u, shape (p + m,).
        scale: Standard deviations of y and u, shape (p + m,).
        bounds: Lowest and highest standardised y, shape (2, p).
        memory: Number of past steps in the state.
    """

    features: Sequence[FeatureMap]
    constant: Array
    linear: Array
    nonlinear: Sequence[Array]
    center: Array
    scale: Array
    bounds: Array
    memory: int

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        check_fields(self)
        p, m = self.n_outputs, self.n_inputs
        size = p + self.memory * (p + m) + m
        finite_array("constant", self.constant, shape=(p,))
        finite_array("linear", self.linear, shape=(size, p))
        finite_array("center", self.center, shape=(p + m,))
        scale = finite_array("scale", self.scale, shape=(p + m,))
        bounds_array("bounds", self.bounds, p)
        if m < 1 or (scale <= 0.0).any() or not len(self.features) == len(self.nonlinear) > 0:
            raise ValueError("the parts of a joint map do not fit together")
        for features, nonlinear in zip(self.features, self.nonlinear, strict=True):
            finite_array("nonlinear", nonlinear, shape=(features._n_features_out, p))
            if features.n_features_in_ != size:
                raise ValueError(f"features take {features.n_features_in_} inputs; expected {size}")

    @property
    def n_outputs(self) -> int:
        """Number of outputs p."""
        return len(self.constant)

    @property
    def n_inputs(self) -> int:
        """Number of inputs m."""
        return len(self.center) - len(self.constant)

    def step(self, x: Array, u: Array) -> Array:
        """Advance states of shape (S, d) under inputs of shape (S, m) by one sample."""
        y = np.clip(self._standard(self._arguments(x, u)), self.bounds[0], self.bounds[1])
        p = self.n_outputs
        return self._advanced(x, u, y * self.scale[:p] + self.center[:p])

    def jacobians(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Differentiate `step`: F of shape (S, d, d) and G of shape (S, d, m)."""
        e, p, d = self._arguments(x, u), self.n_outputs, x.shape[1]
        J = np.broadcast_to(self.linear.T, (len(x), p, e.shape[1])).copy()
        for features, nonlinear in zip(self.features, self.nonlinear, strict=True):
            J += np.einsum("hp,she->spe", nonlinear, features.derivatives(e)) / len(self.features)
        y = self._standard(e)
        J[(y < self.bounds[0]) | (y > self.bounds[1])] = 0.0
        J *= self.scale[:p, None] / self._scales
        F, G = self._shifts(len(x), d)
        F[:, :p], G[:, :p] = J[:, :, :d], J[:, :, d:]
        if self.memory:  # the newest step is y+ - y
            F[:, p : 2 * p] = J[:, :, :d]
            F[:, p : 2 * p, :p] -= np.eye(p)
            G[:, p : 2 * p] = J[:, :, d:]
        return F, G

    @property
    def _scales(self) -> Array:
        p, k = self.n_outputs, self.memory
        of_y, of_u = self.scale[:p], self.scale[p:]
        return np.concatenate([np.tile(of_y, 1 + k), np.tile(of_u, k + 1)])

    @property
    def _centers(self) -> Array:
        p, k = self.n_outputs, self.memory
        of_y, of_u = self.center[:p], self.center[p:]
        return np.concatenate([of_y, np.zeros(k * p), np.tile(of_u, k + 1)])

    def _arguments(self, x: Array, u: Array) -> Array:
        return (np.concatenate([x, u], axis=1) - self._centers) / self._scales

    def _standard(self, e: Array) -> Array:
        y = self.constant + e @ self.linear
        for features, nonlinear in zip(self.features, self.nonlinear, strict=True):
            y = y + features.values(e) @ nonlinear / len(self.features)
        return np.asarray(y)

    def _advanced(self, x: Array, u: Array, y: Array) -> Array:
        """Put the next state together of the present one, the input and the next outputs."""
        if not self.memory:
            return y
        p, m = self.n_outputs, self.n_inputs
        edge = p * (1 + self.memory)
        parts = [y, y - x[:, :p], x[:, p : edge - p], u, x[:, edge : x.shape[1] - m]]
        return np.concatenate(parts, axis=1)

    def _shifts(self, S: int, d: int) -> tuple[Array, Array]:
        """Derivatives of what is remembered, zero elsewhere: (S, d, d) and (S, d, m)."""
        p, m, k = self.n_outputs, self.n_inputs, self.memory
        F, G = np.zeros((S, d, d)), np.zeros((S, d, m))
        if k:
            edge = p * (1 + k)
            for j in range(p * (k - 1)):
                F[:, 2 * p + j, p + j] = 1.0
            G[:, edge : edge + m] = np.eye(m)
            for j in range(m * (k - 1)):
                F[:, edge + m + j, edge + j] = 1.0
        return F, G
