"""Tasks off their settings: another environment, another fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Any

from koopman_control.identification import EDMDc
from koopman_control.tasks import Task
from koopman_control.trajectories.environments import Environment


def _as_it_is(env: Environment) -> Environment:
    return env


@dataclass(frozen=True)
class VariedTask(Task):
    """A task with more that can be changed.

    Args:
        wrap: From environment to environment.
        fit: Settings of `EDMDc` that differ from the task's.
        estimator_class: What to fit with instead.
    """

    wrap: Callable[[Environment], Environment] = _as_it_is
    fit: Mapping[str, Any] = field(default_factory=dict)
    estimator_class: type[EDMDc] = EDMDc

    def environment(self) -> Environment:
        """Make the environment and wrap it."""
        return self.wrap(super().environment())

    def estimator(self, seed: int = 0) -> EDMDc:
        """Return the unfitted estimator with the settings that differ."""
        return self.estimator_class(**(super().estimator(seed).get_params(deep=False) | self.fit))


def varied(task: Task, **changes: Any) -> VariedTask:
    """Return the task with some settings changed, `wrap` and `fit` among them if need be."""
    settings = {f.name: getattr(task, f.name) for f in fields(task)}
    kind: Any = type(task)
    new: VariedTask = _varied_kind(kind)(**(settings | changes))
    return new


@cache
def _varied_kind(kind: Any) -> Any:
    """Return the class of varied tasks that learn as those of class `kind` do."""
    if issubclass(kind, VariedTask):
        return kind
    if kind is Task:
        return VariedTask
    return make_dataclass(f"Varied{kind.__name__}", (), bases=(VariedTask, kind), frozen=True)


def with_arguments(task: Task, **arguments: Any) -> Task:
    """Return the task with further arguments of its environment."""
    return replace(task, env_arguments={**task.env_arguments, **arguments})


def unfiltered(task: Task) -> Task:
    """Return the task without its estimator, which was chosen for its own roll-out."""
    return replace(task, mpc={k: v for k, v in task.mpc.items() if k != "estimator"})
