"""What is compared: ways to get a controller for a task from a learning seed, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from koopman_control.benchmark.baselines import (
    Algorithm,
    DeepRL,
    Trained,
    linear,
    lqr,
    pykoop_features,
    shared_learning,
)
from koopman_control.common import optional_package
from koopman_control.common.border import CheckedFields, at_least, checked
from koopman_control.evaluation import RandomPolicy, ZeroPolicy, action_bounds
from koopman_control.tasks import Task
from koopman_control.tasks.untold import Untold
from koopman_control.trajectories import total_steps

Train = Callable[[Any, int], Trained]  # of a Task, or of an Untold where the subject can
MOST_STEPS = 10_000  # that the autopilot gets in place of a ready task


@dataclass(frozen=True)
class Subject(CheckedFields):
    """One way to get a controller.

    Args:
        summary: What it is, in one line.
        train: Makes the controller for a task from a learning seed; None for the stored returns of
            the true-model reference.
        learns: Whether the learning seed matters; else there is one run instead of one per seed.
        needs: (package, extra) that it cannot do without.
        shares_data: Whether it learns from the data of the task's own controller; such subjects
            share one process, and the data.
        effort: Rough cost beside the task's own controller, to run what is cheap first.
    """

    summary: str
    train: Train | None
    learns: bool = True
    needs: tuple[str, str] | None = None
    shares_data: bool = False
    effort: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an effort below zero, too."""
        super().__post_init__()
        at_least("effort", self.effort, 0)

    def require(self) -> None:
        """Raise ImportError with a remedy if a package is missing."""
        if self.needs is not None:
            optional_package(*self.needs)


def koopman(task: Task, seed: int) -> Trained:
    """Learn the task's own controller."""
    learned = shared_learning(task, seed)
    rounds = [asdict(r) for r in learned.rounds]
    return Trained(learned.controller, total_steps(learned.data), learned.seconds, rounds)


def autopilot(task: Task | Untold, seed: int) -> Trained:
    """Let the autopilot learn, told nothing, from twice a ready task's budget or from its own."""
    if isinstance(task, Task):
        task = Untold(task.env_id, min(2 * task.n_steps, MOST_STEPS), name=task.name)
    learned = task.learn(seed)
    rounds = [asdict(r) for r in learned.rounds]
    return Trained(learned.controller, total_steps(learned.data), learned.seconds, rounds)


def random_actions(task: Task | Untold, seed: int) -> Trained:
    """Act at random."""
    with closing(task.environment()) as env:
        return Trained(RandomPolicy(action_bounds(env), seed))


def no_action(task: Task | Untold, seed: int) -> Trained:
    """Do nothing."""
    with closing(task.environment()) as env:
        return Trained(ZeroPolicy(action_bounds(env)))


@dataclass(frozen=True)
class Variation(CheckedFields):
    """The task's own controller with some settings changed: an ablation.

    Args:
        changes: Settings of `Task` and their values, or functions of the task that return them;
            `fit` holds settings of `EDMDc`.
    """

    changes: Mapping[str, Any]

    @checked
    def task(self, task: Task) -> Task:
        """Return the changed task."""
        return replace(task, **{k: v(task) if callable(v) else v for k, v in self.changes.items()})

    @checked
    def __call__(self, task: Task, seed: int) -> Trained:
        """Learn the changed task."""
        return koopman(self.task(task), seed)


DEEP_RL: dict[Algorithm, str] = {"sac": "stable_baselines3", "tqc": "sb3_contrib"}

SUBJECTS: dict[str, Subject] = {
    "koopman": Subject("the task's own Koopman MPC", koopman, shares_data=True),
    "autopilot": Subject(
        "the autopilot, told nothing, at twice the task's data", autopilot, effort=20.0
    ),
    "lqr": Subject("a regulator on a local linear fit, from the same data", lqr, shares_data=True),
    "linear": Subject("Koopman MPC with the linear roll-out, same data", linear, shares_data=True),
    "pykoop": Subject(
        "pykoop's thin-plate features in the linear MPC, same data",
        pykoop_features,
        needs=("pykoop", "peers"),
        effort=20.0,  # too slow to share a process with what is done in no time
    ),
    **{
        f"{name}{suffix}": Subject(
            f"Stable-Baselines3 {name.upper()} at {factor} times the data",
            DeepRL(name, factor),
            needs=(module, "rl"),
            effort=float(10 * factor),
        )
        for name, module in DEEP_RL.items()
        for suffix, factor in (("", 1), ("-20x", 20))
    },
    "random": Subject("uniformly random actions", random_actions, learns=False, effort=0.001),
    "zero": Subject("no action", no_action, learns=False, effort=0.001),
    "reference": Subject("stored returns with the true model", None, learns=False, effort=0.0),
}
