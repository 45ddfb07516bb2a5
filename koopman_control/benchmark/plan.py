"""What is to be run: one run per task, subject, condition and learning seed, in a useful order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby

import gymnasium as gym

from koopman_control.benchmark.conditions import CONDITIONS, Condition, NoMeaning
from koopman_control.benchmark.subjects import SUBJECTS, Subject
from koopman_control.tasks import TASKS, Task


@dataclass(frozen=True, order=True)
class Key:
    """Names one run.

    Args:
        task: Gymnasium id.
        subject: Name of what is judged.
        condition: Name of the condition.
        seed: Learning seed.
    """

    task: str
    subject: str
    condition: str
    seed: int


@dataclass(frozen=True)
class Job:
    """Runs that share one learned controller.

    Args:
        task: The task as it is.
        subject: What is judged.
        runs: Each run with the condition that it belongs to; all learn the same.
    """

    task: Task
    subject: Subject
    runs: tuple[tuple[Key, Condition], ...]


@dataclass(frozen=True)
class Plan:
    """The whole benchmark.

    Args:
        tasks: By Gymnasium id.
        subjects: By name.
        conditions: By name.
        seeds: Learning seeds.
        episodes: Evaluation episodes of each run.
        first_seed: Reset seed of the first of them; the others follow.

    Attributes:
        left_out: Why a task, or a (task, condition) pair, has no runs.
    """

    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)
    subjects: Mapping[str, Subject] = field(default_factory=lambda: SUBJECTS)
    conditions: Mapping[str, Condition] = field(default_factory=lambda: CONDITIONS)
    seeds: Sequence[int] = range(10)
    episodes: int = 100
    first_seed: int = 1000
    left_out: dict[tuple[str, ...], str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Find out what cannot be run here."""
        for subject in self.subjects.values():
            subject.require()
        for env_id, task in self.tasks.items():
            try:
                with closing(task.environment()):
                    pass
            except (ImportError, gym.error.DependencyNotInstalled) as error:
                self.left_out[(env_id,)] = str(error)
                continue
            for name, condition in self.conditions.items():
                try:
                    condition.judging(task), condition.learning(task)
                except NoMeaning as reason:
                    self.left_out[(env_id, name)] = str(reason)

    @property
    def evaluation_seeds(self) -> range:
        """Reset seeds of the evaluation episodes."""
        return range(self.first_seed, self.first_seed + self.episodes)

    def keys(self) -> list[Key]:
        """Return all runs: one learning seed after another, what is cheap first."""
        keys = [
            Key(env_id, name, condition, seed)
            for env_id in self.tasks
            for name, subject in self.subjects.items()
            for condition in self.conditions
            for seed in (self.seeds if subject.learns else self.seeds[:1])
            if (env_id,) not in self.left_out and (env_id, condition) not in self.left_out
            if subject.train is not None or condition == "nominal"
        ]
        order = list(self.conditions)
        return sorted(
            keys,
            key=lambda k: (k.seed, self._effort(k), k.task, k.subject, order.index(k.condition)),
        )

    def jobs(self, keys: Sequence[Key]) -> list[Job]:
        """Put runs that share a learned controller together, in the order given."""
        ordered: list[Job] = []
        for (env_id, name, _), group in groupby(keys, lambda k: (k.task, k.subject, k.seed)):
            together: dict[object, list[tuple[Key, Condition]]] = {}
            for key in group:
                condition = self.conditions[key.condition]
                together.setdefault(condition.learning, []).append((key, condition))
            task, subject = self.tasks[env_id], self.subjects[name]
            ordered += [Job(task, subject, tuple(runs)) for runs in together.values()]
        return ordered

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


def fingerprint(task: Task) -> str:
    """Return a short hash of a task's settings: results of other settings are no longer valid."""
    text = json.dumps(task.settings(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
