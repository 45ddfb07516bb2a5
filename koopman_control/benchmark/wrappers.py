"""What may be put around an environment: bad sensors, a delay, hidden columns, other masses."""

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

OURS = "koopman_envs/"
UNBOUNDED = 1e6
SHOWN = 4.0  # standard deviations that a sensor shows where there are no bounds
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
class Imperfect:
    """Wraps with sensors that are worse than their noise.

    Sizes are shares of half the range of an observation, or of four standard deviations under
    random actions where there are no bounds.

    Args:
        columns: Observations concerned; None: all, but for the targets of our own environments.
        noise: Standard deviation of Gaussian noise.
        correlation: Of the noise, from one sample to the next.
        bias: What every sensor is off by, for ever; up and down in turn.
        bits: What a sensor resolves; None: everything.
        glitches: Share of single readings that are anywhere within the range of the true one.
        missing: Share of single readings that are not there, NaN.
    """

    columns: tuple[int, ...] | None = None
    noise: float = 0.0
    correlation: float = 0.0
    bias: float = 0.0
    bits: int | None = None
    glitches: float = 0.0
    missing: float = 0.0

    def __call__(self, env: Environment) -> Environment:
        """Wrap; everything random follows the seed of the reset."""
        if env.spec is None:
            raise ValueError("sensors need an environment with a spec, to know how far it varies")
        sizes = _half_range(env.spec.id)
        if self.columns is not None:
            sizes = np.where(np.isin(np.arange(len(sizes)), self.columns), sizes, 0.0)
        return ImperfectSensors(env, sizes, self)


class ImperfectSensors(gym.Wrapper[Any, Any, Any, Any]):
    """An environment as `Imperfect` sensors show it; `sizes` (p,) are zero for perfect ones."""

    def __init__(self, env: Environment, sizes: Array, sensors: Imperfect) -> None:
        super().__init__(env)
        self._sizes, self._sensors = sizes, sensors
        self._drift = np.zeros_like(sizes)
        if sensors.missing:
            self.metadata = {**env.metadata, "missing": True}

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, and draw the noise anew."""
        observation, info = self.env.reset(**options)
        self._drift = self.np_random.standard_normal(len(self._sizes))
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step."""
        observation, *rest = self.env.step(action)
        c, fresh = self._sensors.correlation, self.np_random.standard_normal(len(self._sizes))
        self._drift = c * self._drift + np.sqrt(1.0 - c**2) * fresh
        return (self._seen(observation), *rest)  # type: ignore[return-value]

    def _seen(self, observation: Any) -> Array:
        """Return what the sensors show of an observation (p,)."""
        sensors, sizes, rng = self._sensors, self._sizes, self.np_random
        y = np.asarray(observation, dtype=np.float64)
        y = y + sizes * sensors.noise * self._drift
        y = y + sizes * sensors.bias * (-1.0) ** np.arange(len(y))
        if sensors.bits is not None:
            step = np.where(sizes > 0.0, 2.0 * sizes / 2**sensors.bits, 1.0)
            y = np.where(sizes > 0.0, np.round(y / step) * step, y)
        struck, anywhere, lost = rng.random((3, len(y)))
        y = np.where(struck < sensors.glitches, y + sizes * (2.0 * anywhere - 1.0), y)
        return np.where((lost < sensors.missing) & (sizes > 0.0), np.nan, y)


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
    half, found = _ranges(env_id)
    return np.asarray(np.where(half < UNBOUNDED, half, found))


@cache
def _half_range(env_id: str) -> Array:
    """Half of what a sensor has to show, (p,); zero for targets of our own environments."""
    half, found = _ranges(env_id)
    if env_id.startswith(OURS):
        with closing(open_environment(env_id, {"observation_noise": 1.0})) as env:
            own: Any = env.unwrapped
            return np.pad(own.noise, (0, len(half) - len(own.noise)))
    return np.asarray(np.where(half < UNBOUNDED, half, SHOWN * found))


@cache
def _ranges(env_id: str) -> tuple[Array, Array]:
    """Half the range of each observation, and its standard deviation under random actions."""
    with closing(open_environment(env_id)) as env:
        space: Any = env.observation_space
        half = 0.5 * (space.high.astype(np.float64) - space.low.astype(np.float64))
        runs = collect(env, HeldUniform(hold=(1, 10)), n_steps=SAMPLED, seed=0)
    return half, np.concatenate([run.observations for run in runs]).std(axis=0)
