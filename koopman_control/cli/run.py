"""The command `run`, which does the whole job for a task: learn, judge, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from koopman_control.cli.clusters import Cluster, on_cluster
from koopman_control.cli.errors import CHECKPOINT, kept_on_failure, one_sentence, run_folder
from koopman_control.cli.untold import (
    LongestEpisode,
    Module,
    WrittenTask,
    require_new_task,
    untold,
)

SLOW = (
    "Note: pip install 'koopman-control[fast]' makes every step of this controller three to five "
    "times faster."
)

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from koopman_control.evaluation import Learned
    from koopman_control.tasks import Task
    from koopman_control.tasks.run import Run
    from koopman_control.tasks.untold import Untold


class Knowledge(StrEnum):
    """How much of a ready task is used."""

    none = "none"
    task = "task"


def run(
    task: Annotated[
        str,
        typer.Argument(
            help="A task, such as Pendulum, or any Gymnasium id, such as HalfCheetah-v5 or "
            "module:Env-v0, or a Python file that holds a Task; `tasks` lists the ready ones."
        ),
    ],
    knowledge: Annotated[
        Knowledge,
        typer.Option(help="none: tell nothing, even if there is a ready task."),
    ] = Knowledge.task,
    budget: Annotated[
        int | None,
        typer.Option(min=100, help="Environment steps to learn from, if nothing is told; 5000."),
    ] = None,
    module: Module = None,
    max_episode_steps: LongestEpisode = None,
    write_task: WrittenTask = None,
    episodes: Annotated[int, typer.Option(min=1, help="Evaluation episodes.")] = 100,
    seed: Annotated[int, typer.Option(help="First evaluation seed; others follow.")] = 1000,
    learning_seed: Annotated[int, typer.Option(help="Seed of everything random in learning.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes for the evaluation.")] = 2,
    cluster: Cluster = None,
    output: Annotated[Path, typer.Option(help="Folder in which the run folder is made.")] = Path(
        "runs"
    ),
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder of an interrupted run to go on in, with the same options."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json and nothing else to standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Learn a convex model-predictive controller for an environment, and judge it.

    Collects data (every environment step is counted), samples features, fits a lifted model with
    inputs, refines it in rounds of control and refit until the budget is used, and evaluates the
    controller on seeds it has never seen, next to a random, a zero and a true-model reference
    controller. Writes report.html, metrics.json, model.npz, controller.npz (where no part of it is
    a function), trajectories.npz and figures to OUTPUT/<task>-<time>/. Finished episodes of data
    are kept there from the first on: a run that was interrupted or killed goes on with --resume,
    and ends with the same model to the last bit.

    Where there is no ready task for the environment, or with --knowledge none, nothing is told but
    its id: the autopilot finds out from its steps what the columns are, what is rewarded and where
    episodes end, and plans with what it has learned. The report then says what it found and what
    was uncertain; `koopman-control describe` shows that alone, from a few steps.
    """
    with one_sentence(debug), ExitStack() as stack:
        from koopman_control.common.arrays import seed_number
        from koopman_control.evaluation import metrics_json
        from koopman_control.tasks.run import run_task
        from koopman_control.tasks.saved import save_learned
        from koopman_control.tasks.untold import Untold
        from koopman_control.tasks.writing import write_task as write

        seed_number("--seed", seed)
        seed_number("--learning-seed", learning_seed)
        require_new_task(write_task)
        options = {
            "--budget": budget,
            "--import": module,
            "--max-episode-steps": max_episode_steps,
            "--write-task": write_task,
        }
        chosen = _found(task, knowledge, options)
        if chosen.rollout == "relifted" and find_spec("numba") is None:
            typer.echo(SLOW, err=True)
        processes = stack.enter_context(on_cluster(cluster, workers))
        folder = run_folder(output, chosen.name, resume)

        def keep(learned: Learned) -> None:
            if note := save_learned(chosen, learned, learning_seed, folder):
                typer.echo(f"Note: {note}.", err=True)

        again = [f"{option} {value}" for option, value in options.items() if value is not None]
        if knowledge is Knowledge.none:
            again.insert(0, "--knowledge none")
        with kept_on_failure(folder, " ".join([task, *again])):
            with _bars(chosen.n_steps, episodes) as progress:
                result = run_task(
                    chosen,
                    episodes=episodes,
                    first_seed=seed,
                    learning_seed=learning_seed,
                    workers=processes,
                    progress=progress,
                    on_learned=keep,
                    checkpoint=folder / CHECKPOINT,
                )
            report = result.write(folder)
        if write_task is not None and result.findings is not None and isinstance(chosen, Untold):
            write(write_task, chosen, result.findings, result.learned.data)
        if json:
            typer.echo(metrics_json(result.metrics()), nl=False)
        else:
            from rich.console import Console

            Console().print(_table(result))
            typer.echo(f"Report: {report}")


