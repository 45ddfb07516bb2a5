"""Tasks: environments with everything needed to learn and judge a controller for them."""

from koopman_control.tasks.references import normalised_score, reference_returns
from koopman_control.tasks.registry import TASKS, UnknownTaskError, register_task
from koopman_control.tasks.task import Task

__all__ = [
    "TASKS",
    "Task",
    "UnknownTaskError",
    "normalised_score",
    "reference_returns",
    "register_task",
]
