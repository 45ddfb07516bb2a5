"""Functions of the parameters theta, and the quadratic program made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, Index


@dataclass(frozen=True)
class AffineMap:
    """An affine function theta -> constant + matrix theta, with shapes (k,) and (k, t)."""

    constant: Array
    matrix: sp.csr_array

    def __call__(self, theta: Array) -> Array:
        """Evaluate at parameters of shape (t,)."""
        return np.asarray(self.constant + self.matrix @ theta)

    def __getitem__(self, rows: Index) -> AffineMap:
        """Pick rows."""
        return AffineMap(self.constant[rows], sp.csr_array(self.matrix[rows]))

    def __add__(self, other: AffineMap) -> AffineMap:
        """Add the values of another map."""
        return AffineMap(self.constant + other.constant, sp.csr_array(self.matrix + other.matrix))

    def times(self, M: Any) -> AffineMap:
        """Multiply the value by a matrix from the left."""
        return AffineMap(np.asarray(M @ self.constant), sp.csr_array(M @ self.matrix))

    def fixed(self, rows: NDArray[np.bool_], value: float) -> AffineMap:
        """Give some rows a constant value, which may be infinite."""
        kept = sp.diags_array((~rows).astype(float))
        constant = np.where(rows, value, self.constant)
        return AffineMap(constant, sp.csr_array(kept @ self.matrix))

    def stacked(self, below: AffineMap) -> AffineMap:
        """Put another map's rows below these."""
        matrix = sp.csr_array(sp.vstack([self.matrix, below.matrix]))
        return AffineMap(np.append(self.constant, below.constant), matrix)


@dataclass(frozen=True)
class QuadraticMap:
    """theta -> constant + linear' theta + theta' quadratic theta."""

    constant: float
    linear: Array
    quadratic: Array

    def __call__(self, theta: Array) -> float:
        """Evaluate at parameters of shape (t,)."""
        return float(self.constant + (self.linear + self.quadratic @ theta) @ theta)


@dataclass(frozen=True)
class Recovery:
    """Where the stated variables went: they are matrix x + shift(theta) + excess violations.

    Args:
        columns: Places in the result of each stated variable, by name, in the variables' shapes.
        matrix: Shape (n0, n).
        shift: Shape (n0,).
        excess: Shape (n0, r), for the violations of the program's rows.
    """

    columns: dict[str, Index]
    matrix: sp.csr_array
    shift: AffineMap
    excess: sp.csr_array

    @classmethod
    def of(cls, columns: dict[str, Index], n: int, t: int) -> Recovery:
        """Recover variables from an x that still holds them all."""
        shift = AffineMap(np.zeros(n), sp.csr_array((n, t)))
        return cls(columns, sp.csr_array(sp.eye_array(n)), shift, sp.csr_array((n, 0)))

    def __call__(self, x: Array, theta: Array, violation: Array) -> dict[str, Array]:
        """Compute the stated variables' values."""
        stated = self.matrix @ x + self.shift(theta) + self.excess @ violation
        return {name: np.asarray(stated[c]) for name, c in self.columns.items()}


@dataclass(frozen=True)
class AffineQP:
    """Standard form: min x'Px/2 + q(theta)'x + c(theta) s.t. E x = b(theta), F x <= g(theta).

    Args:
        P: Symmetric, shape (n, n).
        q: Linear cost.
        c: Constant of the cost.
        E: Equality rows, shape (e, n).
        b: Their right-hand side.
        F: Inequality rows, shape (i, n).
        g: Their right-hand side.
        columns: Where each variable of interest lies in x, by name; arrays of the variables' shape.
        names: Names of the equality and of the inequality rows.
        recovery: Values of all stated variables.
    """

    P: sp.csr_array
    q: AffineMap
    c: QuadraticMap
    E: sp.csr_array
    b: AffineMap
    F: sp.csr_array
    g: AffineMap
    columns: dict[str, Index]
    names: tuple[tuple[str, ...], tuple[str, ...]]
    recovery: Recovery

    @property
    def wanted(self) -> Index:
        """Columns of all variables of interest."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *map(np.ravel, self.columns.values())])
