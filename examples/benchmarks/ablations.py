"""What each part of a task's controller is worth: learned without it, on the same seeds.

    python -m examples.benchmarks.ablations --seeds 3 --episodes 20 --out runs/ablations

Every ablation runs on the tasks that it makes a difference to. Goes on where it was stopped, as
`koopman-control benchmark` does; the page, control.html, shows the differences to the controller as
it is, learning seed by learning seed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from koopman_control.benchmark import (
    CONDITIONS,
    SUBJECTS,
    Plan,
    Subject,
    Variation,
    open_runs,
    run_benchmark,
    write_results,
)
from koopman_control.benchmark.variants import fingerprint
from koopman_control.identification import LeastSquares
from koopman_control.mpc import Search
from koopman_control.tasks import TASKS, Task


def one_guess(task: Task) -> dict[str, object]:
    """Settings of the controller without random plans."""
    if "search" not in task.mpc:
        return dict(task.mpc)
    search = replace(task.mpc["search"], guesses=0, first_guesses=0)
    others = {name: value for name, value in task.mpc.items() if name != "search"}
    return others if search == Search() else others | {"search": search}


ABLATIONS: dict[str, tuple[str, Variation]] = {
    "no censoring": (
        "samples on a limit are fitted like all others",
        Variation({"fit": {"least_squares": LeastSquares(limits=None)}}),
    ),
    "one guess": ("no random plans beside the shifted one", Variation({"mpc": one_guess})),
    "one draw": ("a single draw of the features", Variation({"n_draws": 1})),
    "no rounds": (
        "all data under the excitation",
        Variation({"n_rounds": 0, "first_steps": lambda task: task.n_steps}),
    ),
    "one steepness": ("steepness is not chosen", Variation({"steepness": (0.25,)})),
    "one size": (
        "the number of features is not chosen",
        Variation({"n_features": lambda task: task.n_features[-1:]}),
    ),
    "no noise": ("nothing added to the controller while it collects", Variation({"noise": None})),
}


def main(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; all if none.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Learning seeds, from 0 on.")] = 3,
    episodes: Annotated[int, typer.Option(min=1)] = 20,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/ablations"),
) -> None:
    """Learn and judge the tasks as they are, and without each part."""
    chosen = {task.name: task for task in (TASKS[name] for name in tasks or TASKS)}
    plans = [plan(chosen, {n: SUBJECTS[n] for n in ("koopman", "random")}, seeds, episodes)]
    for name, (summary, variation) in ABLATIONS.items():
        touched = {n: task for n, task in chosen.items() if differs(task, variation)}
        plans.append(plan(touched, {name: Subject(summary, variation)}, seeds, episodes))
    runs = open_runs(out, plans[0])
    for part in plans:
        run_benchmark(part, runs, jobs, lambda r: print(r["task"], r["subject"], r["seed"]))
    subjects = {name: subject for part in plans for name, subject in part.subjects.items()}
    write_results(out, plan(chosen, subjects, seeds, episodes), runs)
    print(f"Results: {out / 'control.html'}")


def differs(task: Task, variation: Variation) -> bool:
    """Whether an ablation changes a task."""
    return fingerprint(variation.task(task)) != fingerprint(task)


def plan(tasks: dict[str, Task], subjects: dict[str, Subject], seeds: int, episodes: int) -> Plan:
    """Plan the plants as they are."""
    nominal = {"nominal": CONDITIONS["nominal"]}
    return Plan(tasks, subjects, nominal, range(seeds), episodes)


if __name__ == "__main__":
    typer.run(main)
