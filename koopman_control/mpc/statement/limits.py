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
from cvxpy.constraints.nonpos import Inequality

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.statement.settings import Mask


@dataclass(frozen=True)
class Limit:
    """Entries that must not exceed zero, whether hard or relaxed.

    Args:
        name: What is bounded, for people.
        excess: Shape (r,): by how much each entry exceeds its bound; negative within it.
        places: Row and column of each entry, shape (r, 2).
        first: Step of row 0: 0 for inputs, 1 for outputs; None where rows are no steps.
    """

    name: str
    excess: cp.Expression
    places: Index
    first: int | None


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
        first: int = 0,
    ) -> None:
        """Bound an expression (N, k) where its bounds (2, N, k) are finite.

        Columns that `soft` (k,) marks are relaxed, one slack for each step, at the prices (2, k).
        Row 0 belongs to step `first`.
        """
        low, high = bounds.reshape(2, -1)
        values: cp.Expression = expression.flatten(order="C")
        relief = None
        if soft is not None and weight is not None:
            relief = self._relief(name, np.isfinite(bounds).any(axis=0) & soft, weight)
        for side, signed, highest in (("high", values, high), ("low", -values, -low)):
            chosen = np.flatnonzero(np.isfinite(highest))
            if not len(chosen):
                continue
            excess = signed[chosen] - highest[chosen]
            relaxed = excess if relief is None else excess - relief[chosen]
            self.constraints.append(relaxed <= 0.0)
            places = np.stack(np.divmod(chosen, bounds.shape[2]), axis=1)
            self.limits.append(Limit(f"{side} {name}", excess, places, first))

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


def users_limit(constraint: cp.Constraint) -> Limit | None:
    """Name an inequality of the user's own by what it says; other constraints have no excess."""
    if not isinstance(constraint, Inequality):
        return None
    text, size = str(constraint), constraint.expr.size
    places = np.stack([np.arange(size), np.zeros(size, dtype=np.int64)], axis=1)
    return Limit(text if len(text) <= 60 else text[:57] + "...", constraint.expr, places, None)
