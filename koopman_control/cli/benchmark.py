"""The command `benchmark`: many learning seeds on many tasks, resumable, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from koopman_control.cli.clusters import Cluster, on_cluster
from koopman_control.cli.errors import one_sentence

if TYPE_CHECKING:
    from koopman_control.benchmark import Plan, RunFile, Suite
    from koopman_control.benchmark.run import Record
    from koopman_control.tasks import Task
    from koopman_control.tasks.untold import Untold

T = TypeVar("T")


class Knowledge(StrEnum):
    """How much of a ready task is used."""

    none = "none"
    task = "task"


SUBJECTS_OF = {
    "task": "koopman,random,zero,reference",
    "none": "autopilot,koopman,random,zero,reference",
    "suite": "autopilot,random,zero",
}


def _list(asked: bool) -> None:
    """Print what can be run, and under which conditions, and end."""
    if asked:
        from koopman_control.benchmark import CONDITIONS, SUBJECTS

        for title, table in (("Subjects", SUBJECTS), ("Conditions", CONDITIONS)):
            typer.echo(f"{title}:")
            for name, item in table.items():
                typer.echo(f"  {name:10}  {item.summary}")
        raise typer.Exit


def benchmark(
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Tasks, or their Gymnasium ids; all if none.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Learning seeds, from 0 on: the runs.")] = 10,
    episodes: Annotated[
        int, typer.Option(min=1, help="Evaluation episodes of each run, seeds 1000, 1001, ...")
    ] = 100,
    subjects: Annotated[
        str | None,
        typer.Option(
            help="What to run, separated by commas; --list tells what there is. "
            f"{SUBJECTS_OF['task']}; with --knowledge none {SUBJECTS_OF['none']}; with --suite "
            f"{SUBJECTS_OF['suite']}."
        ),
    ] = None,
    knowledge: Annotated[
        Knowledge,
        typer.Option(help="none: the autopilot, told nothing, beside the tasks' own controllers."),
    ] = Knowledge.task,
    suite: Annotated[
        str | None, typer.Option(help="Environments of other authors instead: dm_control.")
    ] = None,
    conditions: Annotated[
        str, typer.Option(help="Under which conditions, by commas; --list tells which there are.")
    ] = "nominal",
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Processes, one run in each, where no --cluster has its own."),
    ] = 2,
    cluster: Cluster = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; goes on with those there.")] = (
        Path("runs/benchmark")
    ),
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    listing: Annotated[
        bool,
        typer.Option("--list", callback=_list, is_eager=True, help="List subjects and conditions."),
    ] = False,
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
    `koopman-control benchmark --jobs 8`, or with the workers of a Dask cluster: `koopman-control
    benchmark --cluster tcp://HOST:8786`. A run whose process is killed is done again by another.

    With --knowledge none the autopilot, which is told nothing, runs beside the tasks' own
    controllers, on twice their data. With --suite dm_control it runs on the DeepMind Control Suite
    (pip install 'koopman-control[suites]'), and OUT/published.md puts it beside what others
    published.
    """
    with one_sentence(debug), ExitStack() as stack:
        from koopman_control.benchmark import (
            CONDITIONS,
            SUBJECTS,
            SUITES,
            Plan,
            open_runs,
            write_results,
        )
        from koopman_control.tasks import TASKS

        chosen: Mapping[str, Task | Untold]
        if suite is None:
            ready = [TASKS[name] for name in tasks or TASKS]
            usual, chosen = SUBJECTS_OF[knowledge], {task.name: task for task in ready}
        else:
            (entry,) = _chosen("--suite", SUITES, [suite]).values()
            usual = SUBJECTS_OF["suite"]
            chosen = _chosen("TASKS", entry.tasks, list(tasks or entry.tasks))
        plan = Plan(
            chosen,
            _chosen("--subjects", SUBJECTS, (usual if subjects is None else subjects).split(",")),
            _chosen("--conditions", CONDITIONS, conditions.split(",")),
            range(seeds),
            episodes,
        )
        for names, reason in plan.left_out.items():
            typer.echo(f"{' under '.join(names)} is left out: {reason}", err=True)
        stack.enter_context(on_cluster(cluster, jobs))
        runs = open_runs(out, plan)
        try:
            _run(plan, runs, jobs)
        except KeyboardInterrupt:
            write_results(out, plan, runs)
            typer.echo(f"What is done is in {out}; the same command goes on with it.", err=True)
            raise
        typer.echo(write_results(out, plan, runs), nl=False)
        if suite is not None:
            _write_published(out, SUITES[suite], runs)
        typer.echo(f"Results: {out}", err=True)


def _write_published(out: Path, suite: Suite, runs: RunFile) -> None:
    """Put our mean returns beside published ones, in OUT/published.md and on standard output."""
    from koopman_control.benchmark import beside_published
    from koopman_control.common import write_text_atomically

    returns: dict[str, list[float]] = {}
    for key, record in runs.records().items():
        if key.subject == "autopilot" and key.condition == "nominal":
            returns.setdefault(key.task, []).extend(record.get("returns", []))
    means = {name: sum(found) / len(found) for name, found in returns.items() if found}
    table = beside_published(suite, means)
    write_text_atomically(out / "published.md", table)
    typer.echo(f"\n{table}", nl=False)


def _chosen(name: str, table: Mapping[str, T], names: list[str]) -> dict[str, T]:
    """Pick entries by name, in the order given."""
    from koopman_control.common.border import did_you_mean

    if unknown := [given for given in names if given not in table]:
        raise ValueError(
            f"{name} got {unknown[0]!r}; there are {', '.join(table)}."
            f"{did_you_mean(unknown[0], table)}"
        )
    return {given: table[given] for given in names}


def _run(plan: Plan, runs: RunFile, jobs: int) -> None:
    """Do what is missing, with a bar and a line per run on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from koopman_control.benchmark import missing, run_benchmark

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
    returns = record["returns"]
    mean = f"{name}mean {sum(returns) / len(returns):.2f}, worst {min(returns):.2f}"
    if "times" not in record:
        return mean
    times = record["times"]
    return (
        f"{mean}, learned in {times['learn_seconds']:.1f} s, "
        f"judged in {times['judge_seconds']:.1f} s"
    )
