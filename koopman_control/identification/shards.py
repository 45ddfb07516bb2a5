"""A fit's passes over shards of data: how long and wide they are, a sample of them, their sums.

What each pass returns is small, whatever the shards: with it a fit makes the choices that it would
make with all data in memory.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError

from koopman_control.common.arrays import Array
from koopman_control.common.border import require
from koopman_control.identification.errors import (
    MAX_WINDOWS,
    Windows,
    cut_windows,
    window_starts,
)
from koopman_control.identification.least_squares import Accumulator
from koopman_control.identification.snapshots import Deal, Extent, Piece, Run, dealt, taken
from koopman_control.identification.workers import Shards, Tree
from koopman_control.trajectories import Trajectory

TASK = 100_000  # snapshot pairs that a worker sums up before it reports

ReadRuns = Callable[[Sequence[Trajectory]], list[Run]]


class Lift(Protocol):
    """One candidate: what is summed."""

    def sums(self, parts: Sequence[Sequence[Run]], basis: Array | None = None) -> list[Accumulator]:
        """Accumulate the snapshot pairs of each part by itself."""
        ...


@dataclass
class ShardSums:
    """What a fit keeps of shards: sums of every fold, and windows that judge.

    Args:
        sums: By candidate and fold.
        windows: By fold; few, whatever the number of shards.
        n_pairs: Snapshot pairs.
        pilot: What tells apart fits that choose scales and features.
    """

    sums: list[list[Accumulator]]
    windows: list[Windows | None]
    n_pairs: int
    pilot: str = ""

    def add(self, other: ShardSums) -> ShardSums:
        """Add the sums of other shards to these; returns these."""
        for own, others in zip(self.sums, other.sums, strict=True):
            for one, two in zip(own, others, strict=True):
                one.absorb(two)
        pairs = zip(self.windows, other.windows, strict=True)
        self.windows = [_few(both) for both in pairs]
        self.n_pairs += other.n_pairs
        return self


def merged_sums(parts: Sequence[ShardSums], pilot: str) -> ShardSums:
    """Add parts up along the tree that their number fixes, leaving them as they are.

    Raises:
        ValueError: If one is of another pilot.
    """
    for i, part in enumerate(parts):
        if part.pilot != pilot:
            raise ValueError(
                f"parts[{i}] was summed with the scales and features of another pilot; sum every "
                "shard with the estimator that merges them"
            )
    tree = Tree(len(parts), ShardSums.add)
    for i, part in enumerate(parts):
        tree.put(i, copy.deepcopy(part))
    return tree.total()


def check_pilot(estimator: Any, fitted: str, what: str) -> None:
    """Raise a NotFittedError if an estimator lacks what a fit leaves."""
    if not hasattr(estimator, fitted):
        raise NotFittedError(
            f"{what} needs a pilot: first fit this {type(estimator).__name__} to data from all "
            "over the state space, whose scales and features the sums of all shards then share"
        )


def require_parts(parts: Any) -> None:
    """Raise an error unless parts are sums of shards, at least one."""
    require("parts", parts, Sequence[ShardSums])
    if not len(parts):
        raise ValueError("parts is empty; expected at least one result of sums")


def _few(parts: Sequence[Windows | None]) -> Windows | None:
    """Join windows; of too many the same ones are kept, whatever was joined in which order."""
    there = [part for part in parts if part is not None]
    if not there:
        return None
    joined = there[0] if len(there) == 1 else Windows.together(there)
    if len(joined.x0) <= MAX_WINDOWS:
        return joined
    marks = [zlib.crc32(w.tobytes()) for w in np.hstack([joined.x0, joined.X[:, 0]])]
    return joined.those(np.sort(np.argsort(marks, kind="stable")[:MAX_WINDOWS]))


@dataclass(frozen=True)
class Summation:
    """Sums of a shard, for `Shards.summed`.

    Args:
        read: From trajectories to runs.
        lifts: Candidates.
        bases: What whitens each.
    """

    read: ReadRuns
    lifts: Sequence[Lift]
    bases: Sequence[Array | None]

    def __call__(self, trajectories: Sequence[Trajectory], folds: list[list[Piece]]) -> ShardSums:
        """Sum up the pieces of a shard's runs, by fold."""
        return self.of(self.read(trajectories), folds)

    def of(self, runs: Sequence[Run], folds: list[list[Piece]]) -> ShardSums:
        """Sum up pieces of runs, by fold."""
        parts = [[runs[i].piece(a, b) for i, a, b in fold] for fold in folds]
        sums = [lift.sums(parts, basis) for lift, basis in zip(self.lifts, self.bases, strict=True)]
        n_pairs = sum(b - a for fold in folds for _, a, b in fold)
        return ShardSums(sums, [None] * len(folds), n_pairs)


