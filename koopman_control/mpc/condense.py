"""Condensing: predicted outputs y = free + Gamma u leave the program, only the inputs stay.

The cost per step then does not depend on the number of lifted states. For a linear roll-out Gamma
is constant and this is done once; for a re-linearised one it is done again for each guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array
from koopman_control.mpc.dense import DenseQP
from koopman_control.mpc.maps import AffineMap, Index
from koopman_control.mpc.parametric import ParametricQP

EXACT_PENALTY = 1e6  # merit of violating a hard row by one unit


@dataclass(frozen=True)
class Instance:
    """The stated problem at given parameters, before a prediction is put in."""

    q_u: Array
    q_y: Array
    constant: float
    lower: Array
    upper: Array


@dataclass(frozen=True)
class Condensed:
    """The program in u for one Gamma; only vectors are left to fill in at every step."""

    H: Array
    A: Array
    Gamma: Array
    by_free: Array
    on_y: sp.csr_array
    linear_weight: Array
    quadratic_weight: Array

    def at(self, at: Instance, free: Array) -> DenseQP:
        """Fill in parameters and the outputs (N p,) predicted at u = 0."""
        f = at.q_u + at.q_y @ self.Gamma + self.by_free @ free
        lower, upper = at.lower, at.upper
        if self.on_y.shape[0]:  # these rows come last
            moved = self.on_y @ free
            lower, upper = lower.copy(), upper.copy()
            lower[-len(moved) :] -= moved
            upper[-len(moved) :] -= moved
        return DenseQP(self.H, f, self.A, lower, upper, self.linear_weight, self.quadratic_weight)


class Condenser:
    """Turns a compiled problem in (u, y) and a prediction of y into a dense program in u.

    Args:
        qp: Compiled problem whose only variables are "u" and "y".

    Raises:
        ValueError: If the problem has further variables that could not be eliminated.
    """

    def __init__(self, qp: ParametricQP) -> None:
        u, y = qp.columns["u"].ravel(), qp.columns["y"].ravel()
        if len(u) + len(y) != len(qp.P):
            raise ValueError(
                f"the problem keeps {len(qp.P) - len(u) - len(y)} variables beside u and y after "
                "presolve; state it with terms that need no such variables"
            )
        self._n_u, self._constant = len(u), qp.constant
        self._P_uu, self._P_uy = qp.P[np.ix_(u, u)], qp.P[np.ix_(u, y)]
        self._P_yy, self._coupled = qp.P[np.ix_(y, y)], bool(self._P_uy.any())
        self._diagonal = _diagonal(self._P_yy)
        A_u, A_y = qp.A[:, u], qp.A[:, y]
        bound_rows, bound_columns = _simple_bounds(qp, A_u, A_y)
        rows, self._first_on_y = _ordered(A_y, bound_rows)
        on_y = rows[self._first_on_y :]
        self._A_u, self._A_y = A_u[rows], sp.csr_array(A_y[on_y])
        self._on_u = A_u[on_y] if A_u[on_y].any() else None
        self._linear_weight = qp.linear_weight[rows]
        self._quadratic_weight = qp.quadratic_weight[rows]
        # Violations are priced row by row in the merit; hard rows by an exact penalty.
        hard = ~np.isfinite(qp.linear_weight[on_y])
        self._merit_linear = np.where(hard, EXACT_PENALTY, qp.linear_weight[on_y])
        self._merit_square = np.where(hard, 0.0, 0.5 * qp.quadratic_weight[on_y])
        scale = 1.0 / A_u[bound_rows, bound_columns]
        bounds = sp.csr_array((scale, (bound_columns, bound_rows)), (len(u), len(qp.A)))
        lower = _bounds(qp.lower, bounds, -np.inf).stacked(qp.lower[rows])
        upper = _bounds(qp.upper, bounds, np.inf).stacked(qp.upper[rows])
        self._vectors = qp.q[u].stacked(qp.q[y]).stacked(lower).stacked(upper)
        self._parts = np.cumsum([len(u), len(y), len(lower.constant)]).tolist()

    def instance(self, theta: Array) -> Instance:
        """Evaluate linear cost and sides at parameters theta."""
        values, (i, j, k) = self._vectors(theta), self._parts
        return Instance(values[:i], values[i:j], self._constant(theta), values[j:k], values[k:])

    def fixed(self, Gamma: Array) -> Condensed:
        """Put y = free + Gamma u in for a given Gamma of shape (N p, N m)."""
        by_free = self._weighted(Gamma.T)  # Gamma' P_yy
        H = self._P_uu + by_free @ Gamma
        if self._coupled:
            cross = self._P_uy @ Gamma
            H += cross + cross.T
            by_free = by_free + self._P_uy
        A, on_y = self._A_u, self._A_y
        if len(self._merit_linear):
            A = A.copy()
            A[self._first_on_y :] += np.asarray(on_y @ Gamma)
        weights = self._linear_weight, self._quadratic_weight
        return Condensed(H, A, Gamma, by_free, on_y, *weights)

    def condense(self, at: Instance, free: Array, Gamma: Array) -> DenseQP:
        """Put a prediction in: free of shape (N p,), Gamma of shape (N p, N m)."""
        return self.fixed(Gamma).at(at, free)

    def merit(self, at: Instance, U: Array, Y: Array) -> Array:
        """Price S plans: U of shape (S, N m), within bounds, that lead to Y of shape (S, N p)."""
        value = np.einsum("sy,sy->s", 0.5 * self._weighted(Y) + at.q_y, Y)
        value += np.einsum("su,su->s", 0.5 * (U @ self._P_uu) + at.q_u, U)
        value += at.constant
        if self._coupled:
            value += np.einsum("sy,sy->s", U @ self._P_uy, Y)
        if len(self._merit_linear):
            start = self._n_u + self._first_on_y
            rows = (self._A_y @ Y.T).T
            if self._on_u is not None:
                rows = rows + U @ self._on_u.T
            over = np.maximum(rows - at.upper[start:], at.lower[start:] - rows)
            np.maximum(over, 0.0, out=over)
            value += over @ self._merit_linear + (over * over) @ self._merit_square
        return np.asarray(value)

    def _weighted(self, Y: Array) -> Array:
        """Multiply outputs (..., N p) by P_yy."""
        return Y * self._diagonal if self._diagonal is not None else Y @ self._P_yy


def _diagonal(M: Array) -> Array | None:
    """Diagonal of a matrix that is diagonal, else None."""
    diagonal = np.diagonal(M).copy()
    return None if np.any(M - np.diag(diagonal)) else diagonal


def _simple_bounds(qp: ParametricQP, A_u: Array, A_y: Array) -> tuple[Index, Index]:
    """Find hard rows that bound a single input, one per input; returns rows and columns.

    The sign of a joined row's first entry is positive, so lower sides stay lower sides.
    """
    single = (np.count_nonzero(A_u, axis=1) == 1) & ~A_y.any(axis=1)
    single &= ~np.isfinite(qp.linear_weight) & (A_u.sum(axis=1) > 0.0)
    rows = np.flatnonzero(single)
    columns = np.argmax(A_u[rows] != 0.0, axis=1)
    columns, first = np.unique(columns, return_index=True)
    return rows[first], columns


def _ordered(A_y: Array, bound_rows: Index) -> tuple[Index, int]:
    """Order the other rows, those on y last; returns them and how many are not on y."""
    general = np.setdiff1d(np.arange(len(A_y)), bound_rows)
    on_y = A_y[general].any(axis=1)
    return np.concatenate([general[~on_y], general[on_y]]), int((~on_y).sum())


def _bounds(side: AffineMap, bounds: sp.csr_array, missing: float) -> AffineMap:
    """Bring one side of the rows that bound a single input to the inputs."""
    picked = side.times(bounds)
    return AffineMap(np.where(np.diff(bounds.indptr) > 0, picked.constant, missing), picked.matrix)
