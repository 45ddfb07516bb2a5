"""What is to be run: one run per task, subject, condition and learning seed, in a useful order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from operator import contains
from typing import Any, NamedTuple

import gymnasium as gym

from koopman_control.benchmark.conditions import CONDITIONS, Condition, unchanged
from koopman_control.benchmark.subjects import SUBJECTS, Subject
from koopman_control.benchmark.variants import NotApplicableError
from koopman_control.common.arrays import positive_int, seed_number
from koopman_control.common.border import CheckedFields, check_fields, checked
from koopman_control.tasks import TASKS, Task
from koopman_control.tasks.untold import Untold


@dataclass(frozen=True, order=True)
class Key(CheckedFields):
    """Names one run.

    Args:
        task: Name of the task.
        subject: Name of what is judged.
        condition: Name of the condition.
        seed: Learning seed.
    """

    task: str
    subject: str
    condition: str
    seed: int

    def __post_init__(self) -> None:
        """Refuse a seed below zero, too."""
        super().__post_init__()
        seed_number("seed", self.seed)


class Part(NamedTuple):
    """One run, what is judged in it, and under which condition."""

    key: Key
    subject: Subject
    condition: Condition


@dataclass(frozen=True)
class Job:
    """Runs that share a learned controller, or at least the data.

    Args:
        task: The task as it is, or an environment of which nothing is told.
        parts: The runs; all learn under the same change of the task from the same seed.
    """

    task: Task | Untold
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Plan:
    """The whole benchmark.

    Args:
        tasks: By name.
        subjects: By name.
        conditions: By name.
        seeds: Learning seeds.
        episodes: Evaluation episodes of each run.
        first_seed: Reset seed of the first of them; the others follow.

    Attributes:
        left_out: Why a task, or a (task, condition) pair, has no runs.
    """

    tasks: Mapping[str, Task | Untold] = field(default_factory=lambda: TASKS)
    subjects: Mapping[str, Subject] = field(default_factory=lambda: SUBJECTS)
    conditions: Mapping[str, Condition] = field(default_factory=lambda: CONDITIONS)
    seeds: Sequence[int] = range(10)
    episodes: int = 100
    first_seed: int = 1000
    left_out: dict[tuple[str, ...], str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Check the fields, and find out what cannot be run here."""
        check_fields(self)
        positive_int("episodes", self.episodes)
        seed_number("first_seed", self.first_seed)
        for seed in self.seeds:
            seed_number("seeds", seed)
        if not len(self.seeds):
            raise ValueError("seeds is empty; expected at least one learning seed")
        for subject in self.subjects.values():
            subject.require()
        for task_name, task in self.tasks.items():
            try:
                with closing(task.environment()):
                    pass
            except (ImportError, gym.error.DependencyNotInstalled) as error:
                self.left_out[(task_name,)] = str(error)
                continue
            for name, condition in self.conditions.items():
                try:
                    condition.applied(task)
                except NotApplicableError as reason:
                    self.left_out[(task_name, name)] = str(reason)

    @property
    def evaluation_seeds(self) -> range:
        """Reset seeds of the evaluation episodes."""
        return range(self.first_seed, self.first_seed + self.episodes)

    def keys(self) -> list[Key]:
        """Return all runs: one learning seed after another, what is cheap first."""
        keys = [
            Key(task, name, condition, seed)
            for task in self.tasks
            for name, subject in self.subjects.items()
            for condition in self.conditions
            for seed in (self.seeds if subject.learns else self.seeds[:1])
            if (task,) not in self.left_out and (task, condition) not in self.left_out
            if self._differs(subject, condition)
        ]
        order = list(self.conditions)
        return sorted(
            keys,
            key=lambda k: (k.seed, self._effort(k), k.task, k.subject, order.index(k.condition)),
        )

    @checked
    def jobs(self, keys: Sequence[Key]) -> list[Job]:
        """Put runs that share learning or data together, in the order of their first ones.

        Raises:
            ValueError: A key names what is not in the plan.
        """
        together: dict[Any, list[Part]] = {}
        for key in keys:
            tables = (self.tasks, self.subjects, self.conditions)
            if not all(map(contains, tables, (key.task, key.subject, key.condition))):
                raise ValueError(f"keys holds {key}; expected what the plan's keys() returns")
            subject, condition = self.subjects[key.subject], self.conditions[key.condition]
            shared = "shared data" if subject.shares_data else key.subject
            part = Part(key, subject, condition)
            together.setdefault((key.task, shared, condition.learning, key.seed), []).append(part)
        return [Job(self.tasks[name], tuple(parts)) for (name, *_), parts in together.items()]

    def _differs(self, subject: Subject, condition: str) -> bool:
        """Whether a condition can make a difference to what a subject does."""
        if condition == "nominal" or subject.learns:
            return True
        return subject.train is not None and self.conditions[condition].judging is not unchanged

    def _effort(self, key: Key) -> float:
        """Estimate the cost of a run: plans that are re-linearised cost some twenty times more."""
        task = self.tasks[key.task]
        length = gym.spec(task.env_id).max_episode_steps or 1000
        return (
            self.subjects[key.subject].effort
            * length
            * task.horizon
            * (1.0 if task.rollout == "linear" else 20.0)
        )
