"""How every command ends when something goes wrong: one sentence and a non-zero exit status.

And the folder of a run: made anew or gone on in.
"""

from __future__ import annotations

import difflib
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gymnasium as gym
import typer

from koopman_control.common import ensure_writable_folder
from koopman_control.common.files import fresh_folder
from koopman_control.evaluation.summary import printable
from koopman_control.trajectories import CollectionInterrupted, save_trajectories

INTERRUPTED = 130  # exit status of a program stopped by Ctrl-C


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder for results of this name, which goes again if nothing is written to it."""
    folder = fresh_folder(path)
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()  # it refuses where there is something


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """Return " Did you mean NAME?" for the name nearest to what was given, or nothing.

    Capital letters and what stands before a slash may be left out.
    """
    known = {spelt: name for name in names for spelt in (name.lower(), _short(name).lower())}
    nearest = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.6)
    return f" Did you mean {known[nearest[0]]}?" if nearest else ""


def _short(name: str) -> str:
    return name.rpartition("/")[2]


@contextmanager
def one_sentence(debug: bool) -> Iterator[None]:
    """Turn errors into one sentence and a non-zero exit status; with `debug`, let them through."""
    try:
        yield
    except CollectionInterrupted as stop:
        typer.echo(str(stop), err=True)
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, TypeError, OSError, gym.error.Error, ImportError) as error:
        if debug:
            raise
        typer.echo(f"Error: {printable(str(error))}", err=True)
        raise typer.Exit(1) from None


CHECKPOINT = "checkpoint"  # what an interrupted run goes on from


def run_folder(output: Path, env_id: str, resume: Path | None) -> Path:
    """Make the folder of a run, or find that of an interrupted one.

    Raises:
        ValueError: There is nothing to go on from.
        FolderNotWritableError: The folder cannot be written to.
    """
    if resume is None:
        name = env_id.rpartition("/")[2]
        return fresh_folder(output / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not (resume / CHECKPOINT).is_dir():
        raise ValueError(
            f"there is nothing to go on from in {resume}: an interrupted run's folder holds a "
            f"folder {CHECKPOINT!r}, a finished one's does not"
        )
    return ensure_writable_folder(resume)


@contextmanager
def kept_on_failure(folder: Path, env_id: str) -> Iterator[None]:
    """Save what a collection that broke off has measured; say what is saved, and how to go on."""
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
        _say_how_to_go_on(folder, env_id)
        raise
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)  # the results hold all of it


def _say_how_to_go_on(folder: Path, env_id: str) -> None:
    if (folder / CHECKPOINT).is_dir():
        typer.echo(f"Go on with: koopman-control run {env_id} --resume {folder}", err=True)
