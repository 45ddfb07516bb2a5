"""The autopilot: from an environment and a budget of steps to a controller, nothing told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from numpy.typing import ArrayLike

from koopman_control.common import Array, PathLike
from koopman_control.common.border import CheckedFields, checked
from koopman_control.evaluation import Learned
from koopman_control.features import Angle

RewardFunction = Callable[[Array, Array, Array], ArrayLike]
EndFunction = Callable[[Array], ArrayLike]


@dataclass(frozen=True)
class Piloted(Learned):
    """What the autopilot learned.

    Args:
        notes: What it found out and what was uncertain, one sentence each.
    """

    notes: tuple[str, ...] = ()


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
        reward: Reward to plan with instead of a learned one: a function of observations (S, p),
            inputs (S, m) and next observations (S, p) that returns (S,).
        done: Says of observations (S, p) which end an episode, instead of a learned condition.
    """

    budget: int = 5000
    seed: int = 0
    angles: Sequence[Angle] | None = None
    context: Sequence[int] | None = None
    ignored: Sequence[int] | None = None
    reward: RewardFunction | None = None
    done: EndFunction | None = None

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
            checkpoint: Folder in which every finished episode is kept at once.
        """
        raise NotImplementedError
