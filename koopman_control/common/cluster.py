"""A Dask cluster by its address, or one of this machine's own processes, while a command runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from joblib import parallel_config

from koopman_control.common.arrays import positive_int
from koopman_control.common.border import checked, optional_package
from koopman_control.common.versions import package_versions
from koopman_control.common.workers import ClusterGoneError, UnfitWorkerError, unfitness

LOCAL = "local"
PATIENCE = 10  # s, for a scheduler to answer
STARTING = 60  # s, for the first worker of a scheduler that has none
HOW_TO = "start one with `dask scheduler`, and workers with `dask worker {} --nthreads 1`"


@contextmanager
@checked
def cluster(
    where: str, workers: int = 2, tell: Callable[[str], None] = lambda sentence: None
) -> Iterator[int]:
    """Have units of work done on a Dask cluster by whatever runs within, and let go of it after.

    Everything that goes through joblib does (`evaluate`, `run_benchmark`). Workers are looked at
    first: they need the versions of this process, and a single thread each.

    Args:
        where: The address of a scheduler, "tcp://HOST:8786", or "local" for processes of this
            machine, which end with the context.
        workers: Number of processes for "local".
        tell: Called with sentences for the user, such as the link of the dashboard.

    Yields:
        The number of workers there are now.

    Raises:
        ImportError: Dask is not installed.
        ValueError: `where` is no address.
        ClusterGoneError: No scheduler answers there, or it has no workers.
        UnfitWorkerError: A worker has other versions, or several threads.

    Example:
        >>> with cluster("local", workers=2):  # doctest: +SKIP
        ...     run_benchmark(plan, runs)
    """
    positive_int("workers", workers)
    distributed = optional_package("distributed", "cluster")
    if where == LOCAL:
        opened = _local(distributed, workers)
    else:
        opened = _remote(distributed, where)
    with opened as client:
        found = _fit_workers(client, where, tell)
        tell(f"{found} workers; dashboard: {client.dashboard_link}")
        with parallel_config("dask", client=client):
            yield found


@contextmanager
def _local(distributed: Any, workers: int) -> Iterator[Any]:
    try:
        made = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
        )
    except (OSError, RuntimeError, TimeoutError) as error:
        raise ClusterGoneError(
            f"cannot start {workers} workers on this machine: {_root(error)}; make room for their "
            "files (dask's temporary-directory), or use --jobs without --cluster"
        ) from error
    with made, distributed.Client(made, set_as_default=False) as client:
        made.adapt(minimum=workers, maximum=workers)  # also for one that is killed as it starts
        yield client


def _root(error: BaseException) -> BaseException:
    """Return what an error comes from in the first place."""
    return error if error.__cause__ is None else _root(error.__cause__)


@contextmanager
def _remote(distributed: Any, address: str) -> Iterator[Any]:
    if "://" not in address or not address.rpartition(":")[2].isdigit():
        raise ValueError(
            f"where is {address!r}; expected the address of a Dask scheduler, as "
            "tcp://HOST:8786, or local"
        )
    try:
        with ThreadPoolExecutor(1) as thread:  # where a loop may run here already, as in notebooks
            kind = thread.submit(asyncio.run, _kind(distributed, address)).result()
        if kind != "Scheduler":
            raise ValueError(f"where is {address!r}, which is a {kind}; expected a scheduler")
        made = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterGoneError(
            f"no Dask scheduler answers at {address} within {PATIENCE} s; {HOW_TO.format(address)}"
        ) from error
    with made as client:
        yield client


async def _kind(distributed: Any, address: str) -> str:
    """Ask who is there; a client would wait for ever for something else that takes connections."""
    keys = distributed.Security().get_connection_args("client")
    async with distributed.rpc(address, timeout=PATIENCE, connection_args=keys) as there:
        answer = await asyncio.wait_for(there.identity(), PATIENCE)
    return str(answer["type"])


def _fit_workers(client: Any, where: str, tell: Callable[[str], None]) -> int:
    """Wait for the first worker, and look at all there are; returns their number."""
    versions = package_versions()
    if not client.nthreads():
        tell(f"The cluster has no workers yet; waiting up to {STARTING} s for the first.")
        try:  # work that waits is what an adaptive cluster makes workers for
            client.submit(abs, 1, pure=False).result(timeout=STARTING)
        except TimeoutError:
            raise ClusterGoneError(
                f"the scheduler at {where} has no workers; start one: "
                f"`dask worker {where} --nthreads 1`"
            ) from None
    answers = client.run(unfitness, versions, on_error="return")
    for address, answer in answers.items():
        if isinstance(answer, BaseException):
            answer = (
                f"the worker {address} cannot run units of work ({answer}); install "
                f"koopman-control {versions.get('koopman-control', '')} there"
            )
        if answer:
            raise UnfitWorkerError(answer)
    return len(answers)
