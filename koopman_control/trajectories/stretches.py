"""The parts of trajectories that a model is to describe: free flight, say, without the landing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from koopman_control.common import Array
from koopman_control.trajectories.trajectory import Trajectory


def stretches(
    trajectories: Sequence[Trajectory], described: Callable[[Array], Any]
) -> list[Trajectory]:
    """Cut out the stretches of at least one step within which every observation is described.

    The observation with which a run terminated is left out, too: a crash says nothing of flight.

    Args:
        trajectories: Trajectories; they are not changed.
        described: Maps observations (T + 1, p) to truth values (T + 1,).

    Raises:
        ValueError: If `described` does not return one value per observation, or nothing is left.

    Example:
        >>> run = Trajectory([[0.0], [1.0], [9.0], [2.0], [3.0]], np.zeros((4, 1)))
        >>> [len(part) for part in stretches([run], lambda y: y[:, 0] < 5.0)]
        [1, 1]
    """
    parts = [part for run in trajectories for part in _within(run, described)]
    if not parts:
        raise ValueError("described left no step at all; expected it to hold for most observations")
    return parts


def _within(run: Trajectory, described: Callable[[Array], Any]) -> list[Trajectory]:
    kept = np.asarray(described(run.observations), dtype=bool)
    if kept.shape != run.observations.shape[:1]:
        raise ValueError(
            f"described returned shape {kept.shape} for {len(run.observations)} observations; "
            "expected one truth value for each"
        )
    kept &= ~(run.terminated & (np.arange(len(kept)) == len(kept) - 1))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(int)))
    return [_part(run, i, j) for i, j in edges.reshape(-1, 2) if j - i > 1]


def _part(run: Trajectory, start: int, stop: int) -> Trajectory:
    """Cut out observations start ... stop - 1 and the steps between them."""
    steps = slice(start, stop - 1)
    return replace(
        run,
        observations=run.observations[start:stop],
        actions=run.actions[steps],
        rewards=None if run.rewards is None else run.rewards[steps],
        terminated=False,
        truncated=True,
    )
