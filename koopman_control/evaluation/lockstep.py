"""Many episodes at once: a vector environment, and one controller that acts for all its copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.common.protocols import Controller
from koopman_control.evaluation.episode import LONGEST_EPISODE, Episode
from koopman_control.trajectories.environments import VectorEnvironment, require_continuous


class Batch(Protocol):
    """A controller of n copies of a plant, as `KoopmanMPC.batch` makes it."""

    fallback: NDArray[np.bool_]

    def reset(self) -> None:
        """Forget the past of all copies."""

    def act(self, observations: Array) -> Array:
        """Return the actions (n, m) for observations (n, p)."""
        ...


def run_in_lockstep(
    controller: Controller, env: VectorEnvironment, seeds: Sequence[int]
) -> Iterator[Episode]:
    """Run one episode per seed, as many at once as the environment has copies.

    The time of a step is shared out evenly among the copies.

    Raises:
        TypeError: If the controller has no `batch`.
        ValueError: If the environment resets its copies in another way than by the next step,
            returns numbers that are not finite, or an episode never ends.
    """
    make = getattr(controller, "batch", None)
    if not callable(make):
        raise TypeError(
            f"controller is a {type(controller).__name__} without batch(n_copies), which a vector "
            "environment needs; give a single environment"
        )
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.NEXT_STEP:
        raise ValueError(
            f"the vector environment's autoreset_mode is {mode}; expected AutoresetMode.NEXT_STEP"
        )
    batch: Batch = make(env.num_envs)
    for start in range(0, len(seeds), env.num_envs):
        yield from _round(batch, env, list(seeds[start : start + env.num_envs]))


def _round(batch: Batch, env: VectorEnvironment, seeds: list[int]) -> list[Episode]:
    """Run episodes until all of them have ended; copies without a seed repeat the last one."""
    bounds, dtype = require_continuous(env)[1], env.single_action_space.dtype
    n, spare = env.num_envs, env.num_envs - len(seeds)
    every: Any = seeds + seeds[-1:] * spare  # Gymnasium takes lists, but declares a number only
    observations = env.reset(seed=every)[0]
    batch.reset()
    log = _Log(observations)
    running = np.arange(n) < len(seeds)
    for _ in range(LONGEST_EPISODE):
        begun = perf_counter()
        actions = batch.act(log.observations[-1].copy())
        seconds = (perf_counter() - begun) / n
        applied = np.clip(actions, *bounds).astype(dtype)
        observations, rewards, terminated, truncated, info = env.step(applied)
        log.add(applied, seconds, batch.fallback, observations, rewards, info)
        ended = running & (terminated | truncated)
        log.ended(ended, terminated)
        running &= ~ended
        if not running.any():
            return [log.episode(i, seed) for i, seed in enumerate(seeds)]
    raise ValueError(
        f"an episode did not end within {LONGEST_EPISODE:,} steps; give the environment a time "
        "limit (max_episode_steps in gymnasium.make_vec)"
    )


class _Log:
    """Collects the steps of all copies."""

    def __init__(self, observations: Any) -> None:
        self.observations = [_checked("observations", observations)]
        n = len(self.observations[0])
        self.actions: list[Array] = []
        self.rewards: list[Array] = []
        self.seconds: list[float] = []
        self.fallbacks: list[NDArray[np.bool_]] = []
        self.violations: list[Array] = []
        self._length, self._terminated = np.zeros(n, dtype=int), np.zeros(n, dtype=bool)

    def add(
        self,
        actions: Array,
        seconds: float,
        fallback: NDArray[np.bool_],
        observations: Any,
        rewards: Any,
        info: dict[str, Any],
    ) -> None:
        self.actions.append(np.asarray(actions, dtype=np.float64))
        self.seconds.append(seconds)
        self.fallbacks.append(fallback.copy())
        self.observations.append(_checked("observations", observations))
        self.rewards.append(_checked("rewards", rewards))
        if "violation" in info:
            self.violations.append(np.array(info["violation"], dtype=np.float64))

    def ended(self, copies: NDArray[np.bool_], terminated: NDArray[np.bool_]) -> None:
        """Note that the episodes of some copies (n,) end with the step added last."""
        self._length[copies] = len(self.rewards)
        self._terminated[copies] = terminated[copies]

    def episode(self, i: int, seed: int) -> Episode:
        T = int(self._length[i])
        rewards = np.array([of_step[i] for of_step in self.rewards[:T]])
        violations = np.array([of_step[i] for of_step in self.violations[:T]])
        return Episode(
            seed=seed,
            episode_return=float(np.sum(rewards)),
            terminated=bool(self._terminated[i]),
            observations=np.stack([of_step[i] for of_step in self.observations[: T + 1]]),
            actions=np.stack([of_step[i] for of_step in self.actions[:T]]),
            rewards=rewards,
            act_seconds=np.array(self.seconds[:T]),
            fallbacks=np.array([of_step[i] for of_step in self.fallbacks[:T]]),
            violation=float(np.sum(violations)) if len(violations) else None,
            violation_steps=int(np.sum(violations > 0.0)),
        )


def _checked(name: str, values: Any) -> Array:
    given = np.array(values, dtype=np.float64)
    if not np.isfinite(given).all():
        raise ValueError(f"the vector environment returned {name} that are not finite")
    return given
