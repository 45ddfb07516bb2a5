"""A solution worked out anew from its working set, where multipliers are too large to tell it.

A dual method finds v from multipliers, so v is no more exact than their rounding. Dear sides that
are out of reach make multipliers of 1e10, and these errors of 1e-6; the rows that hold make none.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, qr, solve, solve_triangular

from koopman_control.common.arrays import Array
from koopman_control.mpc.solvers.program import DenseQP

LARGE = 1e6  # multipliers beyond it leave fewer than ten digits of v


def polished(qp: DenseQP, v: Array, multipliers: Array) -> Array:
    """Minimise with the sides that hold as equations, by the null space of their rows.

    Args:
        qp: The program, its variables, rows and cost near one.
        v: Its solution, nearly, shape (n,).
        multipliers: Which tell the sides that hold, and those that are violated at a price,
            shape (n + r,).

    Returns:
        The point, if it keeps the sides better than `v`; else `v`.
    """
    n, rows = len(v), np.vstack([np.eye(len(v)), qp.A])
    side = np.where(multipliers > 0.0, qp.upper, qp.lower)
    eased = np.append(np.zeros(n, dtype=bool), np.abs(multipliers[n:]) > qp.linear_weight)
    held = (multipliers != 0.0) & ~eased
    price = np.sign(multipliers[n:]) * np.where(eased[n:], qp.linear_weight, 0.0)
    square = np.where(eased[n:], qp.quadratic_weight, 0.0)
    H = qp.H + (qp.A.T * square) @ qp.A
    f = qp.f + qp.A.T @ (price - square * np.where(eased[n:], side[n:], 0.0))
    Q, R = qr(rows[held].T)
    k = int(held.sum())
    free = Q[:, k:]
    try:
        better = Q[:, :k] @ solve_triangular(R[:k], side[held], trans="T")
        slope = free.T @ (f + H @ better)
        better -= free @ solve(free.T @ H @ free, slope, assume_a="pos")
    except (LinAlgError, ValueError):  # more rows than variables, or they depend on each other
        return v

    def off(point: Array) -> float:
        at = rows @ point
        beyond = np.maximum(at - qp.upper, qp.lower - at)
        beyond[held] = np.abs(at - side)[held]
        return float(beyond[~eased].max(initial=0.0))

    return better if off(better) <= off(v) else v
