"""Running an environment and writing down what happens: every step counts."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from koopman_control.common import Array, Controller, begin_episode, finite_array, positive_int
from koopman_control.trajectories.environments import (
    Environment,
    open_environment,
    require_continuous,
)
from koopman_control.trajectories.excitation import HeldUniform, Signal
from koopman_control.trajectories.trajectory import Trajectory

# Signals are drawn in blocks, because how long an episode lasts is not known beforehand.
_BLOCK = 1000


class CollectionInterrupted(KeyboardInterrupt):
    """Ctrl-C during :func:`collect`; ``trajectories`` holds what was measured until then."""

    def __init__(self, trajectories: list[Trajectory]) -> None:
        steps = sum(len(item) for item in trajectories)
        super().__init__(f"interrupted after {steps} steps")
        self.trajectories = trajectories


class CollectionFailed(ValueError):
    """The environment gave something unusable; ``trajectories`` holds what was measured before."""

    def __init__(self, message: str, trajectories: list[Trajectory]) -> None:
        super().__init__(message)
        self.trajectories = trajectories


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

    Raises:
        TypeError: The spaces are not continuous, or policy is none of the above.
        ValueError: Both or neither of n_steps and n_episodes.
        CollectionFailed: The environment gave numbers that are not finite; carries the trajectories
            before that.
        CollectionInterrupted: Ctrl-C; carries the trajectories so far.

    Example:
        >>> sum(len(run) for run in collect("Pendulum-v1", n_steps=600))
        600
    """
    budget, episodes = _limits(n_steps, n_episodes)
    positive_int("seed", seed, minimum=0)
    excitation = _checked_policy(policy, noise)
    environment = open_environment(env)
    runs: list[_Run] = []
    done = 0
    try:
        bounds = require_continuous(environment)
        while done < budget and len(runs) < episodes:
            runs.append(_Run(environment, *bounds, until))
            runs[-1].play(excitation, noise, (seed, len(runs) - 1), budget - done, done, on_step)
            done += len(runs[-1])
    except KeyboardInterrupt:
        raise CollectionInterrupted([run.trajectory() for run in runs if len(run)]) from None
    except _NotFinite as error:
        kept = [run.trajectory() for run in runs if len(run)]
        raise CollectionFailed(str(error), kept) from None
    finally:
        if environment is not env:
            environment.close()
    return [run.trajectory() for run in runs]


class _NotFinite(Exception):
    """A number from the environment is NaN or infinite."""


class _Run:
    """One episode while it happens."""

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
        sequence = np.random.SeedSequence(entropy)
        self._seed = int(sequence.generate_state(1)[0])
        rng = np.random.default_rng(sequence.spawn(1)[0])
        choose = _chooser(policy, noise, self._bounds[1], rng, self._seed)
        observation, _ = self._env.reset(seed=self._seed)
        self._first = latest = self._checked("observation", observation)
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

    def _applicable(self, wanted: Array) -> tuple[Any, Array]:
        """Return the action as the environment takes it, and that same action in float64."""
        action = np.clip(wanted, *self._bounds[1]).astype(self._env.action_space.dtype)
        return action, action.astype(np.float64)

    def _checked(self, what: str, value: Any) -> Array:
        array = np.array(value, dtype=np.float64)
        if not np.isfinite(array).all():
            raise _NotFinite(
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


def _checked_policy(policy: object, noise: object) -> Signal | Controller:
    if isinstance(policy, str) and policy == "random":
        policy = HeldUniform()
    if not isinstance(policy, Signal | Controller):
        raise TypeError(
            f'policy is {policy!r}; expected "random", a signal such as HeldUniform(), or a '
            "controller with act and reset"
        )
    if noise is not None and not isinstance(noise, Signal):
        raise TypeError(f"noise is {noise!r}; expected a signal such as OrnsteinUhlenbeck()")
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
