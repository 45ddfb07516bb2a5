"""The condensed program of a linear roll-out, with everything constant multiplied out.

Its vectors are affine in the lifted state z and the parameters theta, so filling them in takes one
product with a constant matrix each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, product
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
        q_v, q_y, lower, upper = condenser.vectors
        f = q_v + q_y.times(fixed.Gamma.T)
        first_on_y = self._n + condenser.first_on_y
        together = _moving_together(lower, upper, first_on_y)
        # What moves is one vector: f, both sides of rows that theta moves, both sides of rows on y.
        self._first = first_on_y - len(together)
        resting = np.zeros((len(together), len(Phi)))
        self._by_free = np.vstack([fixed.by_free, resting, -fixed.on_y.toarray()])
        self._to_moved = (self._by_free @ Phi).T
        self._by_theta = np.vstack([f.matrix.toarray(), together])
        self._f = f.constant if f.constant.any() else None
        self._sides = np.stack([lower.constant, upper.constant])
        self._others = _Others(lower, upper, slice(self._first, first_on_y), together)

    def moved(self, z: Array) -> Array:
        """Return what lifted states (n,) or (S, n) add to what moves, shape (k,) or (S, k)."""
        return product(z, self._to_moved)

    def vectors(self, moved: Array, theta: Array, shift: Array | None = None) -> Vectors:
        """Fill in what z moved, and theta; of one program, or of S along a first axis.

        `shift`, shape (N p,), adds to what z predicts. `moved` is changed in place.
        """
        if shift is not None:
            moved += product(shift, self._by_free.T)
        by_theta = moved[..., : len(self._by_theta)]
        by_theta += product(theta, self._by_theta.T)
        f, rows = moved[..., : self._n], moved[..., self._n :]
        if self._f is not None:
            f += self._f
        sides = self._sides.copy() if f.ndim == 1 else np.tile(self._sides[:, None], (len(f), 1))
        moving = sides[..., self._first :]
        moving += rows
        lower, upper = sides
        self._others(theta, lower, upper)
        return Vectors(f, lower, upper)

    def __call__(self, at: Vectors) -> DenseQP:
        """Complete the vectors of one program."""
        return DenseQP(self.H, at.f, self.A, at.lower, at.upper, *self._weights)


def _moving_together(lower: AffineMap, upper: AffineMap, end: int) -> Array:
    """How theta moves the last rows before `end`, shape (r, t), as far as both sides move alike.

    A side at infinity moves like any other.
    """
    any_moves = _moving(lower) | _moving(upper)
    rows = slice(int(np.argmax(np.append(any_moves[:end], True))), end)  # mostly few
    L, U = lower.matrix[rows].toarray(), upper.matrix[rows].toarray()
    L, U = (
        np.where(np.isinf(side.constant[rows, None]), other, own)
        for side, own, other in ((lower, L, U), (upper, U, L))
    )
    alike = (L == U).all(axis=1) & L.any(axis=1)
    last = int(np.argmin(np.append(alike[::-1], False)))
    return np.asarray(L[len(L) - last :])


def _moving(side: AffineMap) -> NDArray[np.bool_]:
    """Which rows of a side theta moves."""
    return np.diff(side.matrix.indptr) > 0


class _Others:
    """Adds how theta moves the sides that are not moved together; mostly there are none."""

    def __init__(self, lower: AffineMap, upper: AffineMap, rows: slice, together: Array) -> None:
        self._parts = []
        for side in (lower, upper):
            kept = np.flatnonzero(_moving(side) & np.isfinite(side.constant))
            matrix = side.matrix[kept].toarray()
            inside = (kept >= rows.start) & (kept < rows.stop)
            matrix[inside] -= together[kept[inside] - rows.start]
            moving = matrix.any(axis=1)
            self._parts.append((kept[moving], matrix[moving]))
        self._none = not any(len(moving) for moving, _ in self._parts)

    def __call__(self, theta: Array, lower: Array, upper: Array) -> None:
        """Move lower and upper sides (..., r) in place."""
        if self._none:
            return
        for side, (moving, matrix) in zip((lower, upper), self._parts, strict=True):
            side[..., moving] += product(theta, matrix.T)
