"""Angles in an observation: a pair of columns (cosine, sine), or one column in radians."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from operator import index
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array

Angle = int | tuple[int, int]  # a column in radians, or (cosine column, sine column)
Column = int | tuple[int] | tuple[int, int]  # a plain column, or an angle

OFF_CIRCLE = 0.5  # generous, for noisy sensors
ON_CIRCLE = 1e-3  # two columns this near the circle in every row are no two angles


def angle_columns(angle: Any) -> tuple[int] | tuple[int, int]:
    """Return the one or two columns of an angle; raises where it names neither."""
    try:
        return (index(angle),)
    except TypeError:
        cosine, sine = angle
        return (index(cosine), index(sine))


def read(observation: Array, column: Column) -> Array:
    """Read a plain column, or an angle in [-pi, pi], from observations (..., p) to (...)."""
    if not isinstance(column, tuple):
        return observation[..., column]
    if len(column) == 1:
        angle: Array = observation[..., column[0]]
        return angle - whole_turns(angle)
    return np.arctan2(observation[..., column[1]], observation[..., column[0]])


def whole_turns(angle: Array) -> Array:
    """Return the whole turns in an angle, in radians."""
    return 2.0 * np.pi * np.round(angle / (2.0 * np.pi))


def check_angles(observation: Array, columns: Sequence[Column]) -> None:
    """Raise a ValueError if columns of observations (T, p) are no angles of the kind named."""
    singles = [e[0] for e in columns if isinstance(e, tuple) and len(e) == 1]
    for a, b in combinations(singles, 2):
        radius = np.hypot(observation[:, a], observation[:, b])
        moves = np.ptp(observation[:, a]) > ON_CIRCLE
        if moves and (np.abs(radius - 1.0) < ON_CIRCLE).all():
            raise ValueError(
                f"angles names columns {a} and {b} as radians, but they are the cosine and "
                f"sine of one angle; write the pair: [({a}, {b})]"
            )
    for cosine, sine in (e for e in columns if isinstance(e, tuple) and len(e) == 2):
        radius = np.hypot(observation[:, cosine], observation[:, sine])
        row = int(np.argmax(np.abs(radius - 1.0)))
        if abs(radius[row] - 1.0) > OFF_CIRCLE:
            raise ValueError(
                f"angles names columns ({cosine}, {sine}), but in row {row} they lie "
                f"{radius[row]:.3g} from zero; expected a cosine and a sine, 1 from zero"
            )
