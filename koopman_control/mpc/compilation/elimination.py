"""Elimination: variables that an equality of their own defines leave the program.

CVXPY writes sum_squares(y - r) as a new variable t with t == y - r; this puts it back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Index
from koopman_control.mpc.compilation.maps import AffineMap, AffineQP, QuadraticMap


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
