"""Work on shards of data: here, in other processes, or on a cluster; sums come out the same.

Tasks run through joblib, so that whatever `joblib.parallel_config` names carries them (processes,
threads, Ray), or as a Dask graph, where it names Dask or the shards are Dask's own. What they
return is added up along a tree that the number of shards fixes, not the order in which they finish.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from joblib import delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from koopman_control.common import optional_package, positive_int
from koopman_control.common.border import require
from koopman_control.common.workers import dask_client, unordered
from koopman_control.identification.least_squares import single_threaded_blas
from koopman_control.trajectories import Trajectory, TrajectoryStore, check_trajectories

FAN_IN = 16  # parts that one node of the tree adds up; few levels keep few sums in memory
ATTEMPTS = 3  # to finish what died with a worker

T = TypeVar("T")
Work = Callable[[list[Trajectory], Any], T]  # of the trajectories of a shard and its own argument
Add = Callable[[T, T], T]  # may change and return the first


class Shards:
    """Data that are read one shard at a time.

    Args:
        shards: Each of them trajectories, a function without arguments that returns some, or a
            Dask `Delayed` of them.
        workers: How many processes; None leaves it to `joblib.parallel_config`, else one.

    Raises:
        TypeError: If they are no sequence.
        ValueError: If there is none, or only some are Dask's.
    """

    def __init__(self, shards: Sequence[Any], workers: int | None = None) -> None:
        require("readers", shards, Sequence)
        if workers is not None:
            positive_int("workers", workers)
        self._shards, self._workers = list(shards), workers
        if not self._shards:
            raise ValueError("readers is empty; expected at least one shard of data")
        names = getattr(shards, "names", None)
        self._names = names or [f"shard {i}" for i in range(len(self._shards))]
        theirs = {_is_lazy(shard) for shard in self._shards}
        if len(theirs) > 1:
            raise ValueError(
                "readers mixes Dask's delayed shards with others; expected all of one kind"
            )
        self._lazy = theirs.pop()
        self._as_graph = self._lazy or dask_client() is not None

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self._shards)

    def some(self) -> list[Trajectory]:
        """Return the trajectories of the first shard that has any.

        Raises:
            ValueError: If there is none in any shard.
        """
        for i in range(len(self)):
            shard = self._shards[i].compute() if self._lazy else self._shards[i]
            found: list[Trajectory] = _worked_off(
                _as_they_are, [shard], [self._names[i]], [None], _never
            )
            if found:
                return found
        raise ValueError(f"none of {len(self)} shards holds a trajectory; expected at least one")

    def each(self, work: Work[T], arguments: Sequence[Any]) -> list[T]:
        """Work on every shard by itself; returns the results in order."""
        tasks = [[i] for i in range(len(self))]
        if self._as_graph:
            return _computed(self._nodes(work, arguments, tasks, _never))
        found = dict(self._finished(work, arguments, tasks, _never))
        return [found[i] for i in range(len(tasks))]

    def summed(
        self, work: Work[T], arguments: Sequence[Any], add: Add[T], tasks: Sequence[Sequence[int]]
    ) -> T:
        """Work on every shard and add the results up along a tree.

        Args:
            work: What to do with each.
            arguments: One for each.
            add: How two results add up.
            tasks: Numbers of the shards that one worker goes through, one after the other.
        """
        if self._as_graph:
            nodes = self._nodes(work, arguments, tasks, add)
            together = _dask().delayed(_together)
            while len(nodes) > 1:
                groups = [nodes[i : i + FAN_IN] for i in range(0, len(nodes), FAN_IN)]
                nodes = [together(add, group) for group in groups]
            total: T = _computed(nodes)[0]
            return total
        tree = Tree(len(tasks), add)
        for i, part in self._finished(work, arguments, tasks, add):
            tree.put(i, part)
        return tree.total()

    def _nodes(
        self, work: Work[T], arguments: Sequence[Any], tasks: Sequence[Sequence[int]], add: Add[T]
    ) -> list[Any]:
        """Return a node of a Dask graph for every task."""
        node, shared = _dask().delayed(_worked_off), _dask().delayed(work, traverse=False)
        return [node(shared, *self._parts(task, arguments), add) for task in tasks]

    def _parts(self, task: Sequence[int], arguments: Sequence[Any]) -> list[list[Any]]:
        """Return shards, names and arguments of a task."""
        return [[every[i] for i in task] for every in (self._shards, self._names, arguments)]

    def _finished(
        self, work: Work[T], arguments: Sequence[Any], tasks: Sequence[Sequence[int]], add: Add[T]
    ) -> Iterator[tuple[int, T]]:
        """Yield tasks as they finish; those that died with a worker are done again."""
        left = dict(enumerate(tasks))
        for attempt in range(ATTEMPTS):
            calls = [
                delayed(_numbered)(i, work, *self._parts(task, arguments), add)
                for i, task in left.items()
            ]
            try:
                # Arrays that joblib maps from files would outlive these.
                for i, result in unordered(n_jobs=self._workers, max_nbytes=None)(calls):
                    del left[i]
                    yield i, result
                return
            except TerminatedWorkerError as error:
                if attempt == ATTEMPTS - 1:
                    raise _died(
                        f"{ATTEMPTS} times, with {len(left)} of {len(tasks)} tasks left"
                    ) from error


def _computed(nodes: Sequence[Any]) -> list[Any]:
    """Compute nodes of a Dask graph, on the cluster that joblib is told to use if it is."""
    client = dask_client()
    try:
        if client is None:
            return list(_dask().compute(*nodes))
        return list(client.gather(client.compute(list(nodes))))
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # of distributed, which need not be there
            raise _died("again and again") from error
        raise


def _died(how: str) -> MemoryError:
    return MemoryError(
        f"workers died {how}, most likely for want of memory; use fewer workers, smaller shards or "
        "fewer features. The estimator is as it was before"
    )


class Tree(Generic[T]):
    """Sums of parts that come in any order, always added in the same one.

    A node adds up `FAN_IN` neighbours from the first to the last as they come, and is then a part
    of the node above it. So no more than one sum per level is kept, and parts that came early.

    Args:
        n_parts: How many there will be.
        add: How two parts add up.

    Example:
        >>> tree = Tree(3, lambda a, b: a + b)
        >>> for i in (2, 0, 1):
        ...     tree.put(i, "abc"[i])
        >>> tree.total()
        'abc'
    """

    def __init__(self, n_parts: int, add: Add[T]) -> None:
        self._add = add
        self._widths = [n_parts]
        while self._widths[-1] > 1:
            self._widths.append(-(-self._widths[-1] // FAN_IN))
        self._early: dict[tuple[int, int], T] = {}
        self._sums: dict[tuple[int, int], T] = {}
        self._next: dict[tuple[int, int], int] = {}

    def put(self, i: int, part: T, level: int = 0) -> None:
        """Take the part of a number."""
        if level == len(self._widths) - 1:
            self._sums[level, 0] = part
            return
        self._early[level, i] = part
        node = (level + 1, i // FAN_IN)
        first, last = node[1] * FAN_IN, min((node[1] + 1) * FAN_IN, self._widths[level])
        j = self._next.get(node, first)
        while (level, j) in self._early:
            own = self._early.pop((level, j))
            self._sums[node] = own if j == first else self._add(self._sums[node], own)
            j += 1
        self._next[node] = j
        if j == last:
            self.put(node[1], self._sums.pop(node), level + 1)

    def total(self) -> T:
        """Return the sum of all parts, once all have come."""
        return self._sums[len(self._widths) - 1, 0]


def _numbered(i: int, *task: Any) -> tuple[int, Any]:
    return i, _worked_off(*task)


def _worked_off(
    work: Work[T],
    shards: Sequence[Any],
    names: Sequence[str],
    arguments: Sequence[Any],
    add: Add[T],
) -> T:
    """Work on shards one after the other; a complaint names the shard."""
    total: T | None = None
    with single_threaded_blas(workers=1):  # so that sums do not depend on the number of threads
        for shard, name, argument in zip(shards, names, arguments, strict=True):
            try:
                part = work(read(shard), argument)
            except MemoryError as error:
                raise MemoryError(
                    f"{name}: a worker is out of memory; use smaller shards, fewer features or "
                    "fewer workers at a time"
                ) from error
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name}: {error}") from error
            except OSError as error:
                said = f"{name}: {error.strerror or error}"
                raise OSError(error.errno, said, error.filename) from error
            total = part if total is None else add(total, part)
    assert total is not None  # for the type checker: no task is empty
    return total


def _together(add: Add[T], parts: Sequence[T]) -> T:
    """Add parts up, leaving them as they are: a cluster may need them again."""
    total = copy.deepcopy(parts[0])
    for part in parts[1:]:
        total = add(total, part)
    return total


def read(shard: Any) -> list[Trajectory]:
    """Return the trajectories of a shard, checked; there may be none."""
    data = shard() if callable(shard) else shard
    return [] if isinstance(data, list | tuple) and not data else check_trajectories(data)


def sharded(data: Any) -> Sequence[Any] | None:
    """Return data as a sequence of shards, or None where they may be trajectories in memory."""
    if hasattr(data, "to_delayed"):  # a dask.bag
        return list(data.to_delayed())
    if isinstance(data, Trajectory) or not isinstance(data, Sequence):
        return None
    some = next(iter(data), None)
    lazy = _is_lazy(some) or callable(some) or isinstance(data, TrajectoryStore)
    return data if lazy else None


def _is_lazy(shard: Any) -> bool:
    return hasattr(shard, "__dask_graph__")


def _dask() -> Any:
    return optional_package("dask", "cluster")


def _as_they_are(trajectories: list[Trajectory], _: object) -> list[Trajectory]:
    return trajectories


def _never(first: Any, second: Any) -> Any:
    raise AssertionError("tasks of one shard have nothing to add")
