"""The largest set from which a linear closed loop keeps its constraints for ever."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from koopman_control.common.arrays import Array

MOST_STEPS = 200
MOST_ROWS = 500
SAME = 1e-9  # relative to sides of 1; a row that cuts off less is implied


class NoSetError(ValueError):
    """There is no such set, or none of a usable size."""


def require_stable(Phi: Array) -> None:
    """Check that a closed loop e+ = Phi e settles.

    Raises:
        NoSetError: If it does not.
    """
    radius = float(np.abs(np.linalg.eigvals(Phi)).max())
    if radius >= 1.0 - SAME:
        raise NoSetError(f"the regulator leaves a spectral radius of {radius:.4f}, not below 1")


def largest_invariant_set(Phi: Array, rows: Array) -> Array:
    """Find all e with rows Phi^k e <= 1 for every k >= 0 (Gilbert & Tan, IEEE TAC 36, 1991).

    Args:
        Phi: Stable closed loop e+ = Phi e, shape (d, d).
        rows: Constraints rows e <= 1, shape (k, d).

    Returns:
        Rows H of the set H e <= 1 without redundant ones, shape (r, d).

    Raises:
        NoSetError: If the set needs too many steps or rows.
    """
    kept = later = _without_implied(rows)
    for _ in range(MOST_STEPS):
        later = later @ Phi
        fresh = np.array([row for row in later if not _implied(row, kept)])
        if not len(fresh):
            return _without_implied(kept)
        kept = np.concatenate([kept, fresh])
        if len(kept) > MOST_ROWS:
            break
    raise NoSetError(f"the set needs more than {MOST_STEPS} steps or {MOST_ROWS} rows")


def _without_implied(rows: Array) -> Array:
    """Drop rows that the others imply, one by one."""
    kept = list(rows[np.abs(rows).max(axis=1) > SAME])
    i = 0
    while i < len(kept):
        others = kept[:i] + kept[i + 1 :]
        if _implied(kept[i], np.array(others).reshape(-1, rows.shape[1])):
            kept = others
        else:
            i += 1
    return np.array(kept).reshape(-1, rows.shape[1])


def _implied(row: Array, rows: Array) -> bool:
    """Whether row e <= 1 wherever rows e <= 1."""
    if np.abs(row).max() <= SAME:
        return True
    if not len(rows):
        return False
    most = linprog(-row, rows, np.ones(len(rows)), bounds=(None, None), method="highs")
    return most.fun is not None and most.fun >= -1.0 - SAME
