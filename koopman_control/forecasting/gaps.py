"""Filling gaps in a series, as an explicit choice."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, real_array
from koopman_control.common.border import checked

Filling = Literal["linear", "previous"]


@checked
def fill_gaps(series: ArrayLike, how: Filling = "linear") -> Array:
    """Fill NaN and infinities column by column.

    Args:
        series: Rows of numbers, shape (T, p) or (T,).
        how: "linear" draws a line from the value before to the value after; "previous" repeats the
            value before. Gaps at an end repeat the nearest value.

    Returns:
        A filled copy of the same shape.

    Raises:
        ValueError: If a column holds no number at all.

    Example:
        >>> fill_gaps([1.0, np.nan, 3.0])
        array([1., 2., 3.])
    """
    given = real_array("series", series)
    rows = real_array("series", given[:, None] if given.ndim == 1 else given, ndim=2)
    filled = rows.copy()
    index = np.arange(len(rows))
    for j in range(rows.shape[1]):
        known = np.flatnonzero(np.isfinite(rows[:, j]))
        if not len(known):
            raise ValueError(f"series has no number in column {j}; leave the column out")
        if how == "linear":
            filled[:, j] = np.interp(index, known, rows[known, j])
        else:
            before = np.searchsorted(known, index, side="right") - 1
            filled[:, j] = rows[known[np.maximum(before, 0)], j]
    return filled.reshape(given.shape)
