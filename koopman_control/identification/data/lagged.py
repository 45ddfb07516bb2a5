"""Snapshot rows beside the inputs of several samples before: which of them explains the rows?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.features.base import spread
from koopman_control.trajectories import Trajectory

N_FEATURES = 20
STEEPNESS = 0.5  # smooth features need few samples
N_FOLDS = 5
STRETCHES = 4  # per fold
MAX_ROWS = 20_000
RIDGE = 1e-4  # on standardised columns; with less, chance makes inputs look useful


@dataclass(frozen=True)
class LaggedRows:
    """Standardised rows that all delays share, so that their errors can be compared.

    Args:
        Z: State and features, shape (T, q).
        X: State, shape (T, p).
        U: Inputs 0 ... max_delay samples ago, shape (T, max_delay + 1, m).
        dX: Increments, shape (T, p).
        fold: Which fold a row belongs to, shape (T,).
    """

    Z: Array
    X: Array
    U: Array
    dX: Array
    fold: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[Trajectory], max_delay: int) -> LaggedRows:
        """Stack the rows of all runs that are longer than `max_delay`."""
        long = [run for run in runs if len(run) > max_delay]
        if not long:
            raise ValueError(
                f"max_delay is {max_delay}, but the longest trajectory has {max(map(len, runs))} "
                "steps; expected a max_delay below that"
            )
        X = np.concatenate([run.observations[max_delay:-1] for run in long])[:MAX_ROWS]
        dX = np.concatenate([np.diff(run.observations[max_delay:], axis=0) for run in long])
        U = np.concatenate([_lagged_inputs(run, max_delay) for run in long])[:MAX_ROWS]
        T, p, m = len(X), X.shape[1], U.shape[2]
        needed = (1 + p + N_FEATURES + m * (1 + p)) * N_FOLDS / (N_FOLDS - 1)
        if needed > T:
            raise ValueError(
                f"data holds {T} samples with {max_delay} earlier inputs; expected at least "
                f"{np.ceil(needed):.0f}: collect more, or lower max_delay"
            )
        X = (X - X.mean(axis=0)) / spread(X)
        U = (U - U[:, 0].mean(axis=0)) / spread(U[:, 0])
        features = SampledFeatures(
            N_FEATURES, steepness=STEEPNESS, sampling="uniform", random_state=0
        )
        Z = np.hstack([np.ones((T, 1)), X, features.fit(X).transform(X)])
        # Neighbours in time are alike, so folds are made of stretches of the data.
        fold = np.arange(T) * N_FOLDS * STRETCHES // T % N_FOLDS
        return cls(Z, X, U, dX[:MAX_ROWS] / spread(dX), fold)

    def error(self, delays: Sequence[int | None]) -> float:
        """Root mean square of the left-out one-step errors; None leaves an input out."""
        lagged = [self.U[:, k, [i]] for i, k in enumerate(delays) if k is not None]
        Phi = np.hstack([self.Z, *lagged, *(u * self.X for u in lagged)])
        parts = [
            (Phi[rows].T @ Phi[rows], Phi[rows].T @ self.dX[rows])
            for rows in (self.fold == i for i in range(N_FOLDS))
        ]
        gram, cross = sum(G for G, _ in parts), sum(R for _, R in parts)
        squares = 0.0
        for i, (G, R) in enumerate(parts):
            ridge = RIDGE * len(Phi) * np.eye(Phi.shape[1])
            K = np.linalg.solve(gram - G + ridge, cross - R)
            rows = self.fold == i
            squares += float(np.sum((self.dX[rows] - Phi[rows] @ K) ** 2))
        return float(np.sqrt(squares / self.dX.size)) + np.finfo(float).tiny


def _lagged_inputs(run: Trajectory, max_delay: int) -> Array:
    """Return the inputs 0 ... max_delay samples before, shape (T - max_delay, max_delay + 1, m)."""
    T = len(run)
    return np.stack([run.actions[max_delay - k : T - k] for k in range(max_delay + 1)], axis=1)
