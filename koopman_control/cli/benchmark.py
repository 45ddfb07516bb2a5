"""The command `benchmark`: many learning seeds on many tasks, resumable, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from koopman_control.benchmark import (
    CONDITIONS,
    SUBJECTS,
    Plan,
    RunFile,
    missing,
    open_runs,
    run_benchmark,
    write_results,
)
from koopman_control.benchmark.run import Record
from koopman_control.cli.errors import did_you_mean, one_sentence
from koopman_control.tasks import TASKS

T = TypeVar("T")


def _listed(table: Mapping[str, object]) -> str:
    return "; ".join(f"{name}: {getattr(item, 'summary', '')}" for name, item in table.items())


def benchmark(
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Gymnasium ids; all ready tasks if none.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Learning seeds, from 0 on: the runs.")] = 10,
    episodes: Annotated[
        int, typer.Option(min=1, help="Evaluation episodes of each run, seeds 1000, 1001, ...")
    ] = 100,
    subjects: Annotated[
        str, typer.Option(help=f"What to run, separated by commas. {_listed(SUBJECTS)}.")
    ] = "koopman,random,zero,reference",
    conditions: Annotated[
        str, typer.Option(help=f"Under which conditions, by commas. {_listed(CONDITIONS)}.")
    ] = "nominal",
    jobs: Annotated[int, typer.Option(min=1, help="Processes, one run in each.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder of the results; goes on with those there.")] = (
        Path("runs/benchmark")
    ),
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Learn and judge tasks with several learning seeds, beside baselines.

    Every run (a task, a subject, a condition and a learning seed) is a line of OUT/control.jsonl,
    on the disk as soon as it is done. Stopped or killed, the same command goes on where it was;
    with more seeds, tasks or subjects it adds to what is there. Runs of a task that has changed
    since are done again. Several such commands at a time, on one OUT, share the work. The first
    learning seed of all tasks comes first, what is cheap before what is not. In the end
    OUT/control.json holds all figures, OUT/control.md a table, and OUT/control.html the page:
    performance profiles, learning curves (conditions quarter, half, double), differences to each
    baseline.

    For example `koopman-control benchmark Pendulum-v1 --seeds 2 --episodes 20`, or the whole:
    `koopman-control benchmark --jobs 8`.
    """
    with one_sentence(debug):
        plan = Plan(
            _chosen("tasks", TASKS, tasks or list(TASKS)),
            _chosen("--subjects", SUBJECTS, subjects.split(",")),
            _chosen("--conditions", CONDITIONS, conditions.split(",")),
            range(seeds),
            episodes,
        )
        for names, reason in plan.left_out.items():
            typer.echo(f"{' under '.join(names)} is left out: {reason}", err=True)
        runs = open_runs(out, plan)
        try:
            _run(plan, runs, jobs)
        except KeyboardInterrupt:
            write_results(out, plan, runs)
            typer.echo(f"What is done is in {out}; the same command goes on with it.", err=True)
            raise
        typer.echo(write_results(out, plan, runs), nl=False)
        typer.echo(f"Results: {out}", err=True)


def _chosen(name: str, table: Mapping[str, T], names: list[str]) -> dict[str, T]:
    """Pick entries by name, in the order given."""
    if unknown := [given for given in names if given not in table]:
        raise ValueError(
            f"{name} got {unknown[0]!r}; there are {', '.join(table)}."
            f"{did_you_mean(unknown[0], table)}"
        )
    return {given: table[given] for given in names}


def _run(plan: Plan, runs: RunFile, jobs: int) -> None:
    """Do what is missing, with a bar and a line per run on standard error."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    total, todo = len(plan.keys()), len(missing(plan, runs))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=total, completed=total - todo, now="")

        def done(record: Record) -> None:
            progress.console.print(_described(record), markup=False, soft_wrap=True)
            progress.update(bar, advance=1, now=f"last: {record['task']}")

        run_benchmark(plan, runs, jobs, done)


def _described(record: Record) -> str:
    name = "{task}, {subject}, {condition}, learning seed {seed}: ".format(**record)
    if "error" in record:
        return f"{name}failed: {record['error']}"
    mean = f"{name}mean {np.mean(record['returns']):.2f}, worst {min(record['returns']):.2f}"
    if "times" not in record:
        return mean
    times = record["times"]
    return (
        f"{mean}, learned in {times['learn_seconds']:.1f} s, "
        f"judged in {times['judge_seconds']:.1f} s"
    )
