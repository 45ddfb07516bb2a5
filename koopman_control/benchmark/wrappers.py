"""What may be put around an environment: noise, a delay, hidden columns, other masses."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np

from koopman_control.common import Array
from koopman_control.trajectories import HeldUniform, collect, open_environment
from koopman_control.trajectories.environments import Environment

SAMPLED = 1000  # random steps that tell how far an observation without bounds varies


@dataclass(frozen=True)
class Noise:
    """Wraps with Gaussian noise on some observations.

    Args:
        share: Its standard deviation, as a share of half the range of an observation, or of the
            standard deviation under random actions where there are no bounds.
        columns: Observations that are noisy; None: all.
    """

    share: float
    columns: tuple[int, ...] | None = None

    def levels(self, env_id: str) -> Array:
        """Return the standard deviation of the noise on each observation, (p,)."""
        spread = _spread(env_id)
        levels = np.zeros_like(spread)
        picked = slice(None) if self.columns is None else list(self.columns)
        levels[picked] = self.share * spread[picked]
        return levels

    def __call__(self, env: Environment) -> Environment:
        """Wrap; the noise follows the seed of the reset."""
        spec = env.spec
        if spec is None:
            raise ValueError("noise needs an environment with a spec, to know how far it varies")
        noisy = Noisy(env, self.levels(spec.id))
        return gym.wrappers.TransformObservation(env, noisy, env.observation_space)


@dataclass(frozen=True)
class Noisy:
    """Adds noise of these standard deviations (p,), drawn from the environment's generator."""

    env: Environment
    levels: Array

    def __call__(self, observation: Array) -> Array:
        """Return a noisy observation (p,)."""
        draws = self.env.unwrapped.np_random.standard_normal(len(self.levels))
        return np.asarray(observation + self.levels * draws)


@dataclass(frozen=True)
class Hidden:
    """Wraps so that some observations read zero.

    Args:
        columns: Observations that are hidden.
    """

    columns: tuple[int, ...]

    def __call__(self, env: Environment) -> Environment:
        """Wrap."""
        seen = np.ones(env.observation_space.shape or ())
        seen[list(self.columns)] = 0.0
        mask = Mask(seen)
        return gym.wrappers.TransformObservation(env, mask, env.observation_space)


@dataclass(frozen=True)
class Mask:
    """Multiplies an observation by ones, and by zeros where it is hidden."""

    seen: Array

    def __call__(self, observation: Array) -> Array:
        """Return what is seen of an observation (p,)."""
        return np.asarray(observation * self.seen)


class Delay(gym.Wrapper[Any, Any, Any, Any]):
    """Lets every action act one step later; the first step has action zero."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, and forget actions under way."""
        zero = np.zeros(self.action_space.shape or (), dtype=self.action_space.dtype)
        self._under_way = deque([zero])
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Apply the action before."""
        self._under_way.append(np.array(action))
        return self.env.step(self._under_way.popleft())


@dataclass(frozen=True)
class Scaled:
    """Wraps nothing, but multiplies attributes of the environment.

    Args:
        names: Attributes, with dots from the innermost environment on: numbers or arrays.
        factor: By what.
    """

    names: Sequence[str]
    factor: float

    def __call__(self, env: Environment) -> Environment:
        """Multiply."""
        for name in self.names:
            *path, last = name.split(".")
            owner: Any = env.unwrapped
            for part in path:
                owner = getattr(owner, part)
            value = getattr(owner, last)
            if isinstance(value, np.ndarray):
                value *= self.factor
            else:
                setattr(owner, last, value * self.factor)
        return env


@cache
def _spread(env_id: str) -> Array:
    """How far each observation varies, (p,): half its range, or what random actions bring."""
    with closing(open_environment(env_id)) as env:
        space: Any = env.observation_space
        half = 0.5 * (space.high.astype(np.float64) - space.low.astype(np.float64))
        runs = collect(env, HeldUniform(hold=(1, 10)), n_steps=SAMPLED, seed=0)
    found = np.concatenate([run.observations for run in runs]).std(axis=0)
    return np.asarray(np.where(half < 1e6, half, found))
