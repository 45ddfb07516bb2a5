"""Dynamic programming on a grid of two states, with linear interpolation, compiled by Numba.

    pip install 'koopman-control[benchmarks]'

Tables of the cost-to-go are kept for each number of steps left, so a policy is optimal for the
whole episode, its end included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from koopman_control.common import Array

Table = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Where cost-to-go is kept.

    Attributes:
        shape: Points in each direction.
        low: Lowest states.
        high: Highest states; in a periodic direction the point after the last.
        periodic: Whether the first state is an angle.
    """

    shape: tuple[int, int]
    low: tuple[float, float]
    high: tuple[float, float]
    periodic: bool = False

    @property
    def box(self) -> tuple[float, float, float, float, bool]:
        """What the compiled functions take."""
        return (*self.low, *self.high, self.periodic)


def _interpolated(V: Table, x: float, y: float, box: Any) -> float:
    n, m = V.shape
    if box[4]:
        width = box[2] - box[0]
        a = ((x - box[0]) % width) / width * n
        i, part = int(a) % n, a - int(a)
        j = (i + 1) % n
    else:
        a = (x - box[0]) / (box[2] - box[0]) * (n - 1)
        i = min(int(a), n - 2)
        part, j = a - i, i + 1
    b = (y - box[1]) / (box[3] - box[1]) * (m - 1)
    k = min(int(b), m - 2)
    rest = b - k
    left = (1 - rest) * V[i, k] + rest * V[i, k + 1]
    right = (1 - rest) * V[j, k] + rest * V[j, k + 1]
    return float((1 - part) * left + part * right)


interpolated: Any = njit(_interpolated)


def _best(V: Table, x: float, y: float, actions: Array, step: Any, box: Any) -> tuple[float, float]:
    least, chosen = np.inf, 0.0
    for u in actions:
        x2, y2, cost, over = step(x, y, u)
        if not over:
            cost += interpolated(V, x2, y2, box)
        if cost < least:
            least, chosen = cost, u
    return least, chosen


best: Any = njit(_best)


def _backup(V: Table, W: Table, actions: Array, step: Any, box: Any) -> None:
    n, m = V.shape
    cells = n if box[4] else n - 1
    for i in prange(n):
        x = box[0] + (box[2] - box[0]) * i / cells
        for k in range(m):
            y = box[1] + (box[3] - box[1]) * k / (m - 1)
            W[i, k] = best(V, x, y, actions, step, box)[0]


backup: Any = njit(_backup, parallel=True, fastmath=True)


class OptimalPolicy:
    """Minimises cost now plus cost-to-go, at the environment's own state.

    Args:
        env: The environment, whose `unwrapped.state` is the pair of states.
        step: Its dynamics and cost, compiled: from both states and the action to both states
            afterwards, the cost and whether the episode ends.
        grid: The grid.
        n_steps: Length of an episode.
        backup_actions: Actions tried in the backups.
        actions: Actions tried in the episode.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        step: Any,
        grid: Grid,
        n_steps: int,
        backup_actions: Array,
        actions: Array,
    ) -> None:
        self._plant: Any = env.unwrapped
        self._dynamics, self._box, self._actions = step, grid.box, actions
        self._tables = np.zeros((n_steps, *grid.shape), np.float32)
        for before, after in zip(self._tables[:-1], self._tables[1:], strict=True):
            backup(before, after, backup_actions, step, self._box)
        self._left = n_steps

    def reset(self) -> None:
        self._left = len(self._tables)

    def act(self, observation: Array) -> Array:
        self._left -= 1
        x, y = (float(v) for v in self._plant.state)
        table = self._tables[self._left]
        return np.array([best(table, x, y, self._actions, self._dynamics, self._box)[1]])
