"""The commands `run`, which does the whole job for an environment, and `tasks`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import gymnasium as gym
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from koopman_control.cli.benchmark import benchmark
from koopman_control.cli.errors import (
    CHECKPOINT,
    did_you_mean,
    kept_on_failure,
    one_sentence,
    run_folder,
)
from koopman_control.cli.forecast import forecast
from koopman_control.common.arrays import LARGEST_SEED
from koopman_control.evaluation import metrics_json
from koopman_control.evaluation.summary import fallbacks
from koopman_control.tasks import TASKS, Task
from koopman_control.tasks.run import Run, run_task, save_learned
from koopman_control.trajectories import open_environment, require_continuous

app = typer.Typer(
    help="Real-time convex model-predictive control learned from data, without gradients.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.command()(benchmark)
app.command()(forecast)


@app.callback()
def main() -> None:
    """Real-time convex model-predictive control learned from data, without gradients."""


@app.command()
def tasks() -> None:
    """List the environments with a ready task, one line each."""
    width = max(len(name) for name in TASKS)
    for name, task in TASKS.items():
        typer.echo(f"{name:{width}}  {task.summary} ({task.n_steps} environment steps)")


@app.command()
def run(
    env_id: Annotated[str, typer.Argument(help="Gymnasium id, such as Pendulum-v1; see `tasks`.")],
    episodes: Annotated[int, typer.Option(min=1, help="Evaluation episodes.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="First evaluation seed; others follow.")
    ] = 1000,
    learning_seed: Annotated[
        int,
        typer.Option(min=0, max=LARGEST_SEED, help="Seed of everything random in learning."),
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes for the evaluation.")] = 2,
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
    inputs, refines it in rounds of control and refit until the task's budget is used, and evaluates
    the controller on seeds it has never seen, next to a random, a zero and a true-model reference
    controller. Writes report.html, metrics.json, model.npz, trajectories.npz and figures to
    OUTPUT/<env>-<time>/. Finished episodes of data are kept there from the first on: a run that was
    interrupted or killed goes on with --resume, and ends with the same model to the last bit.
    """
    with one_sentence(debug):
        task = _task_for(env_id)
        folder = run_folder(output, env_id, resume)
        with kept_on_failure(folder, env_id):
            with _bars(task.n_steps, episodes) as progress:
                result = run_task(
                    task,
                    episodes=episodes,
                    first_seed=seed,
                    learning_seed=learning_seed,
                    workers=workers,
                    progress=progress,
                    on_learned=lambda learned: save_learned(
                        learned, folder, {"task": env_id, "learning_seed": learning_seed}
                    ),
                    checkpoint=folder / CHECKPOINT,
                )
            report = result.write(folder)
        if json:
            typer.echo(metrics_json(result.metrics()), nl=False)
        else:
            Console().print(_table(result))
            typer.echo(f"Report: {report}")


def _task_for(env_id: str) -> Task:
    """Find the ready task; say what is wrong with the environment if it cannot have one."""
    if env_id in TASKS:
        return TASKS[env_id]
    hint = did_you_mean(env_id, [*gym.registry, *TASKS])
    try:
        env = open_environment(env_id)
    except ValueError as error:
        raise ValueError(
            f"Gymnasium cannot make {env_id!r}: there is no such environment.{hint}"
        ) from error
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"Gymnasium cannot make {env_id!r}: {error}") from error
    require_continuous(env)
    env.close()
    raise ValueError(
        f"there is no ready task for {env_id}; there are tasks for {', '.join(TASKS)}. "
        "To write one, see 'Your own task' in the README: a koopman_control.Task of some ten lines"
    )


@contextmanager
def _bars(n_steps: int, episodes: int) -> Iterator[_Bars]:
    """Show progress on standard error, so that standard output stays clean."""
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
