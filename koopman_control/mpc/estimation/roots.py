"""Kalman filtering on square roots of covariances, so that they stay positive semidefinite.

A covariance P is held as a root L with L L' = P. Both updates are one orthogonal triangularisation
(Kailath, Sayed & Hassibi, Linear Estimation, 2000, chapter 12).
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.identification.least_squares import triangular


def predicted_root(root: Array, F: Array, noise_root: Array) -> Array:
    """Root (n, n) of F P F' + Q."""
    return _triangular(np.hstack([F @ root, noise_root]))


def corrected_root(root: Array, H: Array, noise_root: Array) -> tuple[Array, Array]:
    """Gain (n, p) of a measurement H x with noise, and the root (n, n) left after it.

    Args:
        root: Root of P before, shape (n, n).
        H: What is measured, shape (p, n).
        noise_root: Root of the noise's covariance, shape (p, r), of full row rank.
    """
    p = len(H)
    nothing = np.zeros((len(root), noise_root.shape[1]))
    joint = np.block([[noise_root, H @ root], [nothing, root]])
    L = _triangular(joint)
    gain = scipy.linalg.solve_triangular(L[:p, :p], L[p:, :p].T, lower=True, trans="T").T
    return np.asarray(gain), L[p:, p:]


def covariance_root(P: Array) -> Array:
    """Symmetric root of a positive semidefinite covariance (n, n)."""
    values, vectors = np.linalg.eigh(P)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _triangular(wide: Array) -> Array:
    """Lower triangular L (n, n) with L L' = M M' for M of shape (n, k), k >= n."""
    return triangular(wide.T).T
