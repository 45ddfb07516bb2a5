"""Programs with soft rows for solvers that know hard rows only: a slack for each soft row.

In (v, s), s >= 0: lower - s <= a'v <= upper + s. The cost is scaled to unit size, so that
tolerances mean the same in any units; the solution stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compilation.dense import DenseQP

ROUNDING = 1e-9  # sides that cross by less meet


@dataclass(frozen=True)
class WithSlacks:
    """min x'Px/2 + q'x, lower <= rows x <= upper, equivalent to a program with soft rows.

    Args:
        qp: The program.
    """

    qp: DenseQP

    @cached_property
    def _size(self) -> float:
        """Size of the cost, by which it is divided."""
        return float(np.abs(np.diagonal(self.qp.H)).mean()) or 1.0

    @cached_property
    def _scaled(self) -> DenseQP:
        return self.qp.divided(self._size)

    @cached_property
    def _soft(self) -> Index:
        return np.flatnonzero(self.qp.soft)

    def matrices(self) -> tuple[Any, Any]:
        """Cost matrix, upper triangle, and rows, both sparse.

        Every entry of H and A is stored, zero or not, so that the pattern stays when values change.
        """
        qp, soft, n, k = self._scaled, self._soft, len(self.qp.f), len(self._soft)
        weights = sp.diags(qp.quadratic_weight[soft])
        P = sp.block_diag([_full(qp.H, upper=True), weights])
        choose = sp.csc_matrix((np.ones(k), (soft, np.arange(k))), (len(qp.A), k))
        rows = [
            sp.hstack([sp.identity(n), sp.csc_matrix((n, k))]),
            sp.hstack([_full(qp.A), -choose]),
            sp.hstack([_full(qp.A[soft]), sp.identity(k)]),
            sp.hstack([sp.csc_matrix((k, n)), sp.identity(k)]),
        ]
        return sp.csc_matrix(P), sp.csc_matrix(sp.vstack(rows))

    def vectors(self) -> tuple[Array, Array, Array]:
        """Linear cost, lower and upper sides that go with `matrices`."""
        qp, soft, n, k = self._scaled, self._soft, len(self.qp.f), len(self._soft)
        side_low = np.where(qp.soft, -np.inf, qp.lower[n:])
        lower = np.concatenate([qp.lower[:n], side_low, qp.lower[n:][soft], np.zeros(k)])
        upper = np.concatenate([qp.upper, np.full(2 * k, np.inf)])
        upper = np.where(upper >= lower - ROUNDING, np.maximum(lower, upper), upper)
        return np.append(qp.f, qp.linear_weight[soft]), lower, upper

    def multipliers(self, y: Array) -> Array:
        """Multipliers of bounds and rows, shape (n + r,), from those of `matrices`' rows."""
        n, k = len(self.qp.f), len(self._soft)
        own = self._size * y[: n + len(self.qp.A)]
        own[n + self._soft] += self._size * y[len(own) : len(own) + k]
        return np.asarray(own)


def _full(M: Any, upper: bool = False) -> Any:
    """Sparse matrix with every entry of M stored, or every entry of its upper triangle."""
    i, j = np.triu_indices(len(M)) if upper else np.indices(M.shape).reshape(2, M.size)
    return sp.csc_matrix((M[i, j], (i, j)), M.shape)
