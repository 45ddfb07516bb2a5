"""Units of work in other processes, here or on a cluster, whatever becomes of the processes.

What joblib is told outside (`joblib.parallel_config("dask")`, "ray", ...) says where; else it is
processes of this machine. A unit whose process ends (killed, out of memory) is run again.
"""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import closing, nullcontext, suppress
from itertools import chain, islice
from threading import Lock
from typing import Any, TypeVar
from uuid import uuid4

import cloudpickle
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend

from koopman_control.common.border import optional_package
from koopman_control.common.versions import package_versions

Unit = TypeVar("Unit")
Result = TypeVar("Result")

CHANCES = 4  # times that a unit's process may end before it is given up
ROUNDS = 3  # times that a cluster may give up a unit, after several losses each (`KilledWorker`)
GONE = "the cluster's scheduler is gone; what was finished before is kept"
FETCHING = 10.0  # s, to get a result, which is lost if its worker ended just after it
FEW = 16  # results at a time, where a backend returns no single ones
AHEAD = 2  # units sent for each thread of a cluster: the next one is there, and it sees demand


class WorkerLostError(RuntimeError):
    """The process that a unit ran in ended, every time it was tried."""


class UnfitWorkerError(ValueError):
    """A worker of a cluster would not find what this process would."""


class ClusterGoneError(ConnectionError):
    """A cluster's scheduler no longer answers, or has no workers."""


def in_processes(
    function: Callable[[Unit], Result], units: Iterable[Unit], jobs: int
) -> Generator[tuple[Unit, Result | WorkerLostError], None, None]:
    """Apply a function to units in other processes and yield each with its result, as they end.

    Units are taken from the iterable when there is a process for them; on a cluster some more, so
    that its scheduler sees work for further workers. A unit whose process ends is run again; one
    that ends its process every time has a `WorkerLostError` for a result, and the others go on.

    Args:
        function: It, the units and what it returns can be pickled (by cloudpickle).
        units: The units.
        jobs: Number of processes; 1 means this one. A cluster has its own number.

    Yields:
        (unit, result), in the order in which they end.

    Raises:
        UnfitWorkerError: A worker of the cluster has other versions, or several threads.
        ClusterGoneError: The cluster's scheduler is gone.
        Exception: What the function raises; what is running is given up.
    """
    with closing(_finished(function, units, jobs)) as finished:
        for _, unit, result in finished:
            yield unit, result


def in_order(
    function: Callable[[Unit], Result], units: Iterable[Unit], jobs: int
) -> Generator[tuple[Unit, Result | WorkerLostError], None, None]:
    """As `in_processes`, but yield the results in the order of the units."""
    early: dict[int, tuple[Unit, Result | WorkerLostError]] = {}
    due = 0
    with closing(_finished(function, units, jobs)) as finished:
        for number, unit, result in finished:
            early[number] = unit, result
            while due in early:
                yield early.pop(due)
                due += 1


def _finished(
    function: Callable[[Any], Any], units: Iterable[Any], jobs: int
) -> Generator[tuple[int, Any, Any], None, None]:
    """Yield number, unit and result, as they end."""
    source, client = _Source(units), dask_client()
    if client is None:
        yield from _by_joblib(function, source, jobs)
    else:
        yield from _on_dask(client, function, source)


def dask_client() -> Any:
    """Return the client behind `joblib.parallel_config("dask")`, or None.

    Work goes there by itself: joblib would wait for ever for what ended its workers.
    """
    backend, _ = get_active_backend()
    return getattr(backend, "client", None)


def unordered(**settings: Any) -> Callable[[Iterable[Any]], Generator[Any, None, None]]:
    """Return what runs joblib's calls, and yields what they return as they end.

    Backends that cannot do that (multiprocessing, Ray) return a few at a time, so that not all
    results are in memory at once.

    Args:
        **settings: As of `joblib.Parallel`.
    """
    backend, _ = get_active_backend()
    if backend.supports_return_generator:
        work: Any = Parallel(return_as="generator_unordered", **settings)
        return work  # type: ignore[no-any-return]
    work = Parallel(**settings)

    def few_at_a_time(calls: Iterable[Any]) -> Generator[Any, None, None]:
        left = iter(calls)
        while few := list(islice(left, FEW)):
            yield from work(few)

    return few_at_a_time


class _Source(Iterator[tuple[int, Any]]):
    """Numbered units, for threads that must not meet in a generator."""

    def __init__(self, units: Iterable[Any]) -> None:
        self._units, self._lock = enumerate(units), Lock()

    def __next__(self) -> tuple[int, Any]:
        with self._lock:
            return next(self._units)


def _lost(where: str) -> WorkerLostError:
    return WorkerLostError(
        f"its process ended each of the times it was tried on {where}: killed, or out of memory"
    )


