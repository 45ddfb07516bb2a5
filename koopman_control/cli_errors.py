"""How every command ends when something goes wrong: one sentence and a non-zero exit status."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gymnasium as gym
import typer

from koopman_control.common import ensure_writable_folder
from koopman_control.trajectories import CollectionInterrupted

INTERRUPTED = 130  # exit status of a program stopped by Ctrl-C


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder for results, which goes again if nothing is written to it."""
    folder = ensure_writable_folder(path)
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
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
