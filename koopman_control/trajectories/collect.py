"""Running an environment and writing down what happens: every step counts."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

from koopman_control.common import (
    Array,
    Controller,
    PathLike,
    begin_episode,
    finite_array,
    positive_int,
)
from koopman_control.common.border import checked
from koopman_control.common.protocols import takes
from koopman_control.trajectories.adapting import observation_names
from koopman_control.trajectories.environments import (
    Environment,
    EnvironmentFault,
    advanced,
    begun,
    open_environment,
    require_continuous,
)
from koopman_control.trajectories.excitation import HeldUniform, Signal
from koopman_control.trajectories.store import Checkpoint
from koopman_control.trajectories.trajectory import Trajectory, total_steps

# Signals are drawn in blocks, because how long an episode lasts is not known beforehand.
_BLOCK = 1000
Choice = Callable[[Array, Array | None], Array]
REPEATED = 100  # steps of a stored episode that are chosen again to see whether all is as it was


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
        latest, applied = self._first, None
        shape = latest.shape
        over = False
        while not over and len(self) < budget:
            action, applied = self._applicable(choose(latest, applied))
            place = f"in step {len(self)} of the episode with reset seed {self._seed}"
            latest, reward, terminated, truncated, _ = advanced(self._env, action, shape, place)
            self._steps.append((applied, reward, latest))
            self._terminated = terminated
            broken_off = self._until is not None and self._until(latest.copy())
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
        before = None
        pairs = zip(stored.observations[:-1], stored.actions, strict=True)
        for seen, applied in islice(pairs, REPEATED):
            if not np.array_equal(self._applicable(choose(seen, before))[1], applied):
                return False
            before = applied
        return True

    def trajectory(self) -> Trajectory:
        """Return what was measured; an episode that did not terminate was truncated."""
        actions, rewards, observations = zip(*self._steps, strict=True)
        dt = getattr(self._env.unwrapped, "dt", None)
        known = isinstance(dt, int | float | np.number) and not isinstance(dt, bool) and dt > 0
        seen = np.array([self._first, *observations])
        return Trajectory(
            observations=seen,
            actions=np.array(actions),
            rewards=np.array(rewards),
            dt=float(dt) if dt is not None and known else None,
            observation_bounds=self._bounds[0],
            action_bounds=self._bounds[1],
            terminated=self._terminated,
            truncated=not self._terminated,
            seed=self._seed,
            env_id=self._env.spec.id if self._env.spec is not None else None,
            missing=bool(np.isnan(seen).any()),
            observation_names=observation_names(self._env, len(self._first)),
        )

    def _begin(
        self, policy: Signal | Controller, noise: Signal | None, entropy: tuple[int, int]
    ) -> Choice:
        """Reset environment and policy; return what chooses actions."""
        sequence = np.random.SeedSequence(entropy)
        self._seed = int(sequence.generate_state(1)[0])
        rng = np.random.default_rng(sequence.spawn(1)[0])
        choose = _chooser(policy, noise, self._bounds[1], rng, self._seed)
        self._first = begun(self._env, self._seed, self._bounds[0].shape[1:])
        return choose

    def _applicable(self, wanted: Array) -> tuple[Any, Array]:
        """Return the action as the environment takes it, and that same action in float64."""
        action = np.clip(wanted, *self._bounds[1]).astype(self._env.action_space.dtype)
        return action, action.astype(np.float64)


def _chooser(
    policy: Signal | Controller,
    noise: Signal | None,
    action_bounds: Array,
    rng: np.random.Generator,
    seed: int,
) -> Choice:
    """Return a map from observations, and what acted before them, to wanted actions."""
    if isinstance(policy, Signal):
        values = _stream(policy, action_bounds, rng)
        return lambda observation, applied: next(values)
    begin_episode(policy, seed)
    shape = action_bounds[0].shape
    if noise is None:
        return lambda observation, applied: _action_of(policy, observation, shape)
    middle = action_bounds.mean(axis=0)
    noises = _stream(noise, action_bounds, rng)
    listens = takes(policy.act, "applied")

    def choose(observation: Array, applied: Array | None) -> Array:
        # With the noise, something else acts than it chose.
        told = {} if applied is None or not listens else {"applied": applied.copy()}
        action = _action_of(policy, observation, shape, told) + next(noises) - middle
        return np.asarray(action)

    return choose


def _stream(signal: Signal, bounds: Array, rng: np.random.Generator) -> Iterator[Array]:
    while True:
        yield from signal.sample(_BLOCK, bounds[0], bounds[1], rng)


def _action_of(
    controller: Controller,
    observation: Array,
    shape: tuple[int, ...],
    told: Mapping[str, Array] = MappingProxyType({}),
) -> Array:
    # A copy, so that a controller cannot change what is recorded.
    action = controller.act(observation.copy(), **told)
    return finite_array(f"the action of {type(controller).__name__}", action, shape=shape)


class CollectionInterrupted(KeyboardInterrupt):
    """Ctrl-C during :func:`collect`; ``trajectories`` holds what was measured until then."""

    def __init__(self, trajectories: list[Trajectory]) -> None:
        steps = sum(len(item) for item in trajectories)
        super().__init__(f"interrupted after {steps} steps")
        self.trajectories = trajectories

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes with what was measured."""
        return type(self), (self.trajectories,)


