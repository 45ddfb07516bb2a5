"""How well a point meets the optimality conditions of a program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc.compilation.dense import DenseQP


@dataclass(frozen=True)
class Residuals:
    """Largest violations of the optimality conditions; all zero at a solution only.

    Args:
        stationarity: Of H v + f + [I A'] multipliers = 0.
        primal: Of the hard sides.
        complementarity: How far the multipliers are from being the prices of the sides: zero where
            a row is inside, of the right sign on a side, at a soft row's weight beyond it.
    """

    stationarity: float
    primal: float
    complementarity: float


def residuals(qp: DenseQP, v: Array, multipliers: Array) -> Residuals:
    """Measure a point v (n,) with multipliers (n + r,).

    Complementarity says that the point's rows minimise the penalties beside a step along the
    multipliers: rows = prox(rows + multipliers), where prox takes a value beyond a side back to it
    as far as the penalty pays.
    """
    n = len(v)
    rows = np.concatenate([v, qp.A @ v])
    hard = np.full(n, np.inf)
    linear = np.append(hard, qp.linear_weight)
    quadratic = np.append(hard, qp.quadratic_weight)
    moved = rows + multipliers
    above = np.maximum(moved - qp.upper - linear, 0.0) / (1.0 + quadratic)
    below = np.maximum(qp.lower - moved - linear, 0.0) / (1.0 + quadratic)
    priced = np.clip(moved, qp.lower, qp.upper) + above - below
    beyond = np.maximum(rows - qp.upper, qp.lower - rows)[~np.isfinite(linear)]
    slope = qp.H @ v + qp.f + multipliers[:n] + qp.A.T @ multipliers[n:]
    return Residuals(
        stationarity=float(np.abs(slope).max(initial=0.0)),
        primal=float(beyond.max(initial=0.0)),
        complementarity=float(np.abs(rows - priced).max(initial=0.0)),
    )
