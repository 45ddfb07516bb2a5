"""The condensed program of a linear roll-out, with everything constant multiplied out.

Its vectors are affine in the lifted state z and the parameters theta, so filling them in takes one
product with a constant matrix each.
"""

from __future__ import annotations

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.compilation.maps import AffineMap
from koopman_control.mpc.planning.condense import Condenser


class PreparedProgram:
    """Fills in the lifted state and theta.

    Args:
        condenser: The compiled problem.
        Phi: Outputs per lifted state, shape (N p, n).
        Gamma: Outputs per input, shape (N p, N m).
    """

    def __init__(self, condenser: Condenser, Phi: Array, Gamma: Array) -> None:
        fixed = condenser.fixed(Gamma)
        self._H, self._A, self._n = fixed.H, fixed.A, len(fixed.H)
        self._weights = fixed.linear_weight, fixed.quadratic_weight
        self._by_free = np.vstack([fixed.by_free, -fixed.on_y.toarray()])
        self._to_moved = (self._by_free @ Phi).T
        q_v, q_y, lower, upper = condenser.vectors
        f = q_v + q_y.times(fixed.Gamma.T)
        self._vectors = _Filled(f.stacked(lower).stacked(upper))
        self._n_moving = fixed.on_y.shape[0]

    def moved(self, z: Array) -> Array:
        """Return what lifted states (n,) or (S, n) add to the vectors, shape (k,) or (S, k)."""
        return np.asarray(z @ self._to_moved)

    def __call__(self, moved: Array, theta: Array, shift: Array | None = None) -> DenseQP:
        """Fill in what z moved, and theta; `shift`, shape (N p,), adds to what z predicts.

        `moved` is changed in place.
        """
        if shift is not None:
            moved += self._by_free @ shift
        n, vectors = self._n, self._vectors(theta)
        f, (lower, upper) = vectors[:n], vectors[n:].reshape(2, -1)
        f += moved[:n]
        if self._n_moving:  # these rows come last
            rows = moved[n:]
            lower[-self._n_moving :] += rows
            upper[-self._n_moving :] += rows
        return DenseQP(self._H, f, self._A, lower, upper, *self._weights)


class _Filled:
    """An affine map of which only the rows and the range of columns that matter are multiplied."""

    def __init__(self, affine: AffineMap) -> None:
        matrix = affine.matrix.copy()
        matrix.eliminate_zeros()
        self._constant = affine.constant
        self._rows = np.flatnonzero(np.diff(matrix.indptr))
        columns = matrix.indices if len(self._rows) else np.zeros(1, dtype=np.int64)
        self._columns = slice(int(columns.min()), int(columns.max()) + 1)
        self._matrix = matrix[self._rows][:, self._columns].toarray()

    def __call__(self, theta: Array) -> Array:
        """Evaluate, as a new array."""
        value = self._constant.copy()
        value[self._rows] += self._matrix @ theta[self._columns]
        return value
