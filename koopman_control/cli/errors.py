"""How every command ends when something goes wrong: one sentence and a non-zero exit status.

And the folder of a run: made anew or gone on in.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

INTERRUPTED = 130  # exit status of a program stopped by Ctrl-C


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder for results of this name, which goes again if nothing is written to it."""
    from koopman_control.common.files import fresh_folder

    folder = fresh_folder(path)
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()  # it refuses where there is something


@contextmanager
def one_sentence(debug: bool) -> Iterator[None]:
    """Turn errors into one sentence and a non-zero exit status; with `debug`, let them through."""
    try:
        yield
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or "Interrupted.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug or not isinstance(error, _expected()):
            raise
        from koopman_control.evaluation.summary import printable

        typer.echo(f"Error: {printable(str(error))}", err=True)
        raise typer.Exit(1) from None


def _expected() -> tuple[type[Exception], ...]:
    """Kinds of errors that tell what is wrong; Gymnasium's if it was imported at all."""
    own = (ValueError, TypeError, OSError, ImportError)
    gymnasium = sys.modules.get("gymnasium.error")
    return own if gymnasium is None else (*own, gymnasium.Error)


CHECKPOINT = "checkpoint"  # what an interrupted run goes on from


def run_folder(output: Path, name: str, resume: Path | None) -> Path:
    """Make the folder of a run, or find that of an interrupted one.

    Raises:
        ValueError: There is nothing to go on from.
        FolderNotWritableError: The folder cannot be written to.
    """
    from koopman_control.common.files import ensure_writable_folder, fresh_folder

    if resume is None:
        return fresh_folder(output / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not (resume / CHECKPOINT).is_dir():
        raise ValueError(
            f"there is nothing to go on from in {resume}: an interrupted run's folder holds a "
            f"folder {CHECKPOINT!r}, a finished one's does not"
        )
    return ensure_writable_folder(resume)


@contextmanager
def kept_on_failure(folder: Path, name: str) -> Iterator[None]:
    """Save what a collection that broke off has measured; say what is saved, and how to go on."""
    from koopman_control.trajectories import save_trajectories

    try:
        yield
    except (KeyboardInterrupt, Exception) as stop:
        measured = getattr(stop, "trajectories", [])  # of whatever went wrong while collecting
        if measured and not isinstance(stop, OSError):
            path = folder / "trajectories.npz"
            save_trajectories(path, measured)
            typer.echo(f"What was collected so far is saved in {path}.", err=True)
        elif isinstance(stop, KeyboardInterrupt | OSError):
            kept = sorted(path.name for path in folder.glob("*.*"))
            typer.echo(f"Saved in {folder}: {', '.join(kept) or 'no result yet'}.", err=True)
        _say_how_to_go_on(folder, name)
        raise
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)  # the results hold all of it


def _say_how_to_go_on(folder: Path, name: str) -> None:
    if (folder / CHECKPOINT).is_dir():
        typer.echo(f"Go on with: koopman-control run {name} --resume {folder}", err=True)
