"""Tests of controllers in the environment: which did best, and whether another would.

All tests begin from the same reset and have the same number of steps, so that they compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from koopman_control.trajectories import Trajectory

C = TypeVar("C")
NEARLY = 0.05  # of the range of test returns, or of one, that makes no difference


def best_of(tested: Sequence[tuple[C, Sequence[Trajectory]]]) -> C:
    """Return what did best in its test, the latest among those that did about as well.

    Args:
        tested: What was tested, each with the episodes of its test. What is compared is the mean
            return of as many steps of an episode as all of them have, or to its end.
    """
    length = _length([runs for _, runs in tested])
    scores = np.array([_earned(runs, length) for _, runs in tested])
    enough = scores.max() - NEARLY * (scores.max() - scores.min())
    return tested[int(np.flatnonzero(scores >= enough)[-1])][0]


def outdone(tests: Sequence[Sequence[Trajectory]], promised: Callable[[int], float]) -> bool:
    """Say whether something else is promised clearly more than every controller earned.

    Args:
        tests: Episodes of each test.
        promised: Return of so many steps of an episode.
    """
    length = _length(tests)
    best = max(_earned(runs, length) for runs in tests)
    return bool(promised(length) > best + NEARLY * abs(best))


def _length(tests: Sequence[Sequence[Trajectory]]) -> int:
    """Steps of an episode that all tests have, or of the longest episode if all of them ended."""
    cut = [len(t) for runs in tests for t in runs[:1] if not t.terminated]
    return min(cut, default=max(len(t) for runs in tests for t in runs))


def _earned(runs: Sequence[Trajectory], length: int) -> float:
    """Mean return of so many steps of an episode; what was broken off before does not count."""
    whole = [t for t in runs if t.terminated or len(t) >= length] or runs
    return float(np.mean([t.rewards[:length].sum() for t in whole if t.rewards is not None]))
