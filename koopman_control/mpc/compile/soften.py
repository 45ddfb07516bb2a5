"""The problem with its hard rows on outputs relaxed, for when they cannot be kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compile.program import ParametricQP
from koopman_control.mpc.weights import Mask


def softened(qp: ParametricQP, linear: ArrayLike, quadratic: ArrayLike) -> ParametricQP | None:
    """Relax every hard row that concerns outputs; None where there is no such row.

    Rows on inputs alone (bounds, rates, the user's own) stay hard: the plant can always keep them.
    The two sides of a row may have crossed; where they can, each is relaxed as a row of its own.

    Args:
        qp: The compiled problem.
        linear: Price of a violation v per unit, for all outputs or each of them, (p,).
        quadratic: Price of v^2.
    """
    relaxed = ~np.isfinite(qp.linear_weight) & (qp.A[:, _led_to_by_y(qp)] != 0.0).any(axis=1)
    if not relaxed.any():
        return None
    linear, quadratic = row_prices(qp, linear), row_prices(qp, quadratic, power=2)
    priced = replace(
        qp,
        linear_weight=np.where(relaxed, linear, qp.linear_weight),
        quadratic_weight=np.where(relaxed, 2.0 * quadratic, qp.quadratic_weight),
    )
    return _split(priced, np.flatnonzero(relaxed & _may_cross(qp)))


def row_prices(qp: ParametricQP, price: ArrayLike, power: int = 1) -> Array:
    """Prices (r,) of the rows' violations to a power, from those of the outputs, all or (p,).

    A row costs what the output costs that breaks it most cheaply. Variables that share rows with
    outputs are worth what these are worth through the row; rows without any of them cost nothing.
    """
    size = np.abs(qp.A) ** power
    of_variable, fixed = np.full(len(qp.P), np.inf), np.zeros(len(qp.P), dtype=bool)
    of_variable[qp.columns["y"]] = price
    fixed[qp.columns["u"]] = True
    with np.errstate(divide="ignore", invalid="ignore"):
        while True:
            of_row = np.where(size > 0.0, of_variable / size, np.inf).min(axis=1, initial=np.inf)
            fixed |= np.isfinite(of_variable)
            known = np.isfinite(of_row)
            through = np.where(size[known] > 0.0, of_row[known, None] * size[known], np.inf)
            new = ~fixed & np.isfinite(through).any(axis=0)
            if not new.any():
                return np.where(known, of_row, 0.0)
            of_variable[new] = through[:, new].min(axis=0)


def _may_cross(qp: ParametricQP) -> Mask:
    """Mark rows with two sides that are not at a constant distance of at least zero."""
    moving = abs(qp.upper.matrix - qp.lower.matrix).sum(axis=1) > 0.0
    width = qp.upper.constant - qp.lower.constant
    return np.asarray(np.isfinite(width) & (moving | (width < 0.0)))


def _split(qp: ParametricQP, rows: Index) -> ParametricQP:
    """Leave these rows their lower sides, and repeat them with their upper sides below."""
    if not len(rows):
        return qp
    repeated = np.append(np.arange(len(qp.A)), rows)
    below = np.arange(len(repeated)) >= len(qp.A)
    first = np.isin(repeated, rows) & ~below
    excess = sp.csr_array((qp.recovery.excess.shape[0], len(rows)))  # none of a row that was hard
    return replace(
        qp,
        A=qp.A[repeated],
        lower=qp.lower[repeated].fixed(below, -np.inf),
        upper=qp.upper[repeated].fixed(first, np.inf),
        linear_weight=qp.linear_weight[repeated],
        quadratic_weight=qp.quadratic_weight[repeated],
        row_names=tuple(qp.row_names[i] for i in repeated),
        recovery=replace(qp.recovery, excess=sp.csr_array(sp.hstack([qp.recovery.excess, excess]))),
    )


def _led_to_by_y(qp: ParametricQP) -> Mask:
    """Mark y and the further variables that share rows with it, directly or through others."""
    reached = np.zeros(qp.A.shape[1], dtype=bool)
    reached[qp.columns["y"]] = True
    own = np.ones_like(reached)
    own[qp.columns["u"]] = False
    entries = qp.A != 0.0
    while True:
        rows = entries[:, reached].any(axis=1)
        more = reached | (own & entries[rows].any(axis=0))
        if (more == reached).all():
            return reached
        reached = more
