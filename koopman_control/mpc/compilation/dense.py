"""The dense program that solvers are given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array


class DenseQP(NamedTuple):
    """min v'Hv/2 + f'v + penalties, lower <= [v; A v] <= upper; the first n sides bound v itself.

    Rows of A with finite weights are soft, as in `ParametricQP`.
    """

    H: Array
    f: Array
    A: Array
    lower: Array
    upper: Array
    linear_weight: Array
    quadratic_weight: Array

    @property
    def soft(self) -> NDArray[np.bool_]:
        """Which rows of A may be violated at a price, shape (r,)."""
        return np.isfinite(self.linear_weight)

    @property
    def cost_size(self) -> float:
        """Size of H's diagonal or of f, whichever is larger; of prices where both are zero."""
        diagonal = np.abs(np.diagonal(self.H)).mean()
        own = float(max(diagonal, np.abs(self.f).max(initial=0.0)))
        return own or float(self.linear_weight[self.soft].max(initial=0.0)) or 1.0

    def divided(self, size: float) -> DenseQP:
        """Divide the cost by a positive number; the solution stays."""
        return self._replace(
            H=self.H / size,
            f=self.f / size,
            linear_weight=self.linear_weight / size,
            quadratic_weight=self.quadratic_weight / size,
        )

    def violation(self, v: Array) -> Array:
        """How far rows of A lie beyond their sides at v (n,), shape (r,)."""
        rows, n = self.A @ v, len(self.f)
        return np.maximum(0.0, np.maximum(rows - self.upper[n:], self.lower[n:] - rows))

    def cost(self, v: Array) -> float:
        """Cost at v (n,), penalties of soft rows included."""
        over = self.violation(v)[self.soft]
        penalty = self.linear_weight[self.soft] + 0.5 * self.quadratic_weight[self.soft] * over
        return float((0.5 * (self.H @ v) + self.f) @ v + penalty @ over)
