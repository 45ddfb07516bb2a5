"""The least-squares engine: the R factor of [regressors | targets] is all a fit needs to keep.

Rows can be added, and factors of different data merged, without ever forming a Gram matrix, so no
digits are lost to squaring the condition number. One singular value decomposition of the regressor
block then solves the ridge problem for every regularisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array


@dataclass(frozen=True)
class RFactor:
    """Triangular factor of [Phi | Y], with Phi of shape (T, k) and Y of shape (T, q).

    Args:
        R: Upper triangular (or trapezoidal) factor, shape (r, k + q), r <= k + q. Rows below the
            k-th say how well the regressors explain the targets; a factor accumulated from a
            stream has none.
        n_regressors: Number of regressors k.
        n_samples: Number of rows T seen so far, or the sum of their weights.
    """

    R: Array
    n_regressors: int
    n_samples: float

    @classmethod
    def of(cls, Phi: Array, Y: Array) -> RFactor:
        """Factorise regressors of shape (T, k) beside targets of shape (T, q)."""
        return cls(triangular(np.hstack([Phi, Y])), Phi.shape[1], len(Phi))

    @classmethod
    def merged(cls, factors: Iterable[RFactor]) -> RFactor:
        """Combine the factors of disjoint data; the result is that of all rows together."""
        parts = list(factors)
        R = triangular(np.vstack([part.R for part in parts]))
        return cls(R, parts[0].n_regressors, sum(part.n_samples for part in parts))

    def solver(self, truncate: bool = False) -> RidgeSolver:
        """Decompose the regressor block, once for all regularisations; see `RidgeSolver`."""
        k = self.n_regressors
        U, s, Vt = decomposed(self.R[:k, :k])
        return RidgeSolver(s, Vt.T, U.T @ self.R[:k, k:], self.n_samples, truncate)


@dataclass(frozen=True)
class RidgeSolver:
    """Ridge regression min |Phi K - Y|^2 / T + regularization |K|^2 for any regularisation.

    Args:
        singular_values: Singular values of the regressors, descending, shape (r,).
        directions: Right singular vectors, shape (k, r).
        projections: Targets in the left singular basis, shape (r, q).
        n_samples: Number of samples T, or the sum of their weights.
        truncate: Drop the directions that ridge would shrink to less than half, and shrink none
            (truncated singular value decomposition).
    """

    singular_values: Array
    directions: Array
    projections: Array
    n_samples: float
    truncate: bool = False

    def solve(self, regularization: float | Array, targets: Sequence[int] | None = None) -> Array:
        """Return K of shape (k, q); singular directions at rounding level are dropped.

        Args:
            regularization: One strength, or one for each target, shape (q,).
            targets: The targets to solve for, which q then counts; None: all.
        """
        projections = self.projections if targets is None else self.projections[:, targets]
        if isinstance(regularization, np.ndarray):
            K = np.empty((len(self.directions), len(regularization)))
            for value in np.unique(regularization):
                alike = regularization == value
                K[:, alike] = self._shrunk(float(value), projections[:, alike])
            return K
        return self._shrunk(regularization, projections)

    def _shrunk(self, regularization: float, projections: Array) -> Array:
        s, ridge = self.singular_values, regularization * self.n_samples
        kept = s > self._floor
        gain = np.zeros_like(s)
        if self.truncate:
            kept &= s**2 >= ridge
            ridge = 0.0
        gain[kept] = s[kept] / (s[kept] ** 2 + ridge)
        return self.directions @ (gain[:, None] * projections)

    @property
    def rank(self) -> int:
        """Number of directions that the data determine beyond rounding."""
        return int((self.singular_values > self._floor).sum())

    @property
    def _floor(self) -> float:
        eps = float(np.finfo(np.float64).eps)
        return float(self.singular_values.max(initial=0.0)) * len(self.directions) * eps

    @property
    def condition_number(self) -> float:
        """Ratio of the largest to the smallest singular value of the regressors."""
        s = self.singular_values
        full = len(s) == len(self.directions) and s[-1] > 0.0
        return float(s[0] / s[-1]) if full else float("inf")


def decomposed(M: Array) -> tuple[Array, Array, Array]:
    """Decompose into U, s, V', by QR iterations where divide and conquer does not converge.

    That was seen on a finite matrix of 225 columns with singular values at rounding level.
    """
    try:
        U, s, Vt = np.linalg.svd(M, full_matrices=False)
    except np.linalg.LinAlgError:
        if not np.isfinite(M).all():
            raise
        U, s, Vt = scipy.linalg.svd(M, full_matrices=False, lapack_driver="gesvd")
    return U, s, Vt


def triangular(M: Array) -> Array:
    """Return R of M = Q R, a factor of M' M, shape (min(rows, columns), columns)."""
    return np.asarray(np.linalg.qr(M, mode="r"), dtype=np.float64)
