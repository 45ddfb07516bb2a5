"""The autopilot: from an environment and a budget of steps to a controller, nothing told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from koopman_control.autopilot.learning import (
    EndFunction,
    Learning,
    Levers,
    Piloted,
    RewardFunction,
    Told,
)
from koopman_control.autopilot.logbook import Logbook
from koopman_control.common import PathLike, positive_int
from koopman_control.common.arrays import real_array, seed_number
from koopman_control.common.border import CheckedFields, checked, optional_package
from koopman_control.evaluation.learn import carrying
from koopman_control.features import Angle
from koopman_control.trajectories import Trajectory
from koopman_control.trajectories.adapting import adapted
from koopman_control.trajectories.environments import require_continuous


@dataclass(frozen=True)
class Autopilot(CheckedFields):
    """Learns to control any environment with continuous inputs, with one set of settings.

    Args:
        budget: Environment steps, every one counted.
        seed: Determines resets, features, signals and plans.
        angles: Overrides the angles found: (cosine column, sine column) pairs or columns in
            radians; None finds them.
        context: Overrides which observation columns stay constant within an episode.
        ignored: Overrides which observation columns make no difference to how the others move.
        reward: What is to be rewarded in place of the environment's reward: a function of
            observations (T, p), inputs (T, m) and next observations (T, p) that returns (T,).
        done: Says of observations (T, p) which end an episode, besides those that did; returns (T,)
            of True and False.
        reference: Observation to be reached and held, shape (p,), NaN where any value will do, in
            place of a reward; deviations count by the spread of the first data.
        levers: What is left out; None: nothing.

    Example:
        >>> learned = Autopilot(1500).learn("Pendulum-v1")  # doctest: +SKIP
        >>> learned.controller.act(observation)  # doctest: +SKIP
    """

    budget: int = 5000
    seed: int = 0
    angles: Sequence[Angle] | None = None
    context: Sequence[int] | None = None
    ignored: Sequence[int] | None = None
    reward: RewardFunction | None = None
    done: EndFunction | None = None
    reference: ArrayLike | None = None
    levers: Levers | None = None

    def __post_init__(self) -> None:
        """Check ranges, too."""
        super().__post_init__()
        positive_int("budget", self.budget)
        seed_number("seed", self.seed)
        if self.reference is not None:
            if not real_array("reference", self.reference, ndim=1).size:
                raise ValueError("reference is empty; expected one number per observation")
            if self.reward is not None:
                raise ValueError("reference and reward are both given; expected one of them")

    @checked
    def learn(
        self,
        env: gym.Env[Any, Any] | str,
        on_step: Callable[[int], None] | None = None,
        checkpoint: PathLike | None = None,
    ) -> Piloted:
        """Learn a controller from at most `budget` environment steps.

        Args:
            env: A Gymnasium environment or its id.
            on_step: Called after each environment step with the number of steps so far.
            checkpoint: Folder in which every finished episode is kept at once. After an
                interruption the same call goes on behind the last of them.

        Returns:
            The controller, its model, all data and a record of each round.

        Raises:
            ImportError: If numba is missing, which the extra `fast` brings.
            TypeError: If the spaces are of a kind that is not supported.
            ValueError: If there was nothing to learn from, or the budget does not suffice; the
                error carries what was collected as `trajectories`.
            CollectionInterrupted: Ctrl-C at any time; likewise.
            CollectionFailed: The environment raised, or gave what is no observation or reward;
                likewise.
        """
        start = time.perf_counter()
        optional_package("numba", "fast")
        environment = adapted(env)
        try:
            box = require_continuous(environment)[1]
            data: list[Trajectory] = []
            with threadpool_limits(limits=1), carrying(data):
                logbook = Logbook(environment, self.seed, data, on_step, checkpoint)
                told = Told(**{f.name: getattr(self, f.name) for f in fields(Told)})
                levers = self.levers or Levers()
                return Learning(self.budget, self.seed, told, levers, logbook, box).learned(start)
        finally:
            if isinstance(env, str):
                environment.close()
