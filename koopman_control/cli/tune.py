"""The command `tune`: settings of a task by search, on seeds that no report uses."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from koopman_control.cli.clusters import Cluster, on_cluster
from koopman_control.cli.errors import one_sentence

if TYPE_CHECKING:
    from koopman_control.tuning import Tuned, Tuning


def tune(
    task: Annotated[
        str,
        typer.Argument(help="A task, such as Pendulum, or a Python file that holds a Task."),
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="Trials, those of earlier calls included.")
    ] = 100,
    settings: Annotated[
        str | None,
        typer.Option(help="What to search, separated by commas, such as horizon,R,Q; all if none."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Learning seeds of a trial, from 20 on.")] = 2,
    episodes: Annotated[
        int, typer.Option(min=1, help="Episodes of each, from evaluation seed 20,000 on.")
    ] = 10,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes, where no --cluster has its own.")
    ] = 2,
    cluster: Cluster = None,
    storage: Annotated[
        Path | None,
        typer.Option(
            help="File of the trials, which several machines may share: an SQLite database if it "
            "ends in .db, else a journal; OUT/trials.log if none."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; runs/tune-TASK if none.")
    ] = None,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Search better settings of a task: features, horizon, roll-out, guesses, weights.

    Every trial learns with learning seeds from 20 on and is judged on episodes from seed 20,000 on,
    which no report uses; every environment step is counted. Stopped or killed, the same command
    goes on where it was, and finds the same; with more trials it searches on. Several such commands
    with one --storage share the trials. In the end the best three trials and the task as it is are
    judged once more on further seeds.

    Writes OUT/tune.html with the best settings, the history and the importance of each setting,
    settings.json, and, if something better was found, task.py for `koopman-control run`.

    For example `koopman-control tune Pendulum --trials 200 --cluster tcp://HOST:8786`.
    """
    with one_sentence(debug), ExitStack() as stack:
        from koopman_control.tasks import TASKS
        from koopman_control.tasks.in_file import task_in_file
        from koopman_control.tuning import Tuning, write_tuned
        from koopman_control.tuning.page import verdict

        source = Path(task) if task.endswith(".py") else None
        chosen = TASKS[task] if source is None else task_in_file(source)
        names = None if settings is None else tuple(settings.split(","))
        search = Tuning(chosen, trials, names, seeds, episodes)
        folder = Path("runs") / f"tune-{chosen.name}" if out is None else out
        stack.enter_context(on_cluster(cluster, jobs))
        try:
            found = _with_bar(search, storage or folder / "trials.log", jobs)
        except KeyboardInterrupt:
            typer.echo("Finished trials are kept; the same command goes on with them.", err=True)
            raise
        page = write_tuned(folder, found, source)
        typer.echo(verdict(found))
        typer.echo(f"Report: {page}")
        if found.best is not None:
            typer.echo(f"Run it: koopman-control run {folder / 'task.py'}")


def _with_bar(search: Tuning, storage: Path, jobs: int) -> Tuned:
    """Search, with a bar and a line per trial on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    from koopman_control.tuning import tune as searched

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=search.trials)

        def done(number: int, mean: float | None) -> None:
            text = "could not be run" if mean is None else f"mean return {mean:.2f}"
            progress.console.print(f"Trial {number}: {text}", markup=False)
            progress.update(bar, completed=number + 1)

        return searched(search, storage, jobs, done)
