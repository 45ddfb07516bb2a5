"""Tasks."""

from typing import Any

import numpy as np

import koopman_control.tasks as tasks
from koopman_control.tasks import Task, normalised_score
from tests.border import parts
from tests.border.parts import model
from tests.border.rows.row import Row, fields


def _registered(**arguments: Any) -> Any:
    """Register a task, for as long as it takes to see that it can be."""
    try:
        return tasks.register_task(**arguments)
    finally:
        for known in (tasks.TASKS._tasks, tasks.TASKS._known):
            known.pop("Another", None)


ROWS = [
    Row(
        "Task",
        Task,
        lambda: {
            f: getattr(parts.task(), f)
            for f in (
                "env_id",
                "summary",
                "Q",
                "R",
                "horizon",
                "n_steps",
                "first_steps",
                "n_rounds",
                "rollout",
                "coupling",
                "n_features",
                "steepness",
                "ignored",
                "beside",
                "input_features",
                "n_draws",
                "prediction",
                "states",
                "angles",
                "memory",
                "reference",
                "input_reference",
                "excitation",
                "noise",
                "until",
                "state_names",
                "mpc",
                "fit",
                "env_arguments",
                "wrap",
                "name",
            )
        },
    ),
    Row("Task.estimator", parts.task().estimator, fields(seed=0)),
    Row("Task.controller", parts.task(Q=(1.0, 0.1)).controller, lambda: dict(model=model())),
    Row(
        "Task.restored",
        parts.task(Q=(1.0, 0.1)).restored,
        lambda: dict(model=model(), data=parts.runs(), seed=0),
    ),
    Row(
        "register_task",
        _registered,
        lambda: dict(task=parts.task(name="Another")),
    ),
    Row("Task.learn", parts.task().learn, lambda: dict(seed=0, on_step=None, checkpoint=None)),
    Row(
        "normalised_score",
        normalised_score,
        lambda: dict(env_id="Pendulum-v1", returns=np.ones(2), seeds=[1000, 1001]),
    ),
    Row(
        "reference_returns",
        tasks.reference_returns,
        lambda: dict(env_id="Pendulum-v1", seeds=[1000, 1001]),
    ),
]
