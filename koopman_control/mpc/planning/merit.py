"""What plans cost: the merit by which guesses are compared and step lengths chosen."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.planning.condense import Condenser, Instance
from koopman_control.mpc.solvers import DaqpSolver

EXACT_PENALTY = 1e6  # price of violating a hard row by one unit
KEPT = 1e-7  # a hard row violated by less is kept; solvers are no more exact than that


class Merit:
    """Prices plans that are within their bounds, in the stated problem's own cost.

    Violations of soft rows cost what the problem says; those of hard rows an exact penalty. If the
    problem has variables w beside inputs and outputs, the best w is found for each plan.

    Args:
        condenser: The compiled problem.
    """

    def __init__(self, condenser: Condenser) -> None:
        self._condenser, self._solver = condenser, DaqpSolver()
        rows = slice(condenser.first_on_y, None)
        hard = ~np.isfinite(condenser.linear_weight[rows])
        self._linear = np.where(hard, EXACT_PENALTY, condenser.linear_weight[rows])
        self._square = np.where(hard, 0.0, 0.5 * condenser.quadratic_weight[rows])
        self._free = np.where(hard, KEPT, 0.0)
        on_v = condenser.A_v[rows]
        self._on_v = on_v if on_v.any() else None
        n = condenser.n_values
        self._w_rows: Index = np.flatnonzero(condenser.A_v[:, n:].any(axis=1))
        relaxed = self._w_rows >= condenser.first_on_y
        weight = condenser.linear_weight[self._w_rows]
        square = condenser.quadratic_weight[self._w_rows]
        hard = relaxed & ~np.isfinite(weight)  # so that there is a best w for every plan
        self._w_linear = np.where(hard, EXACT_PENALTY, weight)
        self._w_square = np.where(hard, 1.0, square)
        self._w_on_y = sp.csr_array(
            sp.vstack([sp.csr_array((condenser.first_on_y, condenser.A_y.shape[1])), condenser.A_y])
        )[self._w_rows]

    def at(self, theta: Array) -> Instance:
        """Fill in the parameters of the problem."""
        return self._condenser.instance(theta)

    def __call__(self, at: Instance, U: Array, Y: Array) -> Array:
        """Price S plans: U of shape (S, N m), within bounds, that lead to Y of shape (S, N p)."""
        if self._condenser.n_values == len(self._condenser.P_vv):
            return self.of(at, U, Y)
        V = np.stack([self._completed(at, u, y) for u, y in zip(U, Y, strict=True)])
        return self.of(at, V, Y)

    def of(self, at: Instance, V: Array, Y: Array) -> Array:
        """Price S plans with given further variables, V = (U, W)."""
        c = self._condenser
        value = np.einsum("sy,sy->s", 0.5 * c.weighted(Y) + at.q_y, Y)
        value += np.einsum("sv,sv->s", 0.5 * (V @ c.P_vv) + at.q_v, V)
        value += at.constant
        if c.coupled:
            value += np.einsum("sy,sy->s", V @ c.P_vy, Y)
        if len(self._linear):
            start = len(c.P_vv) + c.first_on_y
            rows = (c.A_y @ Y.T).T
            if self._on_v is not None:
                rows = rows + V @ self._on_v.T
            over = np.maximum(rows - at.upper[start:], at.lower[start:] - rows)
            over = np.maximum(over - self._free, 0.0)
            value += over @ self._linear + (over * over) @ self._square
        return np.asarray(value)

    def _completed(self, at: Instance, u: Array, y: Array) -> Array:
        """Append the w that costs least beside an input u (N m,) and outputs y (N p,)."""
        c, n = self._condenser, self._condenser.n_values
        rows, w_sides = c.A_v[self._w_rows], slice(n, len(c.P_vv))
        moved = rows[:, :n] @ u + self._w_on_y @ y
        lower, upper = (
            np.append(side[w_sides], side[len(c.P_vv) :][self._w_rows] - moved)
            for side in (at.lower, at.upper)
        )
        f = at.q_v[n:] + c.P_vv[n:, :n] @ u + c.P_vy[n:] @ y
        P = np.ascontiguousarray(c.P_vv[n:, n:])
        A = np.ascontiguousarray(rows[:, n:])
        program = DenseQP(P, f, A, lower, upper, self._w_linear, self._w_square)
        w = self._solver.solve(program, matrices_changed=False).v if np.isfinite(y).all() else None
        return np.append(u, np.full(len(f), np.inf) if w is None else w)
