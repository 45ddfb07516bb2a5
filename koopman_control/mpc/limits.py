"""Rows of the control problem that bound something, hard or relaxed at a price.

A violation v > 0 of a relaxed row costs l1 v + l2 v^2. The linear part makes the penalty exact:
with l1 above the multiplier that the hard row would have, a bound that can be kept is kept exactly;
one that cannot is broken as little as the prices ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array
from koopman_control.mpc.maps import Index
from koopman_control.mpc.settings import Mask


@dataclass(frozen=True)
class Limit:
    """Entries that must not exceed zero, whether hard or relaxed.

    Args:
        name: What is bounded, for people.
        excess: Shape (r,): by how much each entry exceeds its bound; negative within it.
        places: Step and column of each entry, shape (r, 2).
    """

    name: str
    excess: cp.Expression
    places: Index


class Limits:
    """Collects bounds on expressions with one row per step.

    Attributes:
        constraints: What CVXPY is given.
        cost: Price of the violations.
        limits: The same rows by name, without their relaxation.
    """

    def __init__(self) -> None:
        self.constraints: list[cp.Constraint] = []
        self.cost: cp.Expression = cp.Constant(0.0)
        self.limits: list[Limit] = []

    def bound(
        self,
        name: str,
        expression: cp.Expression,
        bounds: Array,
        soft: Mask | None = None,
        weight: Array | None = None,
    ) -> None:
        """Bound an expression (N, k) where its bounds (2, N, k) are finite.

        Columns that `soft` (k,) marks are relaxed, one slack for each step, at the prices (2, k).
        """
        low, high = bounds.reshape(2, -1)
        values: cp.Expression = expression.flatten(order="C")
        relief = None
        if soft is not None and weight is not None:
            relief = self._relief(name, np.isfinite(bounds).any(axis=0) & soft, weight)
        self._add(f"high {name}", values, high, relief, bounds.shape[2])
        self._add(f"low {name}", -values, -low, relief, bounds.shape[2])

    def _relief(self, name: str, relaxed: Mask, weight: Array) -> cp.Expression | None:
        """Make a slack for each marked entry (N, k) and spread them over all entries, (N k,)."""
        chosen = np.flatnonzero(relaxed)
        count = len(chosen)
        if not count:
            return None
        slack = cp.Variable(count, name=f"slack at {name}", nonneg=True)
        linear, quadratic = weight[:, chosen % relaxed.shape[1]]
        self.cost += linear @ slack + quadratic @ slack**2
        spread: Any = sp.csr_array(
            (np.ones(count), (chosen, np.arange(count))), (relaxed.size, count)
        )
        relief: cp.Expression = spread @ slack
        return relief

    def _add(
        self, name: str, values: cp.Expression, highest: Array, relief: Any, columns: int
    ) -> None:
        chosen = np.flatnonzero(np.isfinite(highest))
        if not len(chosen):
            return
        excess = values[chosen] - highest[chosen]
        self.constraints.append((excess if relief is None else excess - relief[chosen]) <= 0.0)
        self.limits.append(Limit(name, excess, np.stack(np.divmod(chosen, columns), axis=1)))