@dataclass(frozen=True)
class PilotSummation:
    """Sums of a shard by what a pilot fit chose, its runs dealt into folds by themselves.

    Args:
        summation: Of the pilot's one candidate.
        n_folds: Folds, or 0.
        horizon: Steps of a window.
        pilot: What tells the pilot apart.
        deal: Into folds of how many runs.
    """

    summation: Summation
    n_folds: int
    horizon: int
    pilot: str
    deal: Deal = dealt

    def __call__(self, trajectories: Sequence[Trajectory], _: object = None) -> ShardSums:
        """Sum up a shard."""
        runs = self.summation.read(trajectories)
        lengths = [len(run.U) for run in runs]
        folds = self.deal(lengths, max(1, self.n_folds)) if lengths else []
        folds += [[] for _ in range(max(1, self.n_folds) - len(folds))]
        found = self.summation.of(runs, folds)
        if self.n_folds:
            found.windows = [_windows(runs, fold, self.horizon) for fold in folds]
        return replace(found, pilot=self.pilot)


def _windows(runs: Sequence[Run], fold: Sequence[Piece], horizon: int) -> Windows | None:
    if not fold:
        return None
    starts = window_starts([b - a for _, a, b in fold], horizon)
    return cut_windows([runs[i].piece(a, b) for i, a, b in fold], starts, horizon)


def extent(trajectories: Sequence[Trajectory], _: None, read: ReadRuns) -> Extent:
    """Look through a shard, for `Shards.each`."""
    return Extent.of(read(trajectories))


@dataclass(frozen=True)
class Picked:
    """Snapshot pairs and windows of a shard."""

    X: Array
    U: Array
    lengths: NDArray[np.int64]
    windows: list[Windows | None]


class Sample(Sequence[Run]):
    """Snapshot pairs picked from shards, as runs; made when they are asked for: many are short.

    Args:
        parts: What was picked from each shard.
    """

    def __init__(self, parts: Sequence[Picked]) -> None:
        some = [part for part in parts if len(part.lengths)]
        self._X, self._U = (np.concatenate([getattr(p, name) for p in some]) for name in "XU")
        self._edges = np.cumsum(np.concatenate([[0], *(part.lengths for part in some)]))

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._edges) - 1

    @overload
    def __getitem__(self, i: int) -> Run: ...
    @overload
    def __getitem__(self, i: slice) -> list[Run]: ...
    def __getitem__(self, i: int | slice) -> Run | list[Run]:
        """Return a run, or several."""
        if isinstance(i, slice):
            return [self[j] for j in range(len(self))[i]]
        i = range(len(self))[i]
        a, b = int(self._edges[i]), int(self._edges[i + 1])
        return Run(self._X[a + i : b + i + 1], self._U[a:b])


@dataclass(frozen=True)
class Wanted:
    """What a shard is asked for: snapshot pairs by number, and windows.

    Args:
        lengths: Snapshot pairs of each run that it held when it was first read.
        pairs: Snapshot pairs, counted through its runs, ascending.
        windows: By list of windows: which run, the piece it is cut from, and the first step.
        horizon: Steps of a window.
    """

    lengths: list[int]
    pairs: NDArray[np.int64]
    windows: list[list[tuple[Piece, int]]]
    horizon: int


def picked(trajectories: Sequence[Trajectory], wanted: Wanted, read: ReadRuns) -> Picked:
    """Pick what is wanted from a shard."""
    runs = read(trajectories)
    require_same(wanted.lengths, runs)
    sample = taken(runs, wanted.pairs)
    windows = []
    for asked in wanted.windows:
        pieces = [runs[i].piece(a, b) for (i, a, b), _ in asked]
        starts = list(enumerate(t for _, t in asked))
        windows.append(cut_windows(pieces, starts, wanted.horizon) if asked else None)
    if not sample:
        return Picked(np.empty((0, 0)), np.empty((0, 0)), np.empty(0, dtype=np.int64), windows)
    return Picked(
        np.concatenate([run.X for run in sample]),
        np.concatenate([run.U for run in sample]),
        np.array([len(run.U) for run in sample]),
        windows,
    )


def require_same(lengths: Sequence[int], runs: Sequence[Run]) -> None:
    """Raise a ValueError if a shard holds other runs than when it was first read."""
    now = [len(run.U) for run in runs]
    if now != list(lengths):
        raise ValueError(
            f"holds {len(now)} runs of {sum(now)} steps and held {len(lengths)} of {sum(lengths)} "
            "when it was first read; fit to files that nothing writes to any more"
        )