def _found(name: str, knowledge: Knowledge, options: Mapping[str, Any]) -> Task | Untold:
    """Find the task, or the environment that there is none for.

    Args:
        name: Of the task, or the id of the environment, or a file that holds a task.
        knowledge: Whether to leave a ready task aside.
        options: What is only for environments without one, by the names of the options.
    """
    from koopman_control.tasks import TASKS, UnknownTaskError
    from koopman_control.tasks.in_file import task_in_file

    if name.endswith(".py"):
        return task_in_file(Path(name))
    budget, module, longest, _ = options.values()
    entries = TASKS.listed()
    try:
        task = TASKS[name]
    except UnknownTaskError:
        if knowledge is Knowledge.task and any(entry.env_id == name for entry in entries):
            raise  # it has several
        return untold(name, budget, module, longest)
    if knowledge is Knowledge.none:
        return untold(task.env_id, budget, module, longest)
    if given := [option for option, value in options.items() if value is not None]:
        raise ValueError(
            f"{given[0]} is for environments of which nothing is told; {name} has a ready task: "
            "add --knowledge none to leave it aside"
        )
    return task


@contextmanager
def _bars(n_steps: int, episodes: int) -> Iterator[_Bars]:
    """Show progress on standard error, so that standard output stays clean."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bars(progress, {"collect": n_steps, "evaluate": episodes})


LABELS = {"collect": "Collecting and fitting", "evaluate": "Evaluating"}


class _Bars:
    """One bar per kind of progress, shown from its first unit on."""

    def __init__(self, progress: Progress, totals: dict[str, int]) -> None:
        self._progress, self._totals = progress, totals
        self._bars = {"collect": progress.add_task(LABELS["collect"], total=totals["collect"])}

    def __call__(self, what: str, done: int) -> None:
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(LABELS[what], total=self._totals[what])
        self._progress.update(self._bars[what], completed=done)


def _table(result: Run) -> Table:
    """Lay the figures of a run out as one table."""
    from rich.markup import escape
    from rich.table import Table

    from koopman_control.evaluation.summary import fallbacks

    e, m = result.evaluation, result.metrics()
    low, high = e.ci95
    title = escape(f"{result.task.env_id}: {result.task.summary}")
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    first, last = e.seeds[0], e.seeds[-1]
    table.add_row("return, mean", f"{e.mean:.2f}")
    table.add_row("   95 % interval", f"{low:.2f} ... {high:.2f}")
    table.add_row("   interquartile mean", f"{e.iqm:.2f}")
    table.add_row("   worst episode", f"{e.worst:.2f}")
    for name, mean in m["references"].items():
        table.add_row(escape(f"{name}, mean"), f"{mean:.2f}")
    if m["normalised_score"] is not None:
        table.add_row("score, random 0, reference 1", f"{m['normalised_score']:.4f}")
    table.add_row("episodes (seeds)", f"{len(e.seeds)} ({first} ... {last})")
    table.add_row("environment steps used", f"{m['data_steps']}")
    table.add_row("fit / learning, s", f"{m['fit_seconds']:.2f} / {m['learn_seconds']:.2f}")
    act = e.act_us
    table.add_row(
        "act() p50 / p99 / max, µs", f"{act['p50']:.0f} / {act['p99']:.0f} / {act['max']:.0f}"
    )
    table.add_row("steps that fell back", escape(fallbacks(e.fallback_share, e.rungs)))
    for rollout, errors in result.prediction_error.items():
        ahead = sorted({1, max(1, len(errors) // 4), len(errors)})
        text = ", ".join(f"{errors[k - 1]:.2g} (k={k})" for k in ahead)
        table.add_row(escape(f"left-out error in σ, {rollout}"), text)
    return table
