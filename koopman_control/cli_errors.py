"""How every command ends when something goes wrong: one sentence and a non-zero exit status."""

from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym
import typer

from koopman_control.trajectories import CollectionInterrupted

INTERRUPTED = 130  # exit status of a program stopped by Ctrl-C


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
