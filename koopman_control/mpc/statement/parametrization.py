"""Fewer free inputs than steps: plans held over blocks, or drawn through knots.

The inputs of the horizon are u = M v with a constant matrix M and few values v. Cost and
constraints remain those of all steps; only the plans to choose from become fewer, and so does the
time to choose. A first-order hold (`Knots`) loses less than a zero-order hold (`Blocks`) of the
same size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from koopman_control.common.arrays import Array, Index, positive_int
from koopman_control.common.border import CheckedFields, checked


@dataclass(frozen=True)
class Blocks(CheckedFields):
    """Inputs held constant over blocks of steps ("move blocking").

    Args:
        lengths: Steps in each block; the last block lasts to the end of the horizon, so that
            `Blocks([1] * n)` is a control horizon of n steps. A number asks for that many blocks,
            short at first and growing.

    Example:
        >>> Blocks([1, 2]).matrix(4)
        array([[1., 0.],
               [0., 1.],
               [0., 1.],
               [0., 1.]])
    """

    lengths: int | Sequence[int]

    @checked
    def matrix(self, horizon: int) -> Array:
        """Weights of the free values in every step, shape (horizon, values)."""
        if isinstance(self.lengths, int):
            starts = _growing(horizon, _count("lengths", self.lengths, horizon))[:-1]
        else:
            lengths = [positive_int("lengths", n) for n in self.lengths]
            starts = np.cumsum([0, *lengths])[:-1]
            if not lengths or starts[-1] >= horizon:
                raise ValueError(
                    f"lengths is {self.lengths}; expected blocks that begin within the horizon of "
                    f"{horizon} steps"
                )
        block = np.searchsorted(starts, np.arange(horizon), side="right") - 1
        return np.asarray(np.eye(len(starts))[block])


@dataclass(frozen=True)
class Knots(CheckedFields):
    """Inputs linear between knots (a first-order hold in the plan).

    Args:
        steps: Steps at which the knots lie, the first 0; the last input is held from the last knot
            on. A number, at least 2, asks for that many knots, dense at first, the last one at the
            end of the horizon.

    Example:
        >>> Knots([0, 2]).matrix(4)
        array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ],
               [0. , 1. ]])
    """

    steps: int | Sequence[int]

    @checked
    def matrix(self, horizon: int) -> Array:
        """Weights of the free values in every step, shape (horizon, values)."""
        if isinstance(self.steps, int):
            count = _count("steps", self.steps, horizon)
            steps = _growing(horizon - 1, count - 1) if count > 1 else np.zeros(1, dtype=np.int64)
        else:
            steps = np.asarray(self.steps)
            rising = steps.ndim == 1 and len(steps) and steps[0] == 0 and np.all(np.diff(steps) > 0)
            if steps.dtype.kind != "i" or not rising or steps[-1] >= horizon:
                raise ValueError(
                    f"steps is {self.steps}; expected rising whole numbers from 0 to at most "
                    f"{horizon - 1}, the last step of the horizon"
                )
        return np.stack(
            [np.interp(np.arange(horizon), steps, unit) for unit in np.eye(len(steps))]
        ).T


def _count(name: str, value: int, horizon: int) -> int:
    if not 1 <= value <= horizon:
        raise ValueError(f"{name} is {value}; expected between 1 and the horizon, {horizon}")
    return value


def _growing(total: int, parts: int) -> Index:
    """Cut 0 ... total into parts of whole, geometrically growing length; returns the cuts."""

    def excess(ratio: float) -> float:
        return float(np.sum(ratio ** np.arange(parts))) - total

    if parts == 1:  # of any ratio
        return np.array([0, total])
    ratio = 1.0 if parts == total else brentq(excess, 1.0, float(total) + 1.0)
    cuts = np.concatenate([[0.0], np.cumsum(ratio ** np.arange(parts))])
    return np.floor(cuts + 0.5).astype(np.int64)
