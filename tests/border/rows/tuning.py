"""Settings by search."""

from pathlib import Path
from typing import Any

import koopman_control.tuning as tuning
from tests.border import parts
from tests.border.rows.row import Row

OWN = tuning.Judgement((1.0, 2.0), 10, 5, 30.0)


def search() -> tuning.Tuning:
    task = parts.task(
        Q=(1.0, 0.1, 0.1), n_steps=60, first_steps=60, n_rounds=0,
        env_arguments={"max_episode_steps": 3},
    )  # fmt: skip
    return tuning.Tuning(task, 1, ("horizon",), 1, 1)


def found() -> tuning.Tuned:
    values: dict[str, Any] = {"horizon": 3}
    return tuning.Tuned(search(), (tuning.Tried(0, values, OWN),), {-1: OWN, 0: OWN}, {})


ROWS = [
    Row(
        "settings_of",
        tuning.settings_of,
        lambda: {"task": parts.task(Q=(1.0, 0.1, 0.1)), "names": ("horizon",)},
    ),
    Row(
        "tuned",
        tuning.tuned,
        lambda: {"task": parts.task(Q=(1.0, 0.1, 0.1)), "values": {"horizon": 3}},
    ),
    Row(
        "Tuning",
        tuning.Tuning,
        lambda: {
            "task": parts.task(Q=(1.0, 0.1, 0.1)),
            "trials": 1,
            "names": ("horizon",),
            "seeds": 1,
            "episodes": 1,
        },
    ),
    Row(
        "tune",
        tuning.tune,
        lambda: {
            "search": search(),
            "storage": Path("trials.log"),
            "jobs": 1,
            "on_trial": lambda number, mean: None,
        },
    ),
    Row("Tuned.gain", lambda **k: found().gain(**k), lambda: {"number": 0}),
    Row("Tuned.is_better", lambda **k: found().is_better(**k), lambda: {"number": 0}),
    Row(
        "write_tuned",
        tuning.write_tuned,
        lambda: {"folder": Path("results"), "found": found(), "source": None},
    ),
]
