"""The command `tasks`: what there is to run."""

from __future__ import annotations

import typer


def tasks() -> None:
    """List the ready tasks, one line each: name, environment, what is to be done."""
    from koopman_control.tasks.registry import TASKS

    entries = TASKS.listed()
    names = max(len(entry.name) for entry in entries)
    ids = max(len(entry.env_id or "") for entry in entries)
    for entry in entries:
        budget = "" if entry.n_steps is None else f" ({entry.n_steps} environment steps)"
        typer.echo(f"{entry.name:{names}}  {entry.env_id or '':{ids}}  {entry.summary}{budget}")
