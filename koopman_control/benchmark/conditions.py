"""Under which conditions controllers learn and are judged: changes of a task, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from koopman_control.tasks import Task

Change = Callable[[Task], Task]


class NoMeaning(Exception):
    """A condition has no clear meaning for a task; the message is the reason."""


def unchanged(task: Task) -> Task:
    """Return the task as it is."""
    return task


@dataclass(frozen=True)
class Condition:
    """What differs from the task as it is.

    Args:
        summary: What is done, in one line.
        learning: The task to learn; raises `NoMeaning` where there is none.
        judging: The task to be judged on, likewise.
    """

    summary: str
    learning: Change = unchanged
    judging: Change = unchanged


CONDITIONS: dict[str, Condition] = {"nominal": Condition("the task as it is")}
