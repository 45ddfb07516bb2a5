"""Rules of thresholds: where in the observations something happens, as a few inequalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koopman_control.autopilot.findings import Threshold
from koopman_control.common import Array
from koopman_control.features import Angle
from koopman_control.features.coordinates import read

MOST_RULES = 3
FALSE_ALARMS = 0.01  # of the cases in which it does not happen, that a threshold may cover
WORTHWHILE = 0.1  # of the cases left, that a further threshold must cover


@dataclass(frozen=True)
class Rule:
    """Thresholds any of which tells that it happens, and how well they tell.

    Args:
        thresholds: The inequalities.
        covered: Share of the cases in which it happens and one of them holds.
        false_alarms: Share of the other cases in which one of them holds.
    """

    thresholds: tuple[Threshold, ...]
    covered: float
    false_alarms: float


def holds(threshold: Threshold, observations: Array) -> NDArray[np.bool_]:
    """Say for which observations (T, p) the inequality holds, shape (T,)."""
    values = read(observations, threshold.column)
    values = np.abs(values) if threshold.size else values
    over: NDArray[np.bool_] = values > threshold.number
    return over if threshold.above else ~over


def rule_for(observations: Array, happens: NDArray[np.bool_], columns: Sequence[Angle]) -> Rule:
    """Find the thresholds that tell best when something happens, one after the other.

    Args:
        observations: Shape (T, p).
        happens: Shape (T,), with some true and some false.
        columns: Columns and angles to look at.
    """
    found: list[Threshold] = []
    left, alarms = happens.copy(), np.zeros(len(happens), dtype=bool)
    while left.any() and len(found) < MOST_RULES:
        best = max(
            (_best(observations, left, ~happens, c, size) for c in columns for size in (0, 1)),
            key=lambda scored: scored[0],
        )
        told = holds(best[1], observations)
        if (told & left).sum() < max(1.0, WORTHWHILE * happens.sum()):
            break
        found.append(best[1])
        left &= ~told
        alarms |= told & ~happens
    n, others = happens.sum(), max(1, (~happens).sum())
    return Rule(tuple(found), float(1.0 - left.sum() / n), float(alarms.sum() / others))


def _best(
    observations: Array,
    wanted: NDArray[np.bool_],
    unwanted: NDArray[np.bool_],
    column: Angle,
    size: int,
) -> tuple[tuple[float, float], Threshold]:
    """Find the best threshold on one column; the wider its margin the better, if equally good."""
    values = read(observations, column)
    values = np.abs(values) if size else values
    span = float(np.ptp(values)) or 1.0
    candidates = []
    for above in (True, False):
        sign = 1.0 if above else -1.0
        inside, outside = np.sort(sign * values[wanted]), np.sort(sign * values[unwanted])
        # The limit above which only few of the others lie.
        spare = int(FALSE_ALARMS * len(outside))
        edge = float(outside[len(outside) - 1 - spare])
        beyond = inside[inside > edge]
        covered = len(beyond) / len(inside)
        first = float(beyond[0]) if len(beyond) else edge
        number = sign * (edge + first) / 2.0
        # A rule about the size of a column is told only if its sign says less.
        score = (covered - 0.01 * size, (first - edge) / span)
        candidates.append((score, Threshold(column, bool(size), above, number)))
    return max(candidates, key=lambda scored: scored[0])
