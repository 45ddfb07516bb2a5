"""What is collected while learning, in stretches; every step counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from koopman_control.common import Array, Controller, PathLike
from koopman_control.common.arrays import seed_number
from koopman_control.trajectories import Signal, Trajectory, collect, total_steps
from koopman_control.trajectories.environments import require_continuous


class Logbook:
    """Collects data in stretches, and counts every step.

    Args:
        env: The environment.
        seed: Of resets and signals.
        data: Where trajectories are added.
        on_step: Called with the number of steps so far.
        checkpoint: Folder to keep finished episodes in, or None.

    Attributes:
        n_observations: Length p of an observation.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        seed: int,
        data: list[Trajectory],
        on_step: Callable[[int], None] | None,
        checkpoint: PathLike | None,
    ) -> None:
        self.data, self._env, self._on_step = data, env, on_step
        self.n_observations = require_continuous(env)[0].shape[1]
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._seeds = np.random.SeedSequence([seed_number("seed", seed), 17])
        self._number = 0
        self._repeated = int(self._seeds.generate_state(1)[0])

    def stretch(
        self,
        policy: Signal | Controller,
        n_steps: int,
        again: bool = False,
        until: Callable[[Array], bool] | None = None,
    ) -> list[Trajectory]:
        """Collect steps under a policy, in a new episode or, where these are short, several.

        Args:
            policy: What acts.
            n_steps: Steps, after which the last episode is broken off.
            again: Whether to begin from the resets that all such stretches begin from.
            until: Says of an observation whether to break the episode off there.
        """
        done, number = total_steps(self.data), self._number
        on_step, seed = self._on_step, int(self._seeds.spawn(1)[0].generate_state(1)[0])
        new = collect(
            self._env,
            policy,
            n_steps=n_steps,
            seed=self._repeated if again else seed,
            on_step=None if on_step is None else lambda steps: on_step(done + steps),
            until=until,
            checkpoint=None if self._checkpoint is None else self._checkpoint / f"part-{number}",
        )
        self._number += 1
        self.data.extend(new)
        return new
