"""The sampled RNN itself: y+ = y + K psi([x, u]), psi = [1, x, u, features], lifted at every step.

Judged by time-series cross-validation: fitted to the past, judged on what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap, spread
from koopman_control.forecasting.memory import Scaling
from koopman_control.identification.crossvalidation import Folds
from koopman_control.identification.errors import Windows
from koopman_control.identification.least_squares import (
    ROWS_PER_COLUMN,
    Accumulator,
    RFactor,
    RidgeSolver,
    fold_in_parallel,
    n_workers,
    whitening,
)
from koopman_control.identification.snapshots import Piece, Run, chunks_of

CHUNK = 4096  # snapshot pairs whose features are held in memory at once
SAMPLE = 20_000  # snapshot pairs that features are placed by
BLOCK = 2**17  # numbers per block of features that a roll-out evaluates; they stay in the cache


@dataclass(frozen=True)
class Lift:
    """A fitted feature map with the units of its regression.

    Args:
        scaling: Units and memory.
        features: Fitted feature map of the arguments e = [x, u].
        center: Means of the arguments, shape (e,).
        scale: Standard deviations of the arguments, shape (e,).
        target_scale: Standard deviations of the targets, shape (p,).
        increments: Whether steps y+ - y are the targets, rather than y+.
    """

    scaling: Scaling
    features: FeatureMap
    center: Array
    scale: Array
    target_scale: Array
    increments: bool

    @classmethod
    def fitted(
        cls, scaling: Scaling, features: FeatureMap, runs: Sequence[Run], increments: bool
    ) -> Lift:
        """Place features by the data; the map is fitted in place."""
        pairs = [_pairs(run, len(scaling.center), increments) for run in runs]
        E, Y = (np.concatenate(part) for part in zip(*pairs, strict=True))
        chosen = np.linspace(0, len(E) - 1, min(len(E), SAMPLE)).astype(int)
        features.fit(E[chosen], Y[chosen])
        return cls(scaling, features, E.mean(axis=0), spread(E), spread(Y), increments)

    @property
    def n_regressors(self) -> int:
        """Number of unknowns k per output."""
        return 1 + len(self.center) + self.features._n_features_out

    def sums(self, parts: Sequence[Sequence[Run]], basis: Array | None = None) -> list[Accumulator]:
        """Accumulate the snapshot pairs of each part by itself; the sums add up cheaply."""
        k, p = self.n_regressors, len(self.target_scale)
        n_pairs = sum(len(run.U) for runs in parts for run in runs)
        if basis is None:
            basis = self.basis([run for runs in parts for run in runs], n_pairs)
        workers = n_workers(float(n_pairs) * k * k)

        def add(sums: Accumulator, runs: Sequence[Run]) -> None:
            for run in runs:
                sums.add(*self.rows(*_pairs(run, p, self.increments)))

        whole = []
        for runs in parts:
            found = fold_in_parallel(
                chunks_of(runs, CHUNK), lambda: Accumulator(k, p, basis), add, workers
            )
            for other in found[1:]:
                found[0].absorb(other)
            whole.append(found[0].rest())
        return whole

    def rows(self, E: Array, Y: Array) -> tuple[Array, Array]:
        """Return regressors (T, k) and targets (T, p) of arguments (T, e) and plain targets."""
        Phi = np.empty((len(E), self.n_regressors))
        Phi[:, 0] = 1.0
        Phi[:, 1 : 1 + E.shape[1]] = (E - self.center) / self.scale
        Phi[:, 1 + E.shape[1] :] = self.features.values(E)
        return Phi, Y / self.target_scale

    def step_map(self, K: Array) -> StepMap:
        """Fold units and coefficients K, shape (k, p), into the map that is rolled out."""
        K = K * self.target_scale
        n_e = len(self.center)
        linear = K[1 : 1 + n_e] / self.scale[:, None]
        constant = K[0] - self.center @ linear
        if self.increments:
            linear[: len(constant)] += np.eye(len(constant))
        return StepMap(self.scaling, self.features, constant, linear, K[1 + n_e :].copy())

    def basis(self, runs: Sequence[Run], n_pairs: int) -> Array | None:
        """Whiten by evenly spaced snapshot pairs; few pairs need no whitening at all."""
        n_rows = ROWS_PER_COLUMN * self.n_regressors
        n_pairs = min(n_pairs, sum(len(run.U) for run in runs))  # those of a sample
        if n_pairs < 2 * n_rows:
            return None
        pairs = [_pairs(run, len(self.target_scale), self.increments) for run in runs]
        E, Y = (np.concatenate(part) for part in zip(*pairs, strict=True))
        Phi, _ = self.rows(*(a[np.linspace(0, n_pairs - 1, n_rows).astype(int)] for a in (E, Y)))
        return whitening(RFactor.of(Phi, Phi[:, :0]))


@dataclass(frozen=True)
class StepMap:
    """y+ = constant + e linear + features(e) nonlinear, with e = [x, u], all standardised.

    Args:
        scaling: Units and memory.
        features: Fitted feature map of e.
        constant: Shape (p,).
        linear: Shape (e, p).
        nonlinear: Shape (h, p).
    """

    scaling: Scaling
    features: FeatureMap
    constant: Array
    linear: Array
    nonlinear: Array

    def rolled_out(self, x0: Array, U: Array) -> Array:
        """Predict standardised outputs (S, H, p) from states (S, d) and inputs (S, H, m)."""
        Y = np.empty((*U.shape[:2], len(self.constant)))
        rows = max(1, BLOCK // max(1, len(self.nonlinear)))
        for start in range(0, len(x0), rows):  # blocks of starts, each as far as it goes
            block = slice(start, start + rows)
            self._roll(x0[block], U[block], Y[block])
        return Y

    def _roll(self, x: Array, U: Array, Y: Array) -> None:
        low, high = self.scaling.bounds
        for k in range(U.shape[1]):
            u = U[:, k]
            e = np.concatenate([x, u], axis=1) if u.shape[1] else x
            y = self.features.values(e) @ self.nonlinear
            y += e @ self.linear
            y += self.constant
            np.clip(y, low, high, out=y)
            Y[:, k] = y
            x = self.scaling.memory.advanced(x, u, y)


def _pairs(run: Run, n_outputs: int, increments: bool) -> tuple[Array, Array]:
    """Return arguments [x, u] of shape (T, e) and targets of shape (T, p)."""
    X = run.X[:-1]
    E = np.concatenate([X, run.U], axis=1) if run.U.shape[1] else X
    Y = run.X[1:, :n_outputs]
    return E, Y - X[:, :n_outputs] if increments else Y


# From exact data up to noise. At zero only directions at rounding level are dropped.
STRENGTHS = (0.0, *(10.0**k for k in range(-20, 2, 2)))


def in_time(lengths: Sequence[int], n_folds: int) -> list[list[Piece]]:
    """Cut data into folds in the order of time: runs as they are, or a part of every run.

    Args:
        lengths: Snapshot pairs of every run.
        n_folds: How many.

    Returns:
        At most `n_folds` folds; with at least as many runs as folds, whole runs.
    """
    n_runs = len(lengths)
    if n_runs >= n_folds:
        edges = np.linspace(0, n_runs, n_folds + 1).astype(int).tolist()
        return [[(i, 0, lengths[i]) for i in range(a, b)] for a, b in pairwise(edges)]
    folds: list[list[Piece]] = [[] for _ in range(n_folds)]
    for i, length in enumerate(lengths):
        edges = np.linspace(0, length, n_folds + 1).astype(int).tolist()
        for fold, (a, b) in zip(folds, pairwise(edges), strict=True):
            if b > a:
                fold.append((i, a, b))
    return [fold for fold in folds if fold]


class TimeFolds(Folds, Protocol):
    """Data by fold, in the order of time."""

    @property
    def further(self) -> list[Windows]:
        """Return more windows of the last fold, in a list; none without folds."""


class RollingOrigins:
    """Forecasts of every fold but the first by models that have seen only the folds before it.

    Args:
        lift: Features and units.
        sums: Of every fold, in the order of time.
        windows: What each fold is judged on.
    """

    def __init__(self, lift: Lift, sums: Sequence[Accumulator], windows: Sequence[Windows]) -> None:
        self.lift, self._sums, self._windows = lift, sums, windows

    @property
    def judges(self) -> bool:
        """Whether there is a fold to forecast."""
        return len(self._sums) > 1

    def total(self) -> Accumulator:
        """Return the sums over all data, ready for more; call it last."""
        whole = self._sums[0]
        for part in self._sums[1:]:
            whole.absorb(part)
        return whole

    def errors(self, regularization: float) -> Array:
        """Return standardised errors on windows of all folds but the first, (W, horizon, p)."""
        errors = []
        for solver, windows in zip(self._solvers, self._windows[1:], strict=True):
            errors.append(_errors(self.lift, solver.solve(regularization), windows))
        return np.concatenate(errors)

    def newest(self, regularization: float) -> StepMap:
        """Return the model that has seen all folds but the last."""
        return self.lift.step_map(self._solvers[-1].solve(regularization))

    @cached_property
    def _solvers(self) -> list[RidgeSolver]:
        """A solver per fold after the first, of the folds before it."""
        return [Accumulator.merged(self._sums[:i]).solver() for i in range(1, len(self._sums))]


def _errors(lift: Lift, K: Array, windows: Windows) -> Array:
    p = K.shape[1]
    predicted = lift.step_map(K).rolled_out(windows.x0, windows.U)
    return np.where(windows.valid[..., None], predicted - windows.X[..., :p], np.nan)
