"""Variables that leave the program: those an equality defines, and inputs put as u = M v."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compile.program import (
    AffineMap,
    AffineQP,
    ParametricQP,
    QuadraticMap,
    column_units,
)


def without_defined_variables(qp: AffineQP) -> AffineQP:
    """Solve equalities for variables that occur in no other one, and put the result in."""
    n = qp.P.shape[0]
    usable = np.ones(n, dtype=bool)
    usable[qp.wanted] = False
    left = np.ones(n, dtype=bool)
    T, k = sp.csr_array(sp.eye_array(n)), _nothing(n, qp.q.matrix.shape[1])
    E, b, names = qp.E, qp.b, np.array(qp.names[0], dtype=object)  # what was found is put in
    while True:
        rows, columns = _pivots(E, usable & left)
        if not len(rows):
            return _substituted(qp, T[:, left], k, (sp.csr_array(E[:, left]), b, names), left)
        left[columns] = False
        step, shift = _solved_for(E, b, rows, columns, left)
        T, k = sp.csr_array(T @ step), k + shift.times(T)
        others = np.setdiff1d(np.arange(E.shape[0]), rows)
        names = names[others]
        b = b[others] + shift.times(-E[others])
        E = _tidy(E[others] @ step)


def _nothing(n: int, t: int) -> AffineMap:
    return AffineMap(np.zeros(n), sp.csr_array((n, t)))


def _tidy(M: Any) -> sp.csr_array:
    """Forget entries that are stored but zero."""
    tidied: sp.csr_array = sp.csr_array(M)
    tidied.eliminate_zeros()
    return tidied


def _pivots(E: sp.csr_array, usable: Any) -> tuple[Index, Index]:
    """Pair equality rows with a column that occurs in no other equality; largest entry first."""
    E = _tidy(E)
    candidates = usable & (np.bincount(E.indices, minlength=E.shape[1]) == 1)
    rows, pivots = [], []
    for i in range(E.shape[0]):
        part = slice(E.indptr[i], E.indptr[i + 1])
        good = candidates[E.indices[part]]
        if good.any():
            sizes = np.where(good, np.abs(E.data[part]), 0.0)
            rows.append(i)
            pivots.append(int(E.indices[part][np.argmax(sizes)]))
    return np.array(rows, dtype=np.int64), np.array(pivots, dtype=np.int64)


def _solved_for(
    E: sp.csr_array, b: AffineMap, rows: Index, columns: Index, left: Any
) -> tuple[sp.csr_array, AffineMap]:
    """Solve rows of E x = b for one column each: x = step x' + shift, x' being the columns left."""
    n, count = E.shape[1], len(rows)
    place = sp.csr_array((np.ones(count), (columns, np.arange(count))), (n, count))
    inverse = sp.diags_array(1.0 / E[rows][np.arange(count), columns])
    keep = sp.diags_array(left.astype(float))
    step = sp.csr_array(keep - place @ inverse @ (E[rows] @ keep))
    return step, b[rows].times(place @ inverse)


def _substituted(
    qp: AffineQP, T: Any, k: AffineMap, equalities: tuple[sp.csr_array, AffineMap, Any], left: Any
) -> AffineQP:
    """Put x = T x' + k(theta) into cost and inequalities."""
    position = np.cumsum(left) - 1
    return AffineQP(
        P=sp.csr_array(T.T @ qp.P @ T),
        q=(qp.q + k.times(qp.P)).times(sp.csr_array(T.T)),
        c=_constant(qp, k),
        E=equalities[0],
        b=equalities[1],
        F=_tidy(qp.F @ T),
        g=qp.g + k.times(-qp.F),
        columns={name: position[c] for name, c in qp.columns.items()},
        names=(tuple(equalities[2]), qp.names[1]),
        recovery=replace(qp.recovery, matrix=sp.csr_array(T), shift=k),
    )


def _constant(qp: AffineQP, k: AffineMap) -> QuadraticMap:
    """Collect c + k'Pk/2 + q'k, the part of the cost that no longer depends on variables."""
    Pk, PK = qp.P @ k.constant, qp.P @ k.matrix
    return QuadraticMap(
        qp.c.constant + float(k.constant @ (0.5 * Pk + qp.q.constant)),
        qp.c.linear + k.matrix.T @ (Pk + qp.q.constant) + qp.q.matrix.T @ k.constant,
        qp.c.quadratic + (0.5 * (k.matrix.T @ PK) + qp.q.matrix.T @ k.matrix).toarray(),
    )


DIGITS = 10  # rows whose entries agree to so many are parallel
SLACK = 1e-12  # relative; a bound exceeded by less is kept
ROUNDING = 1e-14  # relative; entries below are none


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
    steps = (c.reshape(len(c), -1) for c in qp.columns.values() if c.ndim)
    units = column_units(qp.A, [of_one for c in steps for of_one in c.T])
    seen: dict[bytes, int] = {}
    for i in np.flatnonzero(_is_fixed(qp)):
        size = np.abs(A[i]) * units
        nonzero = np.flatnonzero(size > ROUNDING * size.max(initial=0.0))
        if not len(nonzero):
            continue
        scale = A[i, nonzero[0]]
        A[i] /= scale
        sides = np.array([lower[i], upper[i]]) / scale
        lower[i], upper[i] = sides.min(), sides.max()
        shape = A[i] * (units / units[nonzero[0]])
        first = seen.setdefault((np.round(shape, DIGITS) + 0.0).tobytes(), int(i))
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
    slack = SLACK * np.where(np.isfinite(ends), np.abs(ends), 0.0).max(axis=0).sum(axis=1)
    implied = (least >= qp.lower.constant - slack) & (most <= qp.upper.constant + slack)
    return _picked(qp, np.flatnonzero(~(implied & fixed & ~single)))
