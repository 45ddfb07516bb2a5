"""Small environments and controllers with exactly known returns."""

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.common.arrays import Array


class Adder(gym.Env[Any, Any]):
    """Observation: the sum of the actions so far; reward: minus its distance from the seed."""

    dt = 0.1

    def __init__(self, length: int = 5, defect: str = "") -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), dtype=np.float32)
        self.action_space = gym.spaces.Box(-1.0, 0.5, (1,), dtype=np.float32)
        self._length, self._defect = length, defect

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        self._seed, self._steps, self._sum = seed or 0, 0, 0.0
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action.dtype == np.float32 and self.action_space.contains(action)
        self._steps += 1
        self._sum += float(action[0])
        observation = np.array([self._sum], dtype=np.float32)
        reward = -abs(self._sum - self._seed)
        if self._defect == "observation" and self._steps == 3:
            observation[0] = np.nan
        if self._defect == "reward" and self._steps == 3:
            reward = np.inf
        info = {"violation": self._sum - 1.0 if self._sum > 1.0 else 0.0}
        over = self._steps == self._length
        return observation, reward, over, False, info if self._defect != "silent" else {}


class Constant:
    """Returns the same action and falls back on every second step."""

    def __init__(self, action: Any) -> None:
        self._action = action
        self.resets = 0
        self.last = SimpleNamespace(fallback=False)

    def reset(self) -> None:
        self.resets += 1
        self.last = SimpleNamespace(fallback=True)

    def act(self, observation: Array) -> Any:
        observation[:] = np.nan  # a controller may do what it likes with its copy
        self.last = SimpleNamespace(fallback=not self.last.fallback)
        return self._action


@pytest.fixture
def adder() -> type[Adder]:
    return Adder


@pytest.fixture
def constant() -> type[Constant]:
    return Constant
