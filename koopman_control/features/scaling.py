"""Scales of data columns, and which columns never move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array

ROUNDING = 1e-12  # relative; the computed deviation of equal numbers is seldom exactly zero


def constant_columns(X: Array) -> NDArray[np.bool_]:
    """Say which columns of X, shape (T, e), hold one value throughout, shape (e,)."""
    highest, lowest = X.max(axis=0), X.min(axis=0)
    still: NDArray[np.bool_] = highest - lowest <= ROUNDING * np.maximum(abs(highest), abs(lowest))
    return still


def spread(X: Array) -> Array:
    """Return the standard deviation of every column of X, and 1 for columns that never move.

    Raises:
        ValueError: If numbers are so large or small that their squares overflow or vanish.
    """
    still = constant_columns(X)
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = np.where(still, 1.0, X.std(axis=0))
    lost = np.flatnonzero(~np.isfinite(deviation) | (deviation == 0.0))
    if len(lost):
        i = int(lost[0])
        raise ValueError(
            f"column {i} of the data reaches {np.abs(X[:, i]).max():.0e}, whose square no number "
            "holds; expected 1e-150 to 1e150: take another unit, or drop rows that are wrong"
        )
    return deviation
