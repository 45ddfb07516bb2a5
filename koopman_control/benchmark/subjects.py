"""What is compared: ways to get a controller for a task from a learning seed, by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from koopman_control.common import optional_package
from koopman_control.common.protocols import Controller
from koopman_control.evaluation import RandomPolicy, ZeroPolicy, action_bounds
from koopman_control.tasks import Task
from koopman_control.trajectories import total_steps


@dataclass(frozen=True)
class Trained:
    """A controller and what it took to get it.

    Args:
        controller: To be judged.
        data_steps: Environment steps that were used.
        seconds: Duration of learning, environment included.
        rounds: Plain facts about each round of learning, if there were any.
    """

    controller: Controller
    data_steps: int = 0
    seconds: float = 0.0
    rounds: list[dict[str, Any]] = field(default_factory=list)


Train = Callable[[Task, int], Trained]


@dataclass(frozen=True)
class Subject:
    """One way to get a controller.

    Args:
        summary: What it is, in one line.
        train: Makes the controller for a task from a learning seed; None for the stored returns of
            the true-model reference.
        learns: Whether the learning seed matters; else there is one run instead of one per seed.
        needs: (package, extra) that it cannot do without.
        effort: Rough cost beside the task's own controller, to run what is cheap first.
    """

    summary: str
    train: Train | None
    learns: bool = True
    needs: tuple[str, str] | None = None
    effort: float = 1.0

    def require(self) -> None:
        """Raise ImportError with a remedy if a package is missing."""
        if self.needs is not None:
            optional_package(*self.needs)


def koopman(task: Task, seed: int) -> Trained:
    """Learn the task's own controller."""
    learned = task.learn(seed)
    rounds = [asdict(r) for r in learned.rounds]
    return Trained(learned.controller, total_steps(learned.data), learned.seconds, rounds)


def random_actions(task: Task, seed: int) -> Trained:
    """Act at random."""
    with closing(task.environment()) as env:
        return Trained(RandomPolicy(action_bounds(env), seed))


def no_action(task: Task, seed: int) -> Trained:
    """Do nothing."""
    with closing(task.environment()) as env:
        return Trained(ZeroPolicy(action_bounds(env)))


@dataclass(frozen=True)
class Variation:
    """The task's own controller with some of the task's settings changed.

    Args:
        changes: Settings of `Task` and their values, or functions of the task that return them.
    """

    changes: Mapping[str, Any]

    def __call__(self, task: Task, seed: int) -> Trained:
        """Learn the changed task."""
        changes = {k: v(task) if callable(v) else v for k, v in self.changes.items()}
        started = time.perf_counter()
        trained = koopman(replace(task, **changes), seed)
        return replace(trained, seconds=time.perf_counter() - started)


SUBJECTS: dict[str, Subject] = {
    "koopman": Subject("the task's own Koopman MPC", koopman),
    "random": Subject("uniformly random actions", random_actions, learns=False, effort=0.001),
    "zero": Subject("no action", no_action, learns=False, effort=0.001),
    "reference": Subject("stored returns with the true model", None, learns=False, effort=0.0),
}
