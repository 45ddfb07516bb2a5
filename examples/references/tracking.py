"""Feedback that keeps a plant on a planned trajectory, which alone would drift away."""

from __future__ import annotations

import numpy as np

from koopman_control.common import Array


def feedback_gains(A: Array, B: Array, effort: float = 1.0) -> Array:
    """Return gains (N, m, n) of the time-varying linear-quadratic regulator, by Riccati recursion.

    Args:
        A: State Jacobians along the trajectory (N, n, n).
        B: Input Jacobians (N, n, m).
        effort: Weight of the inputs; states weigh 1.
    """
    n, m = B.shape[1:]
    P, gains = np.eye(n), np.empty((len(A), m, n))
    for k in reversed(range(len(A))):
        PB = P @ B[k]
        gains[k] = np.linalg.solve(effort * np.eye(m) + B[k].T @ PB, PB.T @ A[k])
        P = np.eye(n) + A[k].T @ P @ (A[k] - B[k] @ gains[k])
        P = 0.5 * (P + P.T)
    return gains
