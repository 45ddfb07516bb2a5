"""The problem with its hard rows on outputs relaxed, for when they cannot be kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from koopman_control.mpc.compilation.parametric import ParametricQP
from koopman_control.mpc.statement.settings import Mask


def softened(qp: ParametricQP, linear: float, quadratic: float) -> ParametricQP | None:
    """Relax every hard row that concerns outputs; None where there is no such row.

    Rows on inputs alone (bounds, rates, the user's own) stay hard: the plant can always keep them.

    Args:
        qp: The compiled problem.
        linear: Price of a violation v per unit.
        quadratic: Price of v^2.
    """
    relaxed = ~np.isfinite(qp.linear_weight) & (qp.A[:, _led_to_by_y(qp)] != 0.0).any(axis=1)
    if not relaxed.any():
        return None
    return replace(
        qp,
        linear_weight=np.where(relaxed, linear, qp.linear_weight),
        quadratic_weight=np.where(relaxed, 2.0 * quadratic, qp.quadratic_weight),
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
