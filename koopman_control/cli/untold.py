"""Environments without a ready task: opened by their id, looked at, or told by a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from koopman_control.tasks.untold import Untold
    from koopman_control.trajectories import Trajectory

# Options that `run` and `describe` share.
Module = Annotated[
    str | None, typer.Option("--import", help="Module that registers the id, such as shimmy.")
]
LongestEpisode = Annotated[
    int | None, typer.Option(min=1, help="Where to cut episodes that nothing ends; 1000.")
]
WrittenTask = Annotated[
    Path | None,
    typer.Option(help="Write what was found as a task: a Python file to read and correct."),
]


def untold(name: str, budget: int | None, module: str | None, longest: int | None) -> Untold:
    """Return the environment of an id, opened once; what is wrong with it is one sentence."""
    import gymnasium as gym

    from koopman_control.common.border import did_you_mean
    from koopman_control.tasks import TASKS
    from koopman_control.tasks.untold import BUDGET, Untold

    task = Untold(name, BUDGET if budget is None else budget, longest, module)
    try:
        task.environment().close()
    except ValueError as error:
        if not isinstance(error.__cause__, gym.error.UnregisteredEnv):
            raise
        env_ids = [entry.env_id for entry in TASKS.listed() if entry.env_id is not None]
        hint = did_you_mean(name, [*gym.registry, *TASKS, *env_ids])
        raise ValueError(
            f"there is no task {name!r}, and Gymnasium cannot make {name!r}: there is no such "
            f"environment.{hint} An id of another package needs its module, as --import shimmy"
        ) from error
    except (gym.error.Error, ModuleNotFoundError) as error:
        raise ValueError(f"Gymnasium cannot make {name!r}: {error}") from error
    return task


def collecting(task: Untold, steps: int, seed: int) -> list[Trajectory]:
    """Collect steps under random inputs, with a bar on standard error."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from koopman_control.trajectories import HeldUniform, collect

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        closing(task.environment()) as env,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        bar = progress.add_task("Collecting", total=steps)
        return collect(
            env,
            HeldUniform(hold=(1, 10)),
            n_steps=steps,
            seed=seed,
            on_step=lambda done: progress.update(bar, completed=done),
        )


def require_new_task(path: Path | None) -> None:
    """Refuse a file to write a task to that cannot be one, rather now than after the work."""
    if path is not None and (path.is_dir() or not path.parent.is_dir() or path.suffix != ".py"):
        raise ValueError(
            f"--write-task is {path}; expected a file that ends in .py, in a folder that is there"
        )
