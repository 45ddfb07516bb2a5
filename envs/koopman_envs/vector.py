"""Many copies of one plant in a single environment, stepped together by array arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from koopman_control.common.border import at_least, checked, shown
from koopman_envs import checks
from koopman_envs.copies import Copies
from koopman_envs.ode import ODEEnv

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class ODEVectorEnv(VectorEnv[Array, NDArray[np.float32], NDArray[Any]]):
    """The vector version: copy i seeded with s + i equals the single environment to the last bit.

    A copy whose episode ended is reset by the next step, whose action it ignores, as in Gymnasium's
    SyncVectorEnv. States are kept by component, (n, N) for N copies, and go through the plant's
    own formulas.

    Args:
        num_envs: Number of copies.
        max_episode_steps: Time steps until an episode is truncated; None or -1 for never.
        render_mode: None or "rgb_array", which draws every copy.
        **options: The constructor options of the single environment.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "autoreset_mode": AutoresetMode.NEXT_STEP,
        "render_modes": ["rgb_array"],
        "render_fps": 50,
    }
    environment: ClassVar[type[ODEEnv]]
    """Class of the single environment."""

    @checked
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        at_least("num_envs", num_envs, 1)
        checks.render_mode(render_mode, self.metadata["render_modes"])
        plant = self.environment(render_mode, **options)
        self.num_envs, self.render_mode, self._plant = num_envs, render_mode, plant
        self.single_observation_space = plant.observation_space
        self.single_action_space = plant.action_space
        self.observation_space = batch_space(plant.observation_space, num_envs)
        self.action_space = batch_space(plant.action_space, num_envs)
        self._limit = checks.step_limit(max_episode_steps)
        self._copies = Copies(plant, num_envs)
        self._time = np.zeros(num_envs, dtype=np.int64)
        self._done: Mask | None = None
        self._generators: list[np.random.Generator] = []
        self._everyone = np.ones(num_envs, dtype=np.bool_)
        self._everyone.flags.writeable = False

    @property
    def dt(self) -> float:
        """Seconds between two steps."""
        return self._plant.dt

    @property
    def states(self) -> Array:
        """The current states of all copies (N, n)."""
        return self._copies.x.T.copy()

    @property
    def references(self) -> Array:
        """The current references of all copies (N, q)."""
        return self._copies.r.T.copy()

    # What Gymnasium calls -----------------------------------------------------------------------

    @checked
    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every copy.

        Args:
            seed: Copy i gets seed + i, or its own from a list; None goes on with the generators.
            options: As in the single environment, or with one row for each copy.
        """
        self._seed(seed)
        chosen = self._plant.checked_reset(options, (self.num_envs,))
        self._begin(range(self.num_envs))
        if "state" in chosen:
            self._copies.x[:] = np.atleast_2d(chosen["state"]).T
        if "reference" in chosen:
            self._copies.r[:] = np.atleast_2d(chosen["reference"]).T
        self._done = np.zeros(self.num_envs, dtype=np.bool_)
        return self._observe(), self._info()

    def step(self, actions: NDArray[np.float32]) -> tuple[Array, Array, Mask, Mask, dict[str, Any]]:
        """Hold one action for each copy, (N, m), for dt seconds."""
        if self._done is None:
            raise gym.error.ResetNeeded(
                f"the episodes of {type(self).__name__} have not begun; call reset() first"
            )
        self._copies.choose(self._checked(actions))
        rewards = self._copies.advance()
        self._time += 1
        terminated = np.empty(self.num_envs, dtype=np.bool_)
        terminated[:] = self._plant.leaves(self._copies.x)
        truncated = self._time >= self._limit
        if np.count_nonzero(self._done):
            rewards[self._done] = 0.0
            terminated[self._done] = truncated[self._done] = False
            self._begin(np.flatnonzero(self._done))
        self._done = terminated | truncated
        return self._observe(), rewards, terminated, truncated, self._info()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return one picture for each copy in mode "rgb_array"."""
        if self.render_mode is None:
            return None
        pictures = []
        for x, r in zip(self.states, self.references, strict=True):
            self._plant.place(x, r)
            pictures.append(self._plant.render())
        return tuple(picture for picture in pictures if picture is not None)

    # Parts --------------------------------------------------------------------------------------

    def _seed(self, seed: int | Sequence[int | None] | None) -> None:
        if seed is None and self._generators:
            return
        seeds = self._one_by_one(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed has {len(seeds)} entries; expected {self.num_envs}")
        kept = self._generators
        self._generators = [
            kept[i] if kept and s is None else seeding.np_random(s)[0] for i, s in enumerate(seeds)
        ]

    def _one_by_one(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if isinstance(seed, Sequence | np.ndarray):
            return [checks.seed(s) for s in seed]
        first = checks.seed(seed)
        return [None if first is None else first + i for i in range(self.num_envs)]

    def _begin(self, copies: Any) -> None:
        self._copies.begin(copies, self._generators)
        self._time[copies] = 0

    def _checked(self, actions: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        known = type(actions) is np.ndarray and actions.dtype.kind == "f"
        a = actions if known else checks.numbers("actions", actions)
        name = type(self).__name__
        if a.shape != self.action_space.shape:
            raise ValueError(
                f"actions have shape {a.shape}; {name} expects {self.action_space.shape}"
            )
        # The sum of squares is finite only if all are, and is the quicker question.
        if not np.isfinite(np.vdot(a, a)) and not np.isfinite(a).all():
            raise ValueError(f"actions are {shown(a)}; {name} expects finite numbers")
        return a

    def _observe(self) -> Array:
        y, k = self._plant.outputs(self._copies.x), len(self._plant.observed)
        observation = np.empty((k + len(self._copies.r), self.num_envs))
        for row, i in enumerate(self._plant.observed):
            observation[row] = y[i]
        observation[k:] = self._copies.r
        if self._plant.noise is not None:
            for column, rng in zip(observation.T, self._generators, strict=True):
                column[:k] += self._plant.noise * rng.standard_normal(k)
            lowest, highest = self._plant.lowest[:, None], self._plant.highest[:, None]
            np.clip(observation, lowest, highest, out=observation)
        return observation.T

    def _info(self) -> dict[str, Any]:
        named = self._plant.violations(self._copies.x)
        total = np.zeros(self.num_envs)
        violations: dict[str, Any] = {}
        for name, amount in named.items():
            total += amount
            violations[name] = np.empty(self.num_envs)
            violations[name][:] = amount
            violations[f"_{name}"] = self._everyone
        return {
            "violation": total,
            "_violation": self._everyone,
            "violations": violations,
            "_violations": self._everyone,
        }
