"""Closed-loop episodes: a controller, a stock environment and nothing in between.

One after the other, or many at once in a vector environment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array, real_array, seed_number
from koopman_control.common.border import checked, shown
from koopman_control.common.protocols import Controller, begin_episode, takes
from koopman_control.trajectories.environments import (
    Environment,
    EnvironmentFault,
    VectorEnvironment,
    advanced,
    begun,
    faults_as_value_errors,
    numbers,
    require_continuous,
    taken,
)

APPLIED = "applied_action"  # where an environment's info says what acted in place of an action
LONGEST_EPISODE = 100_000  # steps after which an episode counts as one that never ends


@dataclass(frozen=True)
class Episode:
    """What happened in one episode of T steps.

    Attributes:
        seed: Seed given to `env.reset`.
        episode_return: Undiscounted sum of the rewards.
        terminated: Whether the task ended itself (as opposed to running into its time limit).
        observations: Shape (T + 1, p), the last one included.
        actions: Shape (T, m), as applied, that is after clipping.
        rewards: Shape (T,).
        act_seconds: Shape (T,), wall time of each `controller.act`, nothing else in it.
        fallbacks: Shape (T,), whether the controller used its fallback.
        violation: Sum of `info["violation"]`; None if the environment reports none.
        violation_steps: Number of steps with a positive `info["violation"]`.
        rungs: Steps by the rung that the controller says it used; empty where it says nothing.
    """

    seed: int
    episode_return: float
    terminated: bool
    observations: Array
    actions: Array
    rewards: Array
    act_seconds: Array
    fallbacks: NDArray[np.bool_]
    violation: float | None = None
    violation_steps: int = 0
    rungs: Mapping[str, int] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Number of steps T."""
        return len(self.rewards)


@checked
def action_bounds(env: Environment | VectorEnvironment) -> Array:
    """Return the action box of an environment, shape (2, m): lowest values, then highest.

    Raises:
        TypeError | ValueError: If the actions are not a finite box or the observations no vector.
    """
    return require_continuous(env)[1]


@checked
@faults_as_value_errors()
def run_episode(
    controller: Controller,
    env: Environment,
    seed: int,
    previous_input: ArrayLike | None = None,
) -> Episode:
    """Run one episode from `env.reset(seed=seed)` to its end.

    Before it `controller.seed(seed)` is called, if there is such a method (for controllers that
    draw random numbers), and `controller.reset()`, so the episode depends on its seed alone.

    Where the environment says in `info["applied_action"]` that something else acted than it was
    given (a saturated or stuck actuator, an operator), a controller whose `act` has an argument
    `applied` is told so in the next step. `Episode.actions` are what the environment was given.

    Args:
        controller: Anything with `reset()` and `act(observation) -> action`.
        env: A Gymnasium environment with a finite action box.
        seed: Seed of the initial state and of the environment's noise.
        previous_input: Action that acts as the episode begins, shape (m,), for
            `controller.reset(previous_input=...)`; None: nothing is told.

    Returns:
        The record of the episode.

    Raises:
        ValueError: If the controller returns an action of the wrong shape or one that is not
            finite, if the environment raises or returns what is no observation, reward or applied
            action, or if the episode does not end within 100,000 steps.
    """
    seed_number("seed", seed)
    observable, bounds = require_continuous(env)
    dtype, shape = env.action_space.dtype, observable.shape[1:]
    log = _Log(seed, begun(env, seed, shape))
    begin_episode(controller, seed, previous_input)
    told: dict[str, Any] = {}
    listens = takes(controller.act, "applied")
    for _ in range(LONGEST_EPISODE):
        seen = log.observations[-1].copy()
        started = perf_counter()
        action = controller.act(seen, **told)
        seconds = perf_counter() - started
        applied = np.clip(_checked_action(action, bounds, log), *bounds).astype(dtype)
        place = log.place()
        # The environment gets a copy: some change the action that they are given.
        seen, reward, terminated, truncated, info = advanced(env, applied.copy(), shape, place)
        log.add(applied.astype(np.float64), seconds, controller, seen, reward)
        if "violation" in info:
            log.violations.append(_violation(env, info["violation"], place))
        if terminated or truncated:
            return log.episode(terminated)
        told = {}
        if listens and APPLIED in info:
            told["applied"] = finite_array(f'info["{APPLIED}"]', info[APPLIED], shape=applied.shape)
    raise ValueError(
        f"the episode with seed {seed} did not end within {LONGEST_EPISODE:,} steps; give the "
        "environment a time limit (max_episode_steps in gym.make)"
    )


class _Log:
    """Collects the steps of a running episode."""

    def __init__(self, seed: int, observation: Array) -> None:
        self.seed = seed
        self.observations = [observation]
        self.actions: list[Array] = []
        self.rewards: list[float] = []
        self.seconds: list[float] = []
        self.fallbacks: list[bool] = []
        self.violations: list[float] = []
        self.rungs: Counter[str] = Counter()

    def add(
        self,
        action: Array,
        seconds: float,
        controller: Controller,
        observation: Array,
        reward: float,
    ) -> None:
        self.actions.append(action)
        self.rewards.append(reward)
        self.seconds.append(seconds)
        told = getattr(controller, "last", None)
        self.fallbacks.append(bool(getattr(told, "fallback", False)))
        rung = getattr(told, "rung", None)
        if rung is not None:
            self.rungs[rung] += 1
        self.observations.append(observation)

    def place(self) -> str:
        """Say which step comes next."""
        return f"in step {len(self.actions)} of the episode with seed {self.seed}"

    def episode(self, terminated: bool) -> Episode:
        return Episode(
            seed=self.seed,
            episode_return=float(np.sum(self.rewards)),
            terminated=terminated,
            observations=np.stack(self.observations),
            actions=np.stack(self.actions),
            rewards=np.array(self.rewards),
            act_seconds=np.array(self.seconds),
            fallbacks=np.array(self.fallbacks, dtype=np.bool_),
            violation=float(np.sum(self.violations)) if self.violations else None,
            violation_steps=int(np.sum(np.array(self.violations) > 0.0)),
            rungs=dict(self.rungs),
        )