def _by_joblib(
    function: Callable[[Any], Any], source: _Source, jobs: int
) -> Iterator[tuple[int, Any, Any]]:
    backend, _ = get_active_backend()
    ours = backend.supports_inner_max_num_threads and backend.inner_max_num_threads is None
    losses: Counter[int] = Counter()
    taken: dict[int, Any] = {}  # from the source and not finished, in this try or another

    def calls(numbered: Iterable[tuple[int, Any]]) -> Iterator[Any]:
        for number, unit in numbered:
            taken[number] = unit
            yield delayed(_numbered)(number, function, unit)

    while True:
        # Who was there twice when a process ended runs alone, to see whether it is to blame.
        waiting = list(taken.items())
        suspects = [item for item in waiting if losses[item[0]] > 1][:1]
        with parallel_config("loky", inner_max_num_threads=1) if ours else nullcontext():
            at_once = max(jobs, 2) if suspects else jobs
            work = unordered(n_jobs=at_once, pre_dispatch=jobs, batch_size=1)
        results = work(calls(suspects or chain(waiting, source)))
        try:
            for number, result in results:
                yield number, taken.pop(number), result
            if not suspects and not taken:
                return
        except BrokenExecutor:
            losses.update([number for number, _ in suspects] or list(taken))
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # joblib's, of units it gives up
                results.close()
        for number in [number for number in list(taken) if losses[number] >= CHANCES]:
            yield number, taken.pop(number), _lost("this machine")


def _numbered(number: int, function: Callable[[Any], Any], unit: Any) -> tuple[int, Any]:
    return number, function(unit)


def _on_dask(
    client: Any, function: Callable[[Any], Any], source: _Source
) -> Iterator[tuple[int, Any, Any]]:
    distributed = optional_package("distributed", "cluster")
    name = optional_package("dask.utils", "cluster").funcname(function)
    versions = package_versions()
    losses: Counter[int] = Counter()
    waiting: deque[tuple[int, Any]] = deque()
    running: dict[str, tuple[int, Any]] = {}
    ended = distributed.as_completed([], loop=client.loop)
    try:
        while True:
            most = AHEAD * (sum(client.nthreads().values()) + 1)
            while len(running) < most and (
                item := waiting.popleft() if waiting else next(source, None)
            ):
                key = f"{name}-{uuid4().hex}"
                # Dask's own pickler would send modules that workers lack by their names.
                sent = cloudpickle.dumps((function, item[1]))
                future = client.submit(_where_fit, sent, versions, key=key, pure=False)
                running[key] = item
                ended.add(future)
                del future  # a cluster forgets a result that nobody refers to
            if not running:
                return
            future = next(ended)
            number, unit = item = running.pop(future.key)
            try:
                result = future.result(timeout=FETCHING)
            except (distributed.KilledWorker, CancelledError, TimeoutError):
                if future.status == "error" and not isinstance(
                    future.exception(), distributed.KilledWorker
                ):
                    raise  # the unit's own
                if client.status != "running":
                    raise ClusterGoneError(GONE) from None
                losses[number] += 1
                if losses[number] < ROUNDS:
                    waiting.append(item)
                    continue
                result = _lost("several workers")
            finally:
                del future
            yield number, unit, result
    except ClusterGoneError:
        raise
    except Exception as error:  # of many kinds, if the scheduler goes while it is asked
        if client.status == "running" and not isinstance(error, distributed.comm.CommClosedError):
            raise
        raise ClusterGoneError(GONE) from error
    finally:
        with suppress(Exception):  # of a cluster that is gone
            client.cancel(ended.futures, force=True)


def _where_fit(sent: bytes, versions: Mapping[str, str]) -> Any:
    """Run a unit on a worker, which may have come after the others were looked at."""
    if trouble := unfitness(versions):
        raise UnfitWorkerError(trouble)
    function, unit = cloudpickle.loads(sent)
    return function(unit)


def unfitness(versions: Mapping[str, str], dask_worker: Any = None) -> str:
    """Say what keeps the worker that this is called on from finding what others do; "" if nothing.

    Args:
        versions: Those that it should have.
        dask_worker: The worker, by which Dask calls this name; None: that of the unit running.
    """
    worker = dask_worker or optional_package("distributed", "cluster").get_worker()
    found = package_versions()
    differ = [
        f"{name} {found.get(name, 'missing')} (here {versions.get(name, 'missing')})"
        for name in sorted({*found, *versions})
        if found.get(name) != versions.get(name)
    ]
    if differ:
        return (
            f"the worker {worker.address} has {', '.join(differ)}; results would not be the same: "
            "install the same versions there"
        )
    if worker.state.nthreads > 1:
        return (
            f"the worker {worker.address} has {worker.state.nthreads} threads, which units of work "
            "cannot share; start it with --nthreads 1, and --nworkers for several processes"
        )
    return ""
