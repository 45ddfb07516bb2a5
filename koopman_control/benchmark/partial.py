"""What a task becomes where only positions are observed: its model remembers instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopman_control.benchmark.no_meaning import NoMeaning
from koopman_control.benchmark.varied import varied
from koopman_control.benchmark.wrappers import Hidden
from koopman_control.common import Array
from koopman_control.tasks import Task


@dataclass(frozen=True)
class Partial:
    """What remains of a task.

    Args:
        hidden: Observation columns that read zero.
        states: Observation columns that are modelled.
        kept: States of the task that remain, whose weights, targets and bounds are kept.
        changes: Settings of the task that need to differ otherwise.
        memory: Past steps that stand for what is hidden.
    """

    hidden: tuple[int, ...]
    states: tuple[int, ...]
    kept: tuple[int, ...]
    changes: tuple[tuple[str, Any], ...] = ()
    memory: int = 1


PARTIAL: dict[str, Partial] = {
    "Pendulum-v1": Partial((2,), (0, 1), (0,)),
    "InvertedPendulum-v5": Partial((2, 3), (0, 1), (0, 1)),
    # The cart's place takes the part of the target speed that brings it home.
    "InvertedDoublePendulum-v5": Partial(
        (5, 6, 7), (0,), (), (("Q", (1.0, 10.0, 10.0)), ("reference", 0.0))
    ),
    "Reacher-v5": Partial((6, 7), (), (0, 1)),
    "Swimmer-v5": Partial((3, 4, 5, 6, 7), (1, 2), (0, 1)),
    "koopman_envs/BilinearMotor-v0": Partial((0,), (1,), (1,), memory=2),
    "koopman_envs/CartPoleSwingUp-v0": Partial((1, 4), (0, 2, 3), (0, 2)),
    "koopman_envs/CSTR-v0": Partial((0,), (1,), (1,), memory=2),
    "koopman_envs/Duffing-v0": Partial((1,), (0,), (0,)),
    "koopman_envs/PlanarQuadrotor-v0": Partial((3, 4, 5), (0, 1, 2), (0, 1, 2)),
    "koopman_envs/QuadrupleTank-v0": Partial((2, 3), (0, 1), (0, 1), memory=2),
    "koopman_envs/TwoLinkArm-v0": Partial((2, 3), (0, 1, 4, 5), (0, 1, 4, 5)),
    "koopman_envs/VanDerPol-v0": Partial((1,), (0,), (0,)),
}
WHY_NOT = {
    "MountainCarContinuous-v0": "its target is made from the observed speed",
    "LunarLanderContinuous-v3": "its target is made from the observed speeds",
    "koopman_envs/Lorenz-v0": "it has no speeds: its three states are of one kind",
    "koopman_envs/KortewegDeVries-v0": "it has no speeds: its states are heights",
}


@dataclass(frozen=True)
class PartOf:
    """A function of the observation that returns some entries of a target."""

    target: Callable[[Array], Any]
    kept: tuple[int, ...]

    def __call__(self, observation: Array) -> Array:
        """Return the entries that remain."""
        return np.asarray(self.target(observation), dtype=np.float64)[..., list(self.kept)]


def without_speeds(task: Task) -> Task:
    """Hide what is no position, and let the model remember.

    Raises:
        NoMeaning: The task cannot be stated without.
    """
    part = PARTIAL.get(task.env_id)
    if part is None:
        raise NoMeaning(WHY_NOT.get(task.env_id, "it has no list of what to hide"))
    changes: dict[str, Any] = {
        "states": part.states,
        "memory": part.memory,
        "state_names": None,
        "Q": tuple(task.Q[i] for i in part.kept),
        "reference": _kept(task.reference, part.kept),
        "mpc": _kept_bounds(task, part.kept),
    }
    return varied(task, wrap=Hidden(part.hidden), **(changes | dict(part.changes)))


def _kept(target: Any, kept: tuple[int, ...]) -> Any:
    if callable(target):
        return PartOf(target, kept)
    return target if np.ndim(target) == 0 else np.asarray(target)[..., list(kept)]


def _kept_bounds(task: Task, kept: tuple[int, ...]) -> dict[str, Any]:
    settings = dict(task.mpc)
    if "output_bounds" in settings:
        low, high = settings["output_bounds"]
        settings["output_bounds"] = tuple([end[i] for i in kept] for end in (low, high))
    return settings
