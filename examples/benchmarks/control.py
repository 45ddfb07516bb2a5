"""The table of ready tasks: several independent learning seeds each, judged on 100 episodes.

    python examples/benchmarks/control.py                       # all tasks, learning seeds 0 ... 4
    python examples/benchmarks/control.py Pendulum-v1 --learning-seeds 10

Evaluation seeds are 1000 ... 1099; learning uses other reset seeds. Every environment step spent on
learning is counted. Prints one row per learning seed and a Markdown row per task with the *worst*
learning seed, and writes all returns as JSON. What is done is kept in a partial file beside it,
from which the same command goes on after an interruption. Tasks whose packages are not installed
are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

from koopman_control.common import write_text_atomically
from koopman_control.evaluation import package_versions
from koopman_control.tasks import TASKS
from koopman_control.tasks.run import run_task

Metrics = dict[str, Any]  # of one learning seed, as in metrics.json

COLUMNS = (
    "task", "steps", "mean, worst seed", "its IQM", "worst episode", "reference", "its score",
    "violations", "learning, s", "act p50 / p99, µs",
)  # fmt: skip


def main(
    env_ids: Annotated[list[str] | None, typer.Argument(help="Tasks; all if none.")] = None,
    learning_seeds: Annotated[int, typer.Option(min=1, help="How many, from 0 on.")] = 5,
    episodes: Annotated[int, typer.Option(min=1)] = 100,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("control.json"),
) -> None:
    """Learn and judge every task with several learning seeds."""
    chosen = env_ids or list(TASKS)
    if unknown := [env_id for env_id in chosen if env_id not in TASKS]:
        raise typer.BadParameter(f"there are no tasks {unknown}; there are {', '.join(TASKS)}")
    partial = out.with_suffix(".partial.json")
    results = begun(partial, {"versions": package_versions(), "episodes": episodes})
    rows = []
    for env_id in chosen:
        try:
            runs = judged(env_id, learning_seeds, workers, results, partial)
        except (ImportError, gym.error.DependencyNotInstalled) as error:
            print(f"{env_id} is left out: {error}", flush=True)
            continue
        rows.append(row(env_id, runs))
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    print("\n".join(rows))
    write_text_atomically(out, json.dumps(results, indent=1))
    partial.unlink(missing_ok=True)


def begun(partial: Path, conditions: dict[str, Any]) -> dict[str, Any]:
    """Return what an interrupted run under the same conditions has done, or an empty table."""
    if not partial.exists():
        return conditions | {"tasks": {}}
    results: dict[str, Any] = json.loads(partial.read_text("utf-8"))
    if any(results.get(name) != value for name, value in conditions.items()):
        raise typer.BadParameter(
            f"{partial} was begun with other package versions or another number of episodes; "
            "remove it to start anew, or choose another --out"
        )
    return results


def judged(
    env_id: str, learning_seeds: int, workers: int, results: dict[str, Any], partial: Path
) -> list[Metrics]:
    """Judge the learning seeds of a task that are not among the results yet; keep each at once."""
    known: dict[str, Metrics] = results["tasks"].setdefault(env_id, {})
    for seed in map(str, range(learning_seeds)):
        if seed not in known:
            run = run_task(
                TASKS[env_id],
                episodes=results["episodes"],
                learning_seed=int(seed),
                workers=workers,
            )
            known[seed] = run.metrics()
            write_text_atomically(partial, json.dumps(results))
        print(described(env_id, seed, known[seed]), flush=True)
    return [known[str(seed)] for seed in range(learning_seeds)]


def described(env_id: str, seed: str, m: Metrics) -> str:
    """Describe one learning seed in a line."""
    return (
        f"{env_id} learning seed {seed}: mean {m['return_mean']:.2f}, IQM {m['return_iqm']:.2f}, "
        f"worst {m['return_worst']:.2f}, score {score(m)}, violations {violations([m])}, "
        f"learned in {m['learn_seconds']:.1f} s, "
        f"act {m['act_us']['p50']:.0f} / {m['act_us']['p99']:.0f} us, "
        f"fell back {m['fallback_share']:.2%}"
    )


def row(env_id: str, runs: list[Metrics]) -> str:
    """Write the Markdown row of a task."""
    lowest = min(runs, key=lambda m: float(m["return_mean"]))
    names = sorted(set(lowest["references"]) - {"random", "zero"})
    cells = (
        env_id,
        str(TASKS[env_id].n_steps),
        f"{lowest['return_mean']:.2f}",
        f"{lowest['return_iqm']:.2f}",
        f"{min(m['return_worst'] for m in runs):.2f}",
        ", ".join(f"{lowest['references'][name]:.2f} ({name})" for name in names) or "none",
        score(lowest),
        violations(runs),
        f"{max(m['learn_seconds'] for m in runs):.1f}",
        " / ".join(f"{np.median([m['act_us'][q] for m in runs]):.0f}" for q in ("p50", "p99")),
    )
    return f"| {' | '.join(cells)} |"


def score(m: Metrics) -> str:
    """Write the score on the scale from random actions to the reference."""
    return "none" if m["normalised_score"] is None else f"{m['normalised_score']:.4f}"


def violations(runs: list[Metrics]) -> str:
    """Write in how many episodes constraints were violated, and by how much in all."""
    found = [m["violations"] for m in runs]
    if found[0]["total"] is None:
        return "not reported"
    total, count = sum(v["total"] for v in found), sum(v["episodes"] for v in found)
    return f"{total:.2g} in {count} episodes" if count else "none"


if __name__ == "__main__":
    typer.run(main)
