"""The tables of the autopilot's benchmark."""

from typing import Any

from examples.benchmarks.autopilot import BUDGETS, table


def row(env_id: str, returns: list[float], seed: int, **more: Any) -> dict[str, Any]:
    own = {"env_id": env_id, "without": "", "steps": 1200, "seed": seed, "returns": returns}
    times = {"learn_seconds": 60.0, "learn_cpu_seconds": 50.0, "step_cpu_ms": [8.0, 16.0]}
    return own | {"random": -10.0, "score": None} | times | more


def test_seeds_of_one_environment_share_a_line_and_failures_stay_in_the_mean() -> None:
    rows = [
        row("Pendulum-v1", [1.0, 2.0], 0, score=0.9),
        row("Pendulum-v1", [3.0, -6.0], 1, score=0.7, learn_seconds=80.0),
        row("dm_control/cartpole-swingup-v0", [860.0], 0, without="trim"),
    ]
    lines = table(rows).splitlines()[2:]
    assert lines == [
        "| Pendulum-v1 | - | 1,200 | 0, 1 | 0 | -6 | -10 | 0.800 | 70 / 50 | 8.0 / 16.0 |",
        "| dm_control/cartpole-swingup-v0 | trim | 1,200 | 0 | 860 | 860 | -10 | BRO: 872 "
        "| 60 / 50 | 8.0 / 16.0 |",
    ]


def test_budgets_are_twice_those_of_the_ready_tasks_but_at_most_10_000() -> None:
    assert BUDGETS["Pendulum-v1"] == 1200
    assert BUDGETS["Swimmer-v5"] == 10_000
