"""Putting u = M v into a compiled problem, and dropping the rows that this makes redundant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compilation.maps import AffineMap
from koopman_control.mpc.compilation.parametric import ParametricQP

DIGITS = 10  # rows whose entries agree to so many are parallel
SLACK = 1e-12  # relative; a bound exceeded by less is kept


def with_inputs(qp: ParametricQP, M: Array) -> ParametricQP:
    """Replace the inputs of a compiled problem by fewer values.

    Args:
        qp: The problem; its variables "u" have shape (N, m).
        M: Weights of the values in every step, shape (N, K).

    Returns:
        The problem in which "u" is the values, shape (K, m). Parallel rows are joined, and rows
        dropped that bounds on single variables imply.
    """
    u = qp.columns["u"]
    m, n_values = u.shape[1], M.shape[1] * u.shape[1]
    others = np.setdiff1d(np.arange(len(qp.P)), u)
    T = np.zeros((len(qp.P), n_values + len(others)))
    T[u.ravel(), :n_values] = np.kron(M, np.eye(m))
    T[others, n_values + np.arange(len(others))] = 1.0
    position = np.zeros(len(qp.P), dtype=np.int64)
    position[others] = n_values + np.arange(len(others))
    columns = {name: position[c] for name, c in qp.columns.items()}
    columns["u"] = np.arange(n_values).reshape(-1, m)
    recovery = replace(qp.recovery, matrix=sp.csr_array(qp.recovery.matrix @ sp.csr_array(T)))
    put_in = replace(
        qp, P=T.T @ qp.P @ T, q=qp.q.times(T.T), A=qp.A @ T, columns=columns, recovery=recovery
    )
    return _without_implied_rows(_joined(put_in))


def _picked(qp: ParametricQP, rows: Index) -> ParametricQP:
    return replace(
        qp,
        A=qp.A[rows],
        lower=qp.lower[rows],
        upper=qp.upper[rows],
        linear_weight=qp.linear_weight[rows],
        quadratic_weight=qp.quadratic_weight[rows],
        row_names=tuple(qp.row_names[i] for i in rows),
        recovery=replace(qp.recovery, excess=sp.csr_array(qp.recovery.excess[:, rows])),
    )


def _is_fixed(qp: ParametricQP) -> Any:
    """Mark hard rows whose sides do not depend on parameters."""
    moving = np.diff(qp.lower.matrix.indptr) + np.diff(qp.upper.matrix.indptr) > 0
    return ~moving & ~np.isfinite(qp.linear_weight)


def _joined(qp: ParametricQP) -> ParametricQP:
    """Make one row of parallel hard rows with fixed sides: the tightest."""
    lower, upper = qp.lower.constant.copy(), qp.upper.constant.copy()
    A, kept = qp.A.copy(), np.ones(len(qp.A), dtype=bool)
    seen: dict[bytes, int] = {}
    for i in np.flatnonzero(_is_fixed(qp)):
        nonzero = np.flatnonzero(np.abs(A[i]) > 1e-14)
        if not len(nonzero):
            continue
        scale = A[i, nonzero[0]]
        A[i] /= scale
        sides = np.array([lower[i], upper[i]]) / scale
        lower[i], upper[i] = sides.min(), sides.max()
        first = seen.setdefault((np.round(A[i], DIGITS) + 0.0).tobytes(), int(i))
        if first != i:
            lower[first], upper[first] = max(lower[first], lower[i]), min(upper[first], upper[i])
            kept[i] = False
    joined = replace(
        qp,
        A=A,
        lower=AffineMap(lower, qp.lower.matrix),
        upper=AffineMap(upper, qp.upper.matrix),
    )
    return _picked(joined, np.flatnonzero(kept))


def _without_implied_rows(qp: ParametricQP) -> ParametricQP:
    """Drop fixed rows that the fixed bounds on single variables imply."""
    fixed = _is_fixed(qp)
    single = fixed & (np.count_nonzero(qp.A, axis=1) == 1)
    low, high = np.full(len(qp.P), -np.inf), np.full(len(qp.P), np.inf)
    for i in np.flatnonzero(single):  # joined, so there is one for each variable
        j = int(np.argmax(qp.A[i] != 0.0))
        low[j], high[j] = qp.lower.constant[i], qp.upper.constant[i]
    with np.errstate(invalid="ignore"):
        ends = np.stack([qp.A * low, qp.A * high])
    ends[:, qp.A == 0.0] = 0.0  # not 0 times infinity
    least, most = ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1)
    slack = SLACK * (1.0 + np.abs(qp.A).sum(axis=1))
    implied = (least >= qp.lower.constant - slack) & (most <= qp.upper.constant + slack)
    return _picked(qp, np.flatnonzero(~(implied & fixed & ~single)))
