"""The folder of a run: made anew or gone on in, and what is said of it when a run breaks off."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from koopman_control.common import ensure_writable_folder
from koopman_control.trajectories import CollectionFailed, CollectionInterrupted, save_trajectories

CHECKPOINT = "checkpoint"  # what an interrupted run goes on from


def run_folder(output: Path, env_id: str, resume: Path | None) -> Path:
    """Make the folder of a run, or find that of an interrupted one.

    Raises:
        ValueError: There is nothing to go on from.
        FolderNotWritableError: The folder cannot be written to.
    """
    if resume is None:
        name = env_id.rpartition("/")[2]
        return ensure_writable_folder(output / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not (resume / CHECKPOINT).is_dir():
        raise ValueError(
            f"there is nothing to go on from in {resume}: an interrupted run's folder holds a "
            f"folder {CHECKPOINT!r}, a finished one's does not"
        )
    return ensure_writable_folder(resume)


@contextmanager
def kept_on_failure(folder: Path, env_id: str) -> Iterator[None]:
    """Save the data of an interrupted collection; say what is saved, and how to go on."""
    try:
        yield
    except (CollectionInterrupted, CollectionFailed) as stop:
        if stop.trajectories:
            path = folder / "trajectories.npz"
            save_trajectories(path, stop.trajectories)
            typer.echo(f"What was collected so far is saved in {path}.", err=True)
        _say_how_to_go_on(folder, env_id)
        raise
    except (KeyboardInterrupt, OSError):
        kept = sorted(path.name for path in folder.glob("*.*"))
        typer.echo(f"Saved in {folder}: {', '.join(kept) or 'no result yet'}.", err=True)
        _say_how_to_go_on(folder, env_id)
        raise
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)  # the results hold all of it


def _say_how_to_go_on(folder: Path, env_id: str) -> None:
    if (folder / CHECKPOINT).is_dir():
        typer.echo(f"Go on with: koopman-control run {env_id} --resume {folder}", err=True)
