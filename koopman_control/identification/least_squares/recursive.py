"""Recursive least squares with forgetting, one sample at a time.

The covariance P = S S^T of the coefficients is carried by its square root S (Potter's form:
Bierman, Factorization Methods for Discrete Sequential Estimation, 1977, sec. II.2), so rounding can
never make it indefinite. S and the coefficients K stand side by side in one matrix, because both
receive the same left vector: a sample costs two products with a vector and one rank-one update,
whatever the number of targets.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas

from koopman_control.common.arrays import Array, finite_array, positive_float

SMALLEST_ROOT = 1e-100  # of what is forgotten; the scale is multiplied out before it underflows


class RecursiveLeastSquares:
    """Ridge regression of targets y on regressors phi, one sample at a time.

    After T samples the coefficients K minimise
    sum_t forgetting^(T - t) |phi_t K - y_t|^2 + prior_weight |K - K_0|^2, where the prior is
    forgotten like a sample at t = 0 (or kept: see `retain`).

    Args:
        start: Coefficients K_0 known before any sample, shape (k, q).
        prior_weight: Trust in `start`, above 0: the weight of |K - K_0|^2.
        forgetting: Weight of a sample against the next one, in (0, 1]; about
            1 / (1 - forgetting) samples count.
        retain: Give back to the prior what forgetting takes from it, one coefficient row per
            sample in turn. Directions that no recent sample excites then return to `start` instead
            of becoming ever more uncertain ("wind-up").

    Raises:
        ValueError: If start is not a finite matrix, or a number is out of range.

    Example:
        >>> rls = RecursiveLeastSquares(np.zeros((1, 1)), prior_weight=1e-9)
        >>> rls.update([2.0], [6.0])
        >>> rls.coefficients.round(6)
        array([[3.]])
    """

    def __init__(
        self,
        start: Array,
        *,
        prior_weight: float,
        forgetting: float = 1.0,
        retain: bool = True,
    ) -> None:
        self._start = finite_array("start", start, ndim=2).copy()
        weight = positive_float("prior_weight", prior_weight)
        if not 0.0 < positive_float("forgetting", forgetting) <= 1.0:
            raise ValueError(f"forgetting is {forgetting}; expected a number in (0, 1]")
        k = len(self._start)
        S = np.eye(k) / np.sqrt(weight)
        self._M = np.asfortranarray(np.hstack([S, self._start]))  # [S / root | K]
        self._S = self._M[:, :k]
        self._root = 1.0  # S is this times what is stored: forgetting then costs nothing
        self._forgetting = float(forgetting)
        self._back = k * (1.0 - self._forgetting) * weight if retain else 0.0
        self.n_samples = 0

    @property
    def coefficients(self) -> Array:
        """Current coefficients K, shape (k, q); a copy."""
        return np.array(self._M[:, len(self._M) :], order="C")

    @property
    def covariance(self) -> Array:
        """Covariance P of the coefficients for targets with noise of variance 1, shape (k, k)."""
        P: Array = self._root**2 * (self._S @ self._S.T)
        return P

    def update(self, phi: Array, y: Array) -> None:
        """Take in one sample: regressors phi of shape (k,), targets y of shape (q,).

        Raises:
            ValueError: If the sample is of the wrong length or not finite; nothing is changed.
        """
        k, q = self._start.shape
        self.update_unchecked(
            finite_array("phi", phi, shape=(k,)), finite_array("y", y, shape=(q,))
        )

    def update_unchecked(self, phi: Array, y: Array) -> None:
        """Take in one sample without checks, for the control loop."""
        products = blas.dgemv(1.0, self._M, phi, trans=1)  # [S^T phi / root | K^T phi]
        self._correct(products, y, self._forgetting)
        if self._back:
            i = self.n_samples % len(self._M)
            weight = np.sqrt(self._back)
            products = weight * self._M[i]
            self._correct(products, weight * self._start[i], 1.0)
        self.n_samples += 1

    def _correct(self, products: Array, y: Array, forgetting: float) -> None:
        """Apply one row, given its products with the columns of [S / root | K]."""
        k = len(self._M)
        f = products[:k]
        gain = blas.dgemv(1.0, self._S, f)  # P phi / root^2
        squared = self._root**2
        size = forgetting + squared * float(f @ f)
        right = np.empty_like(products)
        np.multiply(f, -squared / (size + np.sqrt(forgetting * size)), out=right[:k])
        np.multiply(y - products[k:], squared / size, out=right[k:])
        blas.dger(1.0, gain, right, a=self._M, overwrite_a=1)
        self._root /= np.sqrt(forgetting)
        if self._root > 1.0 / SMALLEST_ROOT:
            self._S *= self._root
            self._root = 1.0