@dataclass
class KeptFolds:
    """Folds whose data are summed up already.

    Args:
        sample: Runs that stand for all data where scales are measured.
        n_pairs: Snapshot pairs of all data.
        windows: What each fold is judged on.
    """

    sample: Sequence[Run]
    n_pairs: int
    windows: list[Windows]
    n_fixed: int = 0

    @property
    def n_folds(self) -> int:
        """Folds that can be left out."""
        return len(self.windows)

    def sums(self, lifts: Sequence[Any]) -> list[list[Accumulator]]:
        """Refuse: the data are gone."""
        raise RuntimeError("data that were summed up by a worker are not here")


class ShardedFolds:
    """Folds of the runs of shards, as cross-validation asks for them.

    Args:
        shards: The data.
        read: From the trajectories of a shard to runs.
        extents: What `extent` found of every shard.
        deal: Into folds of how many runs.
        n_folds: Folds; 0 keeps all data in one that is not judged.
        horizon: Steps of a window.
        n_further: Number of further windows of the last fold.
    """

    def __init__(
        self,
        shards: Shards,
        read: ReadRuns,
        extents: Sequence[Extent],
        deal: Deal,
        n_folds: int,
        horizon: int,
        n_further: int = 0,
    ) -> None:
        self._shards, self._read = shards, read
        whole = Extent.together(extents)
        self.n_pairs, self._lengths = sum(whole.lengths), [e.lengths for e in extents]
        self._edges = np.cumsum([0, *(len(own) for own in self._lengths)])
        folds = deal(whole.lengths, n_folds) if n_folds else [_all(whole.lengths)]
        self.n_folds = len(folds)
        asked = [_chosen(fold, horizon, MAX_WINDOWS) for fold in folds] if n_folds else []
        if n_further and n_folds:
            asked.append(_chosen(folds[-1], horizon, n_further))
        by_shard = [self._by_shard(windows) for windows in asked]
        first = np.cumsum([0, *(sum(own) for own in self._lengths)])
        sample = whole.sample()
        bounds = np.searchsorted(sample, first)
        wanted = [
            Wanted(own, sample[a:b] - start, [one[i] for one in by_shard], horizon)
            for i, (own, start, (a, b)) in enumerate(
                zip(self._lengths, first.tolist(), pairwise(bounds.tolist()), strict=False)
            )
        ]
        found = shards.each(partial(picked, read=read), wanted)
        self.sample = Sample(found)
        windows = [[one.windows[k] for one in found] for k in range(len(asked))]
        joined = [Windows.together([w for w in each if w is not None]) for each in windows]
        self.windows, self.further = joined[: self.n_folds], joined[self.n_folds :]
        self._folds = [self._by_shard([(piece, 0) for piece in fold]) for fold in folds]

    n_fixed = 0  # sums, the first ones, that no fold leaves out

    def kept(self) -> KeptFolds:
        """Return what is worth keeping once all is summed."""
        return KeptFolds(self.sample, self.n_pairs, self.windows)

    def sums(self, lifts: Sequence[Any]) -> list[list[Accumulator]]:
        """Accumulate every fold for every candidate, by candidate and fold."""
        bases = [lift.basis(self.sample, self.n_pairs) for lift in lifts]
        pieces = [
            [[piece for piece, _ in fold[i]] for fold in self._folds]
            for i in range(len(self._lengths))
        ]
        tasks = grouped([sum(own) for own in self._lengths])
        total = self._shards.summed(
            Summation(self._read, lifts, bases), pieces, ShardSums.add, tasks
        )
        return total.sums

    def _by_shard(self, asked: Sequence[tuple[Piece, int]]) -> list[list[tuple[Piece, int]]]:
        """Sort what is asked of runs, counted through all shards, by shard."""
        found: list[list[tuple[Piece, int]]] = [[] for _ in self._lengths]
        owners = np.searchsorted(self._edges, [i for (i, _, _), _ in asked], side="right") - 1
        for ((i, a, b), t), owner in zip(asked, owners.tolist(), strict=True):
            found[owner].append(((i - int(self._edges[owner]), a, b), t))
        return found


def grouped(sizes: Sequence[int]) -> list[list[int]]:
    """Group neighbouring shards of so many pairs into tasks that are worth sending."""
    tasks: list[list[int]] = [[]]
    held = 0
    for i, size in enumerate(sizes):
        if tasks[-1] and held + size > TASK:
            tasks.append([])
            held = 0
        tasks[-1].append(i)
        held += size
    return tasks


def _all(lengths: Sequence[int]) -> list[Piece]:
    return [(i, 0, length) for i, length in enumerate(lengths)]


def _chosen(fold: Sequence[Piece], horizon: int, most: int) -> list[tuple[Piece, int]]:
    starts = window_starts([b - a for _, a, b in fold], horizon, most)
    return [(fold[i], t) for i, t in starts]
