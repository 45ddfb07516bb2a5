"""One episode: what the policy chose, what was applied, and what was seen."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from koopman_control.common import Array, Controller, begin_episode, finite_array
from koopman_control.trajectories.environments import Environment
from koopman_control.trajectories.excitation import Signal
from koopman_control.trajectories.trajectory import Trajectory

# Signals are drawn in blocks, because how long an episode lasts is not known beforehand.
_BLOCK = 1000
REPEATED = 100  # steps of a stored episode that are chosen again to see whether all is as it was


class NotFinite(Exception):
    """A number from the environment is NaN or infinite."""


class Recording:
    """One episode while it happens.

    Args:
        env: The environment.
        observation_bounds: Shape (2, p).
        action_bounds: Shape (2, m).
        until: Says of an observation whether to break the episode off there; None never does.
    """

    def __init__(
        self,
        env: Environment,
        observation_bounds: Array,
        action_bounds: Array,
        until: Callable[[Array], bool] | None,
    ) -> None:
        self._env, self._until = env, until
        self._bounds = observation_bounds, action_bounds
        # One append per step keeps the record whole if Ctrl-C strikes in between.
        self._steps: list[tuple[Array, float, Array]] = []
        self._terminated = False

    def __len__(self) -> int:
        """Return the number of steps so far."""
        return len(self._steps)

    def play(
        self,
        policy: Signal | Controller,
        noise: Signal | None,
        entropy: tuple[int, int],
        budget: float,
        done: int,
        on_step: Callable[[int], None] | None,
    ) -> None:
        """Run to the end of the episode, or of the budget."""
        choose = self._begin(policy, noise, entropy)
        latest = self._first
        over = False
        while not over and len(self) < budget:
            action, applied = self._applicable(choose(latest))
            observation, reward, terminated, truncated, _ = self._env.step(action)
            latest = self._checked("observation", observation)
            self._steps.append((applied, float(self._checked("reward", reward)), latest))
            self._terminated = bool(terminated)
            broken_off = self._until is not None and self._until(latest)
            over = terminated or truncated or broken_off
            if on_step is not None:
                on_step(done + len(self))

    def would_repeat(
        self,
        stored: Trajectory,
        policy: Signal | Controller,
        noise: Signal | None,
        entropy: tuple[int, int],
    ) -> bool:
        """Whether this episode would begin as a stored one did, and the same actions be chosen."""
        choose = self._begin(policy, noise, entropy)
        if self._seed != stored.seed or not np.array_equal(self._first, stored.observations[0]):
            return False
        pairs = zip(stored.observations[:-1], stored.actions, strict=True)
        return all(
            np.array_equal(self._applicable(choose(seen))[1], applied)
            for seen, applied in islice(pairs, REPEATED)
        )

    def trajectory(self) -> Trajectory:
        """Return what was measured; an episode that did not terminate was truncated."""
        actions, rewards, observations = zip(*self._steps, strict=True)
        dt = getattr(self._env.unwrapped, "dt", None)
        known = isinstance(dt, int | float | np.number) and not isinstance(dt, bool) and dt > 0
        return Trajectory(
            observations=np.array([self._first, *observations]),
            actions=np.array(actions),
            rewards=np.array(rewards),
            dt=float(dt) if dt is not None and known else None,
            observation_bounds=self._bounds[0],
            action_bounds=self._bounds[1],
            terminated=self._terminated,
            truncated=not self._terminated,
            seed=self._seed,
            env_id=self._env.spec.id if self._env.spec is not None else None,
        )

    def _begin(
        self, policy: Signal | Controller, noise: Signal | None, entropy: tuple[int, int]
    ) -> Callable[[Array], Array]:
        """Reset environment and policy; return what chooses actions."""
        sequence = np.random.SeedSequence(entropy)
        self._seed = int(sequence.generate_state(1)[0])
        rng = np.random.default_rng(sequence.spawn(1)[0])
        choose = _chooser(policy, noise, self._bounds[1], rng, self._seed)
        observation, _ = self._env.reset(seed=self._seed)
        self._first = self._checked("observation", observation)
        return choose

    def _applicable(self, wanted: Array) -> tuple[Any, Array]:
        """Return the action as the environment takes it, and that same action in float64."""
        action = np.clip(wanted, *self._bounds[1]).astype(self._env.action_space.dtype)
        return action, action.astype(np.float64)

    def _checked(self, what: str, value: Any) -> Array:
        array = np.array(value, dtype=np.float64)
        if not np.isfinite(array).all():
            raise NotFinite(
                f"{self._env} gave the {what} {array} at step {len(self)} of the episode with "
                f"reset seed {self._seed}; expected finite numbers"
            )
        return array


def _chooser(
    policy: Signal | Controller,
    noise: Signal | None,
    action_bounds: Array,
    rng: np.random.Generator,
    seed: int,
) -> Callable[[Array], Array]:
    """Return a map from observations to wanted actions for one episode."""
    if isinstance(policy, Signal):
        values = _stream(policy, action_bounds, rng)
        return lambda _: next(values)
    begin_episode(policy, seed)
    shape = action_bounds[0].shape
    if noise is None:
        return lambda observation: _action_of(policy, observation, shape)
    middle = action_bounds.mean(axis=0)
    noises = _stream(noise, action_bounds, rng)
    return lambda observation: _action_of(policy, observation, shape) + next(noises) - middle


def _stream(signal: Signal, bounds: Array, rng: np.random.Generator) -> Iterator[Array]:
    while True:
        yield from signal.sample(_BLOCK, bounds[0], bounds[1], rng)


def _action_of(controller: Controller, observation: Array, shape: tuple[int, ...]) -> Array:
    # A copy, so that a controller cannot change what is recorded.
    action = controller.act(observation.copy())
    return finite_array(f"the action of {type(controller).__name__}", action, shape=shape)
