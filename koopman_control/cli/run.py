"""The command `run`, which does the whole job for a task: learn, judge, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from koopman_control.cli.errors import CHECKPOINT, kept_on_failure, one_sentence, run_folder

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


def run(
    task: Annotated[
        str, typer.Argument(help="A task, such as Pendulum, or its Gymnasium id; see `tasks`.")
    ],
    episodes: Annotated[int, typer.Option(min=1, help="Evaluation episodes.")] = 100,
    seed: Annotated[int, typer.Option(help="First evaluation seed; others follow.")] = 1000,
    learning_seed: Annotated[int, typer.Option(help="Seed of everything random in learning.")] = 0,
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
    controller. Writes report.html, metrics.json, model.npz, controller.npz (where no part of it is
    a function), trajectories.npz and figures to OUTPUT/<task>-<time>/. Finished episodes of data
    are kept there from the first on: a run that was interrupted or killed goes on with --resume,
    and ends with the same model to the last bit.
    """
    with one_sentence(debug):
        from koopman_control.common.arrays import seed_number
        from koopman_control.evaluation import metrics_json
        from koopman_control.tasks.run import run_task
        from koopman_control.tasks.saved import save_learned

        seed_number("--seed", seed)
        seed_number("--learning-seed", learning_seed)
        chosen = _found(task)
        if chosen.rollout == "relifted" and find_spec("numba") is None:
            typer.echo(SLOW, err=True)
        folder = run_folder(output, chosen.name, resume)

        def keep(learned: Learned) -> None:
            if note := save_learned(chosen, learned, learning_seed, folder):
                typer.echo(f"Note: {note}.", err=True)

        with kept_on_failure(folder, task):
            with _bars(chosen.n_steps, episodes) as progress:
                result = run_task(
                    chosen,
                    episodes=episodes,
                    first_seed=seed,
                    learning_seed=learning_seed,
                    workers=workers,
                    progress=progress,
                    on_learned=keep,
                    checkpoint=folder / CHECKPOINT,
                )
            report = result.write(folder)
        if json:
            typer.echo(metrics_json(result.metrics()), nl=False)
        else:
            from rich.console import Console

            Console().print(_table(result))
            typer.echo(f"Report: {report}")


def _found(name: str) -> Task:
    """Find the task; say what is wrong with an environment that has none."""
    import gymnasium as gym

    from koopman_control.common.border import did_you_mean
    from koopman_control.tasks import TASKS, UnknownTaskError
    from koopman_control.trajectories import open_environment, require_continuous

    env_ids = [entry.env_id for entry in TASKS.listed() if entry.env_id is not None]
    try:
        return TASKS[name]
    except UnknownTaskError:
        if name in env_ids:  # which has several
            raise
    hint = did_you_mean(name, [*gym.registry, *TASKS, *env_ids])
    try:
        env = open_environment(name)
    except ValueError as error:
        raise ValueError(
            f"there is no task {name!r}, and Gymnasium cannot make {name!r}: there is no such "
            f"environment.{hint}"
        ) from error
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"Gymnasium cannot make {name!r}: {error}") from error
    require_continuous(env)
    env.close()
    raise ValueError(
        f"there is no ready task for {name}; there are tasks for {', '.join(env_ids)}. "
        "To write one, see docs/extending/task.md: a koopman_control.tasks.Task of some ten lines"
    )


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
