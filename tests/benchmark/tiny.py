"""A benchmark of seconds. Run as a program, it kills itself after some records."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from koopman_control.benchmark import CONDITIONS, SUBJECTS, Plan, open_runs, run_benchmark
from koopman_control.tasks import TASKS, Task

ENV = "koopman_envs/VanDerPol-v0"


def tiny_task(**changes: Any) -> Task:
    """The oscillator with a short episode and a small budget."""
    settings: dict[str, Any] = {
        "n_steps": 240,
        "first_steps": 160,
        "n_rounds": 1,
        "n_features": (5,),
        "steepness": (0.25,),
        "n_draws": 1,
        "horizon": 10,
        "env_arguments": {"max_episode_steps": 20},
    }
    return replace(TASKS[ENV], **(settings | changes))


def tiny_plan(**changes: Any) -> Plan:
    """Two learning seeds of two subjects and the stored reference, three episodes each."""
    settings: dict[str, Any] = {
        "tasks": {ENV: tiny_task()},
        "subjects": {name: SUBJECTS[name] for name in ("koopman", "random", "reference")},
        "conditions": {"nominal": CONDITIONS["nominal"]},
        "seeds": range(2),
        "episodes": 3,
    }
    return Plan(**(settings | changes))


if __name__ == "__main__":
    folder, records_left = Path(sys.argv[1]), int(sys.argv[2])

    def count_down(_: Any) -> None:
        global records_left
        records_left -= 1
        if not records_left:
            os.kill(os.getpid(), signal.SIGKILL)

    plan = tiny_plan()
    run_benchmark(plan, open_runs(folder, plan), 1, count_down)
