"""The option --cluster of the commands whose work can be done by others."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer

Cluster = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler, as tcp://HOST:8786, whose workers do the work; or "
        "local, for a Dask cluster of this machine's processes, with its dashboard."
    ),
]


def on_cluster(where: str | None, processes: int) -> AbstractContextManager[int]:
    """Have what runs within done on a cluster, if there is one to be; tells the number of workers.

    Args:
        where: What --cluster got; None: nothing.
        processes: Number of processes where there is no cluster, or a local one.
    """
    if where is None:
        return nullcontext(processes)
    from koopman_control.common.cluster import cluster

    return cluster(where, processes, lambda sentence: typer.echo(sentence, err=True))