class CollectionFailed(ValueError):
    """The environment gave something unusable; ``trajectories`` holds what was measured before."""

    def __init__(self, message: str, trajectories: list[Trajectory]) -> None:
        super().__init__(message)
        self.trajectories = trajectories

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes with what was measured."""
        return type(self), (str(self), self.trajectories)


def carry(error: Exception, trajectories: list[Trajectory]) -> None:
    """Let any other error carry what was measured before it, as `trajectories` likewise."""
    if trajectories:
        error.trajectories = trajectories  # type: ignore[attr-defined]
        error.add_note(
            f"The {total_steps(trajectories)} steps measured before are in this error's "
            "`trajectories`."
        )


@checked
def collect(
    env: Environment | str,
    policy: str | Signal | Controller = "random",
    *,
    n_steps: int | None = None,
    n_episodes: int | None = None,
    seed: int = 0,
    noise: Signal | None = None,
    until: Callable[[Array], bool] | None = None,
    on_step: Callable[[int], None] | None = None,
    checkpoint: PathLike | None = None,
) -> list[Trajectory]:
    """Run episodes one after another and return what was observed and applied.

    Episode i depends on (seed, i) only, so a longer run begins with the shorter one.

    Args:
        env: A Gymnasium environment, or the id of one, which is then closed at the end.
        policy: "random" (uniform in the action box), a signal, or a controller. Actions are clipped
            to the action box; the clipped ones are applied and stored.
        n_steps: Steps in all; the last episode is cut (truncated) there. Give this or n_episodes.
        n_episodes: Episodes in all.
        seed: Determines the reset seeds and everything random in the actions.
        noise: Signal whose deviation from the middle of the box is added to a controller's actions.
        until: Says of an observation whether to break the episode off there and reset, for plants
            of which nothing is learned once they have run against a stop; None never does.
        on_step: Called after every step with the number of steps so far.
        checkpoint: Folder in which every finished episode is kept at once. After Ctrl-C, a crash or
            a power cut the same call goes on behind the last of them, and ends with the bits that
            an uninterrupted one ends with.

    Raises:
        TypeError: The spaces are not continuous, or policy is none of the above.
        ValueError: Both or neither of n_steps and n_episodes, or the checkpoint is of another
            collection.
        FileFormatError: A file of the checkpoint is damaged; delete it, and its episode is
            collected again.
        OSError: The checkpoint cannot be written.
        CollectionFailed: The environment raised, or gave what is no observation or reward, at the
            first reset or later; carries the trajectories before that.
        CollectionInterrupted: Ctrl-C; carries the trajectories so far.
        Exception: Whatever else is raised by the policy, `until` or `on_step`, or because a disk is
            full, has the trajectories before it as an attribute `trajectories`.

    Example:
        >>> sum(len(run) for run in collect("Pendulum-v1", n_steps=600))
        600
    """
    budget, episodes = _limits(n_steps, n_episodes)
    positive_int("seed", seed, minimum=0)
    excitation = _checked_policy(policy, noise)
    environment = open_environment(env)
    stored: list[Trajectory] = []
    runs: list[Recording] = []
    kept = None
    try:
        bounds = require_continuous(environment)
        if checkpoint is not None:
            kept = Checkpoint(
                checkpoint, _conditions(environment, seed, n_steps, n_episodes, until)
            )
            stored = kept.episodes()
            for first in stored[:1]:
                again = Recording(environment, *bounds, until)
                kept.require(again.would_repeat(first, excitation, noise, (seed, 0)))
        done = total_steps(stored)
        while done < budget and (number := len(stored) + len(runs)) < episodes:
            runs.append(Recording(environment, *bounds, until))
            runs[-1].play(excitation, noise, (seed, number), budget - done, done, on_step)
            done += len(runs[-1])
            if kept is not None:
                kept.add(number, runs[-1].trajectory())
    except KeyboardInterrupt:
        raise CollectionInterrupted(_finished(stored, runs)) from None
    except EnvironmentFault as error:
        raise CollectionFailed(str(error), _finished(stored, runs)) from error.__cause__
    except Exception as error:
        carry(error, _finished(stored, runs))
        raise
    finally:
        if kept is not None:
            kept.close()
        if environment is not env:
            environment.close()
    return _finished(stored, runs)


def _finished(stored: list[Trajectory], runs: list[Recording]) -> list[Trajectory]:
    return [*stored, *(run.trajectory() for run in runs if len(run))]


def _conditions(
    env: Environment,
    seed: int,
    n_steps: int | None,
    n_episodes: int | None,
    until: Callable[[Array], bool] | None,
) -> dict[str, Any]:
    """Say what a collection depends on, as far as its first episode does not show it."""
    return {
        "env_id": env.spec.id if env.spec is not None else None,
        "seed": int(seed),
        "n_steps": None if n_steps is None else int(n_steps),
        "n_episodes": None if n_episodes is None else int(n_episodes),
        "breaks_off": until is not None,
    }


def _checked_policy(policy: object, noise: object) -> Signal | Controller:
    if isinstance(policy, str) and policy == "random":
        policy = HeldUniform()
    if not isinstance(policy, Signal | Controller):
        raise TypeError(
            f'policy is {policy!r}; expected "random", a signal such as HeldUniform(), or a '
            "controller with act and reset"
        )
    if noise is not None and isinstance(policy, Signal):
        raise ValueError("noise is for controllers; a signal alone is excitation enough: drop one")
    return policy


def _limits(n_steps: int | None, n_episodes: int | None) -> tuple[float, float]:
    if (n_steps is None) == (n_episodes is None):
        raise ValueError(
            f"n_steps is {n_steps} and n_episodes is {n_episodes}; give exactly one of them"
        )
    if n_steps is not None:
        return positive_int("n_steps", n_steps), np.inf
    return np.inf, positive_int("n_episodes", n_episodes)
