"""The table of ready tasks: several independent learning seeds each, judged on 100 episodes.

    python examples/benchmarks/control.py                       # all tasks, learning seeds 0 ... 4
    python examples/benchmarks/control.py Pendulum-v1 --learning-seeds 10

Evaluation seeds are 1000 ... 1099; learning uses other reset seeds. Every environment step spent on
learning is counted. Prints one row per learning seed and a Markdown row per task with the *worst*
learning seed, and writes all returns as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from koopman_control.common import write_text_atomically
from koopman_control.evaluation import package_versions
from koopman_control.tasks import TASKS
from koopman_control.tasks.run import Run, run_task


def main(
    env_ids: Annotated[list[str] | None, typer.Argument(help="Tasks; all if none.")] = None,
    learning_seeds: Annotated[int, typer.Option(min=1, help="How many, from 0 on.")] = 5,
    episodes: Annotated[int, typer.Option(min=1)] = 100,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("control.json"),
) -> None:
    """Learn and judge every task with several learning seeds."""
    results: dict[str, Any] = {"versions": package_versions(), "tasks": {}}
    rows = []
    for env_id in env_ids or list(TASKS):
        runs = [
            run_task(TASKS[env_id], episodes=episodes, learning_seed=seed, workers=workers)
            for seed in range(learning_seeds)
        ]
        for run in runs:
            print(described(run), flush=True)
        results["tasks"][env_id] = [run.metrics() for run in runs]
        rows.append(row(env_id, runs))
    print("\n| task | steps | mean, worst seed | its IQM | worst episode | reference |", end="")
    print(" learning, s | act p50 / p99, µs |\n|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    write_text_atomically(out, json.dumps(results, indent=1))


def described(run: Run) -> str:
    """Describe one learning seed in a line."""
    e, act = run.evaluation, run.evaluation.act_us
    return (
        f"{run.task.env_id} learning seed {run.learning_seed}: mean {e.mean:.2f}, "
        f"IQM {e.iqm:.2f}, worst {e.worst:.2f}, learned in {run.learned.seconds:.1f} s, "
        f"act {act['p50']:.0f} / {act['p99']:.0f} us, fell back {e.fallback_share:.2%}"
    )


def row(env_id: str, runs: list[Run]) -> str:
    """Write the Markdown row of a task."""
    means = np.array([run.evaluation.mean for run in runs])
    worst = min(run.evaluation.worst for run in runs)
    iqm = runs[int(np.argmin(means))].evaluation.iqm
    reference = runs[0].reference
    known = f"{reference[1].mean():.2f} ({reference[0]})" if reference else "none"
    seconds = max(run.learned.seconds for run in runs)
    p50 = np.median([run.evaluation.act_us["p50"] for run in runs])
    p99 = np.median([run.evaluation.act_us["p99"] for run in runs])
    return (
        f"| {env_id} | {TASKS[env_id].n_steps} | {means.min():.2f} | {iqm:.2f} | {worst:.2f} "
        f"| {known} | {seconds:.1f} | {p50:.0f} / {p99:.0f} |"
    )


if __name__ == "__main__":
    typer.run(main)
