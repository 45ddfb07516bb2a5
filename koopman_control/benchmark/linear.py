"""The baseline `linear`: Koopman MPC as first proposed, a linear roll-out of a linear model."""

from __future__ import annotations

import time
from dataclasses import replace

from koopman_control.benchmark.own_data import own_learning
from koopman_control.benchmark.trained import Trained
from koopman_control.benchmark.varied import unfiltered
from koopman_control.tasks import Task
from koopman_control.trajectories import total_steps


def linear(task: Task, seed: int) -> Trained:
    """Fit to the data of the task's own controller, plan by one convex program per step."""
    data = own_learning(task, seed).data
    started = time.perf_counter()
    plain = unfiltered(task)
    twin = replace(plain, rollout="linear", coupling="linear", input_features=None)
    controller = twin.controller(twin.estimator(seed).fit(data).model_)
    return Trained(controller, total_steps(data), time.perf_counter() - started)
