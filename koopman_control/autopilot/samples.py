"""Data as rows, one per step, and the coordinates that what is found out about it is told in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import Array
from koopman_control.features import Angle, spread
from koopman_control.features.coordinates import read, whole_turns
from koopman_control.trajectories import Trajectory

MOST = 20_000  # rows that findings rest on; more make them slower and hardly surer
STILL = 1e-9  # of a column's spread; what changes by less does not change


@dataclass(frozen=True, eq=False)
class Samples:
    """All steps of all trajectories, one below the other.

    Args:
        before: Observations before the step, shape (T, p).
        after: Observations after it, shape (T, p).
        inputs: Inputs applied, shape (T, m).
        rewards: Rewards, shape (T,); None: some trajectory has none.
        ended: Whether the episode ended in a terminal state by this step, shape (T,).
        episode: Number of the trajectory, shape (T,).
    """

    before: Array
    after: Array
    inputs: Array
    rewards: Array | None
    ended: NDArray[np.bool_]
    episode: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[Trajectory]) -> Samples:
        """Stack trajectories, the last row of a terminated one marked."""
        lengths = [len(run) for run in runs]
        ended = np.zeros(sum(lengths), dtype=bool)
        ended[np.cumsum(lengths) - 1] = [run.terminated for run in runs]
        rewards = [run.rewards for run in runs if run.rewards is not None]
        whole = cls(
            np.concatenate([run.observations[:-1] for run in runs]),
            np.concatenate([run.observations[1:] for run in runs]),
            np.concatenate([run.actions for run in runs]),
            np.concatenate(rewards) if len(rewards) == len(runs) else None,
            ended,
            np.repeat(np.arange(len(runs)), lengths),
        )
        return whole.where(np.arange(len(ended)) < MOST)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.before)

    def where(self, rows: NDArray[np.bool_]) -> Samples:
        """Return some of the rows."""
        rewards = None if self.rewards is None else self.rewards[rows]
        return Samples(
            self.before[rows],
            self.after[rows],
            self.inputs[rows],
            rewards,
            self.ended[rows],
            self.episode[rows],
        )

    @cached_property
    def spread(self) -> Array:
        """Standard deviation of every observation column, 1 for those that never move."""
        return spread(np.vstack([self.before, self.after]))

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """Whether an observation column changed in a step, shape (T, p)."""
        moved: NDArray[np.bool_] = np.abs(self.after - self.before) > STILL * self.spread
        return moved

    def increments(self, column: Angle, wraps: bool = False) -> Array:
        """Return what a step adds to a column or an angle, shape (T,), the shorter way round."""
        pair = isinstance(column, tuple)
        added: Array = read(self.after, column) - read(self.before, column)
        return added - whole_turns(added) if pair or wraps else added

    def earlier(self, values: Array, steps: int) -> Array:
        """Return what stood so many rows above, NaN where that is another episode."""
        found = np.full_like(values, np.nan)
        same = self.episode[steps:] == self.episode[: len(self) - steps]
        found[steps:][same] = values[: len(values) - steps][same]
        return found


def scaled(values: Array) -> Array:
    """Return columns with mean zero and spread one."""
    return np.asarray((values - values.mean(axis=0)) / spread(values))
