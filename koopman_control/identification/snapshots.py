"""From trajectories to what a regression needs: states, increments, folds; never across a reset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features.coordinates import Coordinates
from koopman_control.trajectories import Trajectory

AT_LIMIT = 1e-6  # relative; observations have often passed through float32


@dataclass(frozen=True)
class Run:
    """An uninterrupted piece of data: states X of shape (T + 1, d) and inputs U of shape (T, m)."""

    X: Array
    U: Array


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


def runs_of(data: Sequence[Trajectory], coordinates: Coordinates) -> list[Run]:
    """Read the states of every trajectory that is longer than the coordinates' memory."""
    memory = coordinates.memory
    runs = [
        Run(coordinates.along(t.observations, t.actions), t.actions[memory:])
        for t in data
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


def at_limit(X: Array, limits: Array) -> NDArray[np.bool_]:
    """Say which entries of states X (..., d) sit on their lower or upper limit (or beyond)."""
    margin = AT_LIMIT * np.maximum(1.0, np.abs(np.where(np.isfinite(limits), limits, 0.0)))
    below, above = limits[0] + margin[0], limits[1] - margin[1]
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
        pieces = [piece for run in runs for piece in _cut(run, per_run)]
    folds = [pieces[i::n_folds] for i in range(n_folds)]
    return [fold for fold in folds if fold]


def _cut(run: Run, n_pieces: int) -> list[Run]:
    """Cut a run into consecutive pieces that share no snapshot pair."""
    edges = np.linspace(0, len(run.U), n_pieces + 1).astype(int)
    return [Run(run.X[a : b + 1], run.U[a:b]) for a, b in pairwise(edges) if b > a]
