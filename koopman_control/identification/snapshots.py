"""From trajectories to what a regression needs: states, increments, folds; never across a reset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, rounding_at
from koopman_control.features import Coordinates
from koopman_control.trajectories import Trajectory


@dataclass(frozen=True, slots=True)
class Run:
    """An uninterrupted piece of data.

    Args:
        X: States, shape (T + 1, d).
        U: Inputs, shape (T, m).
        weight: Weight of each snapshot pair in the regression, shape (T,), or None for 1.
    """

    X: Array
    U: Array
    weight: Array | None = None

    def piece(self, start: int, stop: int) -> Run:
        """Return the snapshot pairs from `start` up to `stop` as a run, without copying."""
        weight = None if self.weight is None else self.weight[start:stop]
        return Run(self.X[start : stop + 1], self.U[start:stop], weight)


@dataclass(frozen=True)
class Snapshots:
    """Snapshot pairs stacked over runs.

    Args:
        X: States, shape (T, d).
        U: Inputs, shape (T, m).
        dX: Increments of the states, angle differences wrapped, shape (T, d).
        censored: Pairs that end on a known limit and so say only "at least", shape (T,).
    """

    X: Array
    U: Array
    dX: Array
    censored: NDArray[np.bool_]


@dataclass(frozen=True)
class Chunk:
    """Runs stacked as rows, so that what depends on the state is evaluated once per state.

    Args:
        X: States of one run after the other, shape (S, d).
        U: Input between each state and the next row, shape (S - 1, m).
        weight: Weight of each pair of neighbouring rows, shape (S - 1,): zero where a run ends
            between them and where the pair is censored. None where all are 1.
    """

    X: Array
    U: Array
    weight: Array | None


def runs_of(
    data: Sequence[Trajectory],
    coordinates: Coordinates,
    weights: Sequence[Array] | None = None,
) -> list[Run]:
    """Read the states of every trajectory that is longer than the coordinates' memory.

    Args:
        data: The trajectories.
        coordinates: What a state is.
        weights: An array (T,) for each trajectory, or None.
    """
    memory = coordinates.memory
    each = [None] * len(data) if weights is None else weights
    runs = [
        Run(
            coordinates.along(t.observations, t.actions),
            t.actions[memory:],
            None if w is None else w[memory:],
        )
        for t, w in zip(data, each, strict=True)
        if len(t) > memory
    ]
    if not runs:
        raise ValueError(
            f"no trajectory in data is longer than {memory} steps, the memory of the state; use a "
            "shorter memory or longer trajectories"
        )
    return runs


def stack(runs: Sequence[Run], coordinates: Coordinates, limits: Array) -> Snapshots:
    """Form the snapshot pairs of all runs; `limits` has shape (2, d)."""
    X = np.concatenate([run.X[:-1] for run in runs])
    X_next = np.concatenate([run.X[1:] for run in runs])
    U = np.concatenate([run.U for run in runs])
    censored = np.asarray(at_limit(X_next, limits).any(axis=1))
    return Snapshots(X, U, coordinates.wrapped_difference(X_next, X), censored)


def chunks_of(runs: Iterable[Run], n_rows: int) -> Iterator[list[Run]]:
    """Group runs, cut where too long, into chunks of at most `n_rows` snapshot pairs."""
    group, free = [], n_rows
    for run in runs:
        start, T = 0, len(run.U)
        while start < T:
            stop = min(T, start + free)
            group.append(run.piece(start, stop))
            free -= stop - start
            start = stop
            if not free:
                yield group
                group, free = [], n_rows
    if group:
        yield group


def stacked(runs: Sequence[Run], limits: Array) -> Chunk:
    """Stack runs; `limits` has shape (2, d)."""
    X = runs[0].X if len(runs) == 1 else np.concatenate([run.X for run in runs])
    U = np.zeros((len(X) - 1, runs[0].U.shape[1]))
    weight = np.zeros(len(U))
    start = 0
    for run in runs:
        stop = start + len(run.U)
        U[start:stop] = run.U
        weight[start:stop] = 1.0 if run.weight is None else run.weight
        start = stop + 1
    if np.isfinite(limits).any():
        weight[at_limit(X[1:], limits).any(axis=1)] = 0.0
    return Chunk(X, U, None if (weight == 1.0).all() else weight)


def at_limit(X: Array, limits: Array) -> NDArray[np.bool_]:
    """Say which entries of states X (..., d) sit on their lower or upper limit (or beyond)."""
    margin = rounding_at(limits)
    below, above = limits[0] + margin, limits[1] - margin
    touching: NDArray[np.bool_] = (X <= below) | (X >= above)
    return touching


Piece = tuple[int, int, int]  # number of a run, first and last snapshot pair (exclusive)
Deal = Callable[[Sequence[int], int], list[list[Piece]]]  # runs of so many pairs, into folds


def split_into_folds(runs: Sequence[Run], n_folds: int) -> list[list[Run]]:
    """Deal whole runs into folds; where there are fewer runs than folds, cut them up first.

    Returns:
        At least two and at most `n_folds` folds, unless there is a single step in all.
    """
    folds = dealt([len(run.U) for run in runs], n_folds)
    return [[runs[i].piece(a, b) for i, a, b in fold] for fold in folds]


def dealt(lengths: Sequence[int], n_folds: int) -> list[list[Piece]]:
    """Deal runs of so many snapshot pairs into folds; see `split_into_folds`."""
    pieces = [(i, 0, length) for i, length in enumerate(lengths)]
    if len(pieces) < n_folds:
        per_run = -(-n_folds // len(pieces))
        pieces = []
        for i, length in enumerate(lengths):  # into consecutive pieces that share no snapshot pair
            edges = np.linspace(0, length, per_run + 1).astype(int)
            pieces += [(i, a, b) for a, b in pairwise(edges.tolist()) if b > a]
    folds = [pieces[i::n_folds] for i in range(n_folds)]
    return [fold for fold in folds if fold]


PLENTY = 100_000  # snapshot pairs, above which scales and features are taken from a sample
NUMBERS = 10_000_000  # in such a sample, at most


@dataclass(frozen=True)
class Extent:
    """How long runs are, and where each column is lowest and highest.

    Args:
        lengths: Snapshot pairs of every run.
        extremes: Lowest and highest value of every column of [X, U], shape (2, d + m).
        places: The first pair that has it, counted through all runs, shape (2, d + m).
    """

    lengths: list[int]
    extremes: Array
    places: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Extent:
        """Look through runs, which may be none."""
        lengths, found = [len(run.U) for run in runs], []
        for run, start in zip(runs, np.cumsum([0, *lengths]).tolist(), strict=False):
            rows = [run.X.argmin(axis=0), run.X.argmax(axis=0)]
            acts = [run.U.argmin(axis=0), run.U.argmax(axis=0)]
            values = np.hstack(
                [
                    np.take_along_axis(run.X, np.array(rows), axis=0),
                    np.take_along_axis(run.U, np.array(acts), axis=0),
                ]
            )
            places = np.hstack([np.minimum(rows, len(run.U) - 1), acts]) + start
            found.append(cls([], values, places))
        return replace(cls._furthest(found), lengths=lengths)

    @classmethod
    def together(cls, parts: Sequence[Extent]) -> Extent:
        """Put runs one after the other."""
        starts = np.cumsum([0, *(sum(part.lengths) for part in parts)]).tolist()
        moved = [
            replace(part, places=part.places + start)
            for part, start in zip(parts, starts, strict=False)
            if part.lengths
        ]
        lengths = [length for part in parts for length in part.lengths]
        return replace(cls._furthest(moved), lengths=lengths)

    @classmethod
    def _furthest(cls, parts: Sequence[Extent]) -> Extent:
        if not parts:
            return cls([], np.empty((2, 0)), np.empty((2, 0), dtype=np.int64))
        values = np.array([part.extremes for part in parts])
        best = np.stack([values[:, 0].argmin(axis=0), values[:, 1].argmax(axis=0)])[None]
        places = np.array([part.places for part in parts])
        return cls(
            [],
            np.take_along_axis(values, best, axis=0)[0],
            np.take_along_axis(places, best, axis=0)[0],
        )

    def sample(self) -> NDArray[np.int64]:
        """Choose snapshot pairs, counted through all runs, that stand for all.

        All where there are few; else evenly spaced ones, and those with extreme values, so that no
        column seems to rest that does not.
        """
        total = sum(self.lengths)
        if total <= PLENTY:
            return np.arange(total)
        n = min(PLENTY, NUMBERS // max(1, self.places.shape[1]))
        evenly = np.linspace(0, total - 1, n).astype(np.int64)
        return np.union1d(evenly, self.places.ravel())


def taken(runs: Sequence[Run], chosen: NDArray[np.int64]) -> list[Run]:
    """Return the chosen snapshot pairs, ascending, as runs; nothing is copied."""
    found = []
    edges = np.cumsum([0, *(len(run.U) for run in runs)])
    bounds = np.searchsorted(chosen, edges)
    for run, start, (a, b) in zip(runs, edges.tolist(), pairwise(bounds.tolist()), strict=False):
        if a == b:
            continue
        own = chosen[a:b] - start
        cuts = np.flatnonzero(np.diff(own) > 1) + 1
        firsts, lasts = own[np.r_[0, cuts]], own[np.r_[cuts - 1, -1]]
        found += [run.piece(i, j + 1) for i, j in zip(firsts.tolist(), lasts.tolist(), strict=True)]
    return found


def sample_of(runs: Sequence[Run]) -> Sequence[Run]:
    """Return runs that stand for the given ones: themselves, or evenly spaced pairs of many."""
    if sum(len(run.U) for run in runs) <= PLENTY:
        return runs
    return taken(runs, Extent.of(runs).sample())
