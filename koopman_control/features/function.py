"""Features of one's own: any function of the inputs, with a given or a measured Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.pickling import portable
from koopman_control.features.base import FeatureMap, spread

Differences = Literal["central", "complex"]

CENTRAL_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)  # balances truncation and rounding
COMPLEX_STEP = 1e-100  # nothing is subtracted, so it may be as small as one likes
PROBES = 16  # points at which a given derivative is compared with differences
DISAGREEMENT = 1e-3  # relative; a derivative with a wrong sign or factor is off by about 1


class FunctionFeatures(FeatureMap):
    """Features computed by a function of one's own, standardised.

    A model with such features cannot be saved to a file: that would take running code from files.

    Args:
        function: Maps points of shape (T, e) to features of shape (T, h), row by row.
        derivative: Maps points of shape (T, e) to the derivatives of all features to all inputs,
            shape (T, h, e); None measures them by `differences`.
        differences: "central" differences work for any smooth function, to about ten digits;
            "complex" steps are exact to rounding, but the function must be analytic and take
            complex numbers (no abs, no comparisons).

    Attributes:
        center_: Mean of the function's values on the data, shape (h,); taken off.
        scale_: Standard deviation of the function's values on the data, shape (h,); divided by.
        steps_: Steps of the central differences in the units of the inputs, shape (e,).

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> FunctionFeatures(lambda x: x[:, :1] * np.sin(x[:, 1:])).fit(X).transform(X).shape
        (200, 1)
    """

    center_: Array
    scale_: Array
    steps_: Array

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        derivative: Callable[[Array], Any] | None = None,
        differences: Differences = "central",
    ) -> None:
        self.function = function
        self.derivative = derivative
        self.differences = differences

    def __getstate__(self) -> dict[str, Any]:
        """Let a lambda travel to another process, too."""
        own = {name: portable(vars(self)[name]) for name in ("function", "derivative")}
        return {**super().__getstate__(), **own}

    @property
    def _n_features_out(self) -> int:
        return len(self.center_)

    def _fit(self, X: Array, y: Array | None) -> None:
        H = finite_array("what function returned", self.function(X), shape=(len(X), None))
        self.center_, self.scale_ = H.mean(axis=0), spread(H)
        self.steps_ = CENTRAL_STEP * spread(X)
        self._check_single_rows(X, H)
        probes = X[np.linspace(0, len(X) - 1, min(PROBES, len(X))).astype(int)]
        self._check_derivative(probes)

    def values(self, X: Array) -> Array:
        """Evaluate without checks, shape (..., e) to (..., h)."""
        H = np.asarray(self.function(X.reshape(-1, X.shape[-1])), dtype=np.float64)
        standard: Array = (H - self.center_) / self.scale_
        return standard.reshape(*X.shape[:-1], len(self.center_))

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        points = X.reshape(-1, X.shape[-1])
        if self.derivative is None:
            J = self._measured(points)
        else:
            J = np.asarray(self.derivative(points), dtype=np.float64)
        J = J / self.scale_[:, None]
        return J.reshape(*X.shape[:-1], len(self.center_), X.shape[-1])

    def _measured(self, X: Array) -> Array:
        """Measure the function's derivatives at X, shape (T, e), by differences; (T, h, e)."""
        steps = np.diag(self.steps_)
        if self.differences == "complex":
            columns = [
                np.imag(self.function(X + 1j * COMPLEX_STEP * r)) for r in np.eye(len(steps))
            ]
            return np.stack(columns, axis=-1) / COMPLEX_STEP
        ends = [(X + step, X - step) for step in steps]
        # What was really stepped: adding a small step to a large number rounds it.
        return np.stack(
            [
                (np.asarray(self.function(b)) - np.asarray(self.function(a)))
                / (b - a)[:, j : j + 1]
                for j, (b, a) in enumerate(ends)
            ],
            axis=-1,
        )

    def _check_single_rows(self, X: Array, H: Array) -> None:
        """Raise a ValueError if the function mixes rows or fails on a single one."""
        alone = finite_array("what function returned", self.function(X[:1]), shape=(1, H.shape[1]))
        if np.abs(alone[0] - H[0]).max(initial=0.0) > 1e-6 * np.abs(H[0]).max(initial=1.0):
            raise ValueError(
                "function gives a point other features alone than among others; expected a "
                "function that treats every row by itself"
            )

    def _check_derivative(self, X: Array) -> None:
        """Raise a ValueError if the derivatives cannot be had or a given one is wrong."""
        shape = (len(X), len(self.center_), X.shape[1])
        if self.derivative is None:
            finite_array("the measured derivative of function", self._measured(X), shape=shape)
            return
        given = finite_array("what derivative returned", self.derivative(X), shape=shape)
        measured = self._measured(X)
        # The median, as at kinks both are right and differ.
        error = np.median(np.abs(given - measured), axis=0)
        size = np.abs(measured).max(axis=0) + 1e-3 * np.abs(measured).max(initial=0.0)
        if (error > DISAGREEMENT * size + 1e-9 * self.scale_[:, None] / spread(X)).any():
            h, e = np.unravel_index(int(np.argmax(error - DISAGREEMENT * size)), error.shape)
            raise ValueError(
                f"derivative of feature {h} to input {e} is off by {error[h, e]:.3g} from the "
                f"differences of function, which are up to {size[h, e]:.3g}; correct it, or leave "
                "it out"
            )
