"""The first steps: under full inputs, and gently where these leave behind what a model can follow.

Full inputs soon drive some plants against their stops, or to speeds at which nothing is smooth. Few
of such steps tell anything, and none of how the plant moves where it is to be held. So where a
smooth model of the first steps is coarse, or many of them are at a limit, the others are gentle and
brief, and episodes are broken off at limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from koopman_control.autopilot.discovery import FEWEST, find
from koopman_control.autopilot.findings import Findings
from koopman_control.autopilot.logbook import Logbook
from koopman_control.autopilot.pace import Exploration
from koopman_control.autopilot.structure import STUCK
from koopman_control.common.arrays import Array
from koopman_control.trajectories import total_steps

STRETCH = 250  # steps of an episode of data, after which it is broken off
PROBE = 0.4  # share of the first steps that are judged
COARSE = 0.15  # typical error of a smooth model, in a step's change
PINNED = 0.25  # share of the steps that are at a limit
GENTLE, BRIEF = (0.3, 0.1), 64  # shares of the inputs' ranges in turn, and steps of an episode


@dataclass(frozen=True, eq=False)
class AtLimits:
    """Says of an observation (p,) whether a column is at its limit.

    Args:
        low: Lowest values, shape (p,), infinite where there is no limit.
        high: Highest values, shape (p,).
    """

    low: Array
    high: Array

    def __call__(self, observation: Array) -> bool:
        """Look at every column."""
        return bool(((observation <= self.low) | (observation >= self.high)).any())


def explored(book: Logbook, n_steps: int, look: bool = True) -> AtLimits | None:
    """Collect the first steps.

    Args:
        book: Collects.
        n_steps: How many.
        look: Whether to look at them on the way; otherwise all are under full inputs.

    Returns:
        Where to break episodes of data off; None: nowhere, as a smooth model follows the plant.
    """
    probe = max(FEWEST, int(PROBE * n_steps)) if look else n_steps
    _collect(book, [1.0], min(probe, n_steps), STRETCH, None)
    if probe < n_steps:
        found, seen = find(book.data), np.concatenate([t.observations for t in book.data])
        low, high = found.limits.value + np.outer([1.0, -1.0], STUCK * seen.std(axis=0))
        fixed = [*found.context.value, *found.switches.value]
        low[fixed], high[fixed] = -np.inf, np.inf
        ends = AtLimits(low, high)
        if coarse(found) or np.mean([ends(y) for y in seen]) > PINNED:
            _collect(book, GENTLE, n_steps, BRIEF, ends)
            return ends
    _collect(book, [1.0], n_steps, STRETCH, None)
    return None


def coarse(found: Findings) -> bool:
    """Say whether a smooth model leaves much of what a step changes unexplained."""
    return found.contacts.evidence.get("usual error", 0.0) > COARSE


def _collect(
    book: Logbook, shares: Sequence[float], n_steps: int, longest: int, until: AtLimits | None
) -> None:
    for share in cycle(shares):
        if (left := n_steps - total_steps(book.data)) <= 0:
            break
        book.stretch(Exploration(share), min(longest, left), until=until)
