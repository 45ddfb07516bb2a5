"""From trajectories to what a regression needs: states, increments, folds; never across a reset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, rounding_at
from koopman_control.features import Coordinates
from koopman_control.trajectories import Trajectory


@dataclass(frozen=True)
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


def split_into_folds(runs: Sequence[Run], n_folds: int) -> list[list[Run]]:
    """Deal whole runs into folds; where there are fewer runs than folds, cut them up first.

    Returns:
        At least two and at most `n_folds` folds, unless there is a single step in all.
    """
    pieces = list(runs)
    if len(pieces) < n_folds:
        per_run = -(-n_folds // len(pieces))
        pieces = []
        for run in runs:  # into consecutive pieces that share no snapshot pair
            edges = np.linspace(0, len(run.U), per_run + 1).astype(int)
            pieces += [run.piece(a, b) for a, b in pairwise(edges.tolist()) if b > a]
    folds = [pieces[i::n_folds] for i in range(n_folds)]
    return [fold for fold in folds if fold]