def _violation(env: Environment, value: Any, place: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise EnvironmentFault(
            f'{env} gave info["violation"] {shown(value)} {place}; expected a number'
        ) from None


def _checked_action(action: Any, bounds: Array, log: _Log) -> Array:
    where = log.place()
    try:
        values = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"the controller returned the action {shown(action)} {where}; act() must return numbers"
        ) from None
    if values.shape != bounds.shape[1:]:
        raise ValueError(
            f"the controller returned an action of shape {values.shape} {where}; "
            f"act() must return one of shape {bounds.shape[1:]}"
        )
    if not np.all(np.isfinite(values)):
        raise ValueError(
            f"the controller returned the action {values.tolist()} {where}; act() must return "
            "finite numbers"
        )
    return values


class Batch(Protocol):
    """A controller of n copies of a plant, as `KoopmanMPC.batch` makes it."""

    fallback: NDArray[np.bool_]

    def reset(self) -> None:
        """Forget the past of all copies; it may take `previous_input`."""

    def act(self, observations: Array) -> Array:
        """Return the actions (n, m) for observations (n, p); it may take what was `applied`."""
        ...


def run_in_lockstep(
    controller: Controller,
    env: VectorEnvironment,
    seeds: Sequence[int],
    previous_input: ArrayLike | None = None,
) -> Iterator[Episode]:
    """Run one episode per seed, as many at once as the environment has copies.

    The time of a step is shared out evenly among the copies.

    Raises:
        TypeError: If the controller has no `batch`.
        ValueError: If the environment resets its copies in another way than by the next step,
            raises, returns what are no observations and rewards, or an episode never ends.
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
        yield from _round(batch, env, list(seeds[start : start + env.num_envs]), previous_input)


@faults_as_value_errors()
def _round(
    batch: Batch, env: VectorEnvironment, seeds: list[int], previous_input: ArrayLike | None
) -> list[Episode]:
    """Run episodes until all of them have ended; copies without a seed repeat the last one."""
    (observable, bounds), dtype = require_continuous(env), env.single_action_space.dtype
    n, spare = env.num_envs, env.num_envs - len(seeds)
    shape = n, observable.shape[1]
    every: Any = seeds + seeds[-1:] * spare  # Gymnasium takes lists, but declares a number only
    log = _BatchLog(begun(env, every, shape))
    if previous_input is None:
        batch.reset()
    else:
        batch.reset(previous_input=previous_input)  # type: ignore[call-arg]
    told: dict[str, Any] = {}
    listens = takes(batch.act, "applied")
    running = np.arange(n) < len(seeds)
    for step in range(LONGEST_EPISODE):
        started = perf_counter()
        actions = batch.act(log.observations[-1].copy(), **told)
        seconds = (perf_counter() - started) / n
        applied = np.clip(actions, *bounds).astype(dtype)
        place = f"in step {step} of the episodes with seeds {seeds}"
        # The environment gets a copy: some change the actions that they are given.
        answers = taken(env, applied.copy(), place)
        terminated = numbers(env, "terminated flags", answers[2], (n,), place) != 0.0
        truncated = numbers(env, "truncated flags", answers[3], (n,), place) != 0.0
        info = answers[4]
        log.add(
            applied,
            seconds,
            batch.fallback,
            numbers(env, "observations", answers[0], shape, place),
            numbers(env, "rewards", answers[1], (n,), place),
            info,
        )
        told = {"applied": _acted(info, actions)} if listens and APPLIED in info else {}
        ended = running & (terminated | truncated)
        log.ended(ended, terminated)
        running &= ~ended
        if not running.any():
            return [log.episode(i, seed) for i, seed in enumerate(seeds)]
    raise ValueError(
        f"an episode did not end within {LONGEST_EPISODE:,} steps; give the environment a time "
        "limit (max_episode_steps in gymnasium.make_vec)"
    )


def _acted(info: dict[str, Any], actions: Array) -> Array:
    """Inputs that acted, (n, m): what the environment says, for copies of which it says it."""
    said = np.asarray(info.get(f"_{APPLIED}", np.ones(len(actions), dtype=bool)), dtype=bool)
    given = info[APPLIED]
    if isinstance(given, np.ndarray) and given.dtype == object:  # of each copy its own
        each = zip(given, said, actions, strict=True)
        given = np.stack([own if known else action for own, known, action in each])
    acted = real_array(f'info["{APPLIED}"]', given, shape=actions.shape)
    return np.where(said[:, None], acted, actions)


class _BatchLog:
    """Collects the steps of all copies."""

    def __init__(self, observations: Array) -> None:
        self.observations = [observations]
        n = len(observations)
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
        observations: Array,
        rewards: Array,
        info: Mapping[str, Any],
    ) -> None:
        self.actions.append(np.asarray(actions, dtype=np.float64))
        self.seconds.append(seconds)
        self.fallbacks.append(fallback.copy())
        self.observations.append(observations)
        self.rewards.append(rewards)
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
