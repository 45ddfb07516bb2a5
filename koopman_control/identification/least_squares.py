"""The least-squares engine: the R factor of [regressors | targets] is all a fit needs to keep.

Rows can be added, and factors of different data merged, without ever forming a Gram matrix, so no
digits are lost to squaring the condition number. One singular value decomposition of the regressor
block then solves the ridge problem for every regularisation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array


@dataclass(frozen=True)
class RFactor:
    """Triangular factor of [Phi | Y], with Phi of shape (T, k) and Y of shape (T, q).

    Args:
        R: Upper triangular (or trapezoidal) factor, shape (r, k + q), r <= k + q.
        n_regressors: Number of regressors k.
        n_samples: Number of rows T seen so far.
    """

    R: Array
    n_regressors: int
    n_samples: int

    @classmethod
    def of(cls, Phi: Array, Y: Array) -> RFactor:
        """Factorise regressors of shape (T, k) beside targets of shape (T, q)."""
        return cls(_triangular(np.hstack([Phi, Y])), Phi.shape[1], len(Phi))

    @classmethod
    def merged(cls, factors: Iterable[RFactor]) -> RFactor:
        """Combine the factors of disjoint data; the result is that of all rows together."""
        parts = list(factors)
        R = _triangular(np.vstack([part.R for part in parts]))
        return cls(R, parts[0].n_regressors, sum(part.n_samples for part in parts))

    def solver(self) -> RidgeSolver:
        """Decompose the regressor block, once for all regularisations."""
        k = self.n_regressors
        U, s, Vt = np.linalg.svd(self.R[: min(k, len(self.R)), :k], full_matrices=False)
        return RidgeSolver(s, Vt.T, U.T @ self.R[: min(k, len(self.R)), k:], self.n_samples)


@dataclass(frozen=True)
class RidgeSolver:
    """Ridge regression min |Phi K - Y|^2 / T + regularization |K|^2 for any regularisation.

    Args:
        singular_values: Singular values of the regressors, descending, shape (r,).
        directions: Right singular vectors, shape (k, r).
        projections: Targets in the left singular basis, shape (r, q).
        n_samples: Number of samples T.
    """

    singular_values: Array
    directions: Array
    projections: Array
    n_samples: int

    def solve(self, regularization: float) -> Array:
        """Return K of shape (k, q); singular directions at rounding level are dropped."""
        s = self.singular_values
        floor = s[0] * len(self.directions) * np.finfo(np.float64).eps
        kept = s > floor
        gain = np.zeros_like(s)
        gain[kept] = s[kept] / (s[kept] ** 2 + regularization * self.n_samples)
        return self.directions @ (gain[:, None] * self.projections)

    @property
    def condition_number(self) -> float:
        """Ratio of the largest to the smallest singular value of the regressors."""
        smallest = self.singular_values[-1]
        return float(self.singular_values[0] / smallest) if smallest > 0.0 else float("inf")


def _triangular(M: Array) -> Array:
    """Return the R factor of M, shape (min(rows, columns), columns)."""
    return np.asarray(np.linalg.qr(M, mode="r"), dtype=np.float64)
