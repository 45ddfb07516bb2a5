"""Under which conditions controllers learn and are judged: changes of a task, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from koopman_control.benchmark.changes import Budget, changed, delayed, noisy
from koopman_control.benchmark.partial import without_speeds
from koopman_control.common.border import CheckedFields
from koopman_control.tasks import Task

Change = Callable[[Task], Task]


def unchanged(task: Task) -> Task:
    """Return the task as it is."""
    return task


@dataclass(frozen=True)
class Condition(CheckedFields):
    """What differs from the task as it is.

    Args:
        summary: What is done, in one line.
        learning: The task to learn; raises `NoMeaning` where there is none.
        judging: The task to be judged on, likewise.
    """

    summary: str
    learning: Change = unchanged
    judging: Change = unchanged


SHARES = {"quarter": 0.25, "half": 0.5, "nominal": 1.0, "double": 2.0}  # of the task's budget

CONDITIONS: dict[str, Condition] = {
    "nominal": Condition("the task as it is"),
    "noise": Condition(
        "1 % noise on observations, in learning and judging; three tasks are restated for it",
        noisy,
        noisy,
    ),
    "delay": Condition("actions act a step later, in learning and judging", delayed, delayed),
    "hidden": Condition(
        "speeds are not observed, in learning and judging", without_speeds, without_speeds
    ),
    "changed": Condition("a parameter of the plant is off by 20 % after learning", judging=changed),
    "quarter": Condition("learned from a quarter of the data", Budget(SHARES["quarter"])),
    "half": Condition("learned from half of the data", Budget(SHARES["half"])),
    "double": Condition("learned from twice the data", Budget(SHARES["double"])),
}
