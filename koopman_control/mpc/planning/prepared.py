"""The condensed program of a linear roll-out, with everything constant multiplied out.

Its vectors are affine in the lifted state z and the parameters theta, so filling them in takes one
product with a constant matrix each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.compilation.maps import AffineMap
from koopman_control.mpc.planning.condense import Condenser


class Vectors(NamedTuple):
    """Linear cost and sides of a program, or of many along a first axis."""

    f: Array
    lower: Array
    upper: Array


class PreparedProgram:
    """Fills in the lifted state and theta.

    Args:
        condenser: The compiled problem.
        Phi: Outputs per lifted state, shape (N p, n).
        Gamma: Outputs per input, shape (N p, N m).

    Attributes:
        H: Quadratic cost.
        A: Rows.
    """

    def __init__(self, condenser: Condenser, Phi: Array, Gamma: Array) -> None:
        fixed = condenser.fixed(Gamma)
        self.H, self.A, self._n = fixed.H, fixed.A, len(fixed.H)
        self._weights = fixed.linear_weight, fixed.quadratic_weight
        self._by_free = np.vstack([fixed.by_free, -fixed.on_y.toarray()])
        self._to_moved = (self._by_free @ Phi).T
        q_v, q_y, lower, upper = condenser.vectors
        f = q_v + q_y.times(fixed.Gamma.T)
        self._vectors = _Filled(f.stacked(lower).stacked(upper))
        self._end = self._n + len(lower.constant)
        self._n_moving = fixed.on_y.shape[0]

    def moved(self, z: Array) -> Array:
        """Return what lifted states (n,) or (S, n) add to the vectors, shape (k,) or (S, k)."""
        return np.asarray(z @ self._to_moved)

    def vectors(self, moved: Array, theta: Array, shift: Array | None = None) -> Vectors:
        """Fill in what z moved, and theta; of one program, or of S along a first axis.

        `shift`, shape (N p,), adds to what z predicts. `moved` is changed in place.
        """
        if shift is not None:
            moved += shift @ self._by_free.T
        n, vectors = self._n, self._vectors(theta)
        f, lower, upper = vectors[..., :n], vectors[..., n : self._end], vectors[..., self._end :]
        f += moved[..., :n]
        if self._n_moving:  # these rows come last
            rows = moved[..., n:]
            lower[..., -self._n_moving :] += rows
            upper[..., -self._n_moving :] += rows
        return Vectors(f, lower, upper)

    def __call__(self, at: Vectors) -> DenseQP:
        """Complete the vectors of one program."""
        return DenseQP(self.H, at.f, self.A, at.lower, at.upper, *self._weights)


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
        own = self._constant
        value = own.copy() if theta.ndim == 1 else np.tile(own, (len(theta), 1))
        value[..., self._rows] += theta[..., self._columns] @ self._matrix.T
        return value
