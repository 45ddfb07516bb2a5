"""The smoother: the likeliest courses of the states through data, given a model.

An extended Rauch-Tung-Striebel smoother, iterated (Bell, SIAM J. Optim. 4, 1994).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import spread
from koopman_control.identification.measured import GLITCH, Measured, written
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.smoothing_loops import (
    Forces,
    Linearized,
    filter_run,
    smooth_back,
)
from koopman_control.identification.snapshots import Run, at_limit, runs_of, split_into_folds
from koopman_control.identification.speeds import GAUSSIAN
from koopman_control.trajectories import Trajectory

EXACT = 1e-7  # in spreads of a state: least noise assumed
CHUNK = 2000  # states differentiated at once
LAGS = 10
FEWEST = 2  # glitches that may be chance
CLEAN = 1e-6  # in spreads of a state: residuals that hold no noise worth smoothing
SHARES = 0.01, 0.5  # of the variance of residuals, as noise of a measurement
NOISY = 0.2, 1.5  # neighbouring residuals correlated below -a - b / sqrt(n) show noise
CLIPPED = 5.0  # standard deviations, where products are averaged


class Smoother:
    """The likeliest courses of the states through data.

    Args:
        model: A model of the data.
        measured: The data.
    """

    def __init__(self, model: LiftedModel, measured: Measured) -> None:
        self.measured = measured
        self.memory, self.p = model.coordinates.memory, model.coordinates.n_outputs
        self.runs = runs_of(measured.data, model.coordinates)
        self.Y = self.long(measured.Y)
        self.edges = np.cumsum([0, *(len(run.U) for run in self.runs)])
        self.model_is(model)
        now = np.concatenate([run.X[:, : self.p] for run in self.runs])
        self.spread = np.where(measured.present.is_angle, 1.0, spread(now))
        self.least = (EXACT * self.spread) ** 2
        self.variances = [np.zeros_like(run.X) for run in self.runs]
        self.innovations: list[Array] = []

    def long(self, Y: Sequence[Array]) -> list[Array]:
        """Leave out the states of trajectories that are no longer than the memory."""
        return [y for t, y in zip(self.measured.data, Y, strict=True) if len(t) > self.memory]

    def model_is(self, model: LiftedModel) -> None:
        """Go on with another model."""
        self.model, self.parts = model, [(model, np.arange(self.edges[-1]))]

    def models_are(self, left_out: Sequence[LiftedModel]) -> None:
        """Go on with several models, each on the fold that it has not seen."""
        self.parts = list(zip(left_out, self.folds(len(left_out)), strict=True))

    def folds(self, n: int) -> list[NDArray[np.int64]]:
        """Deal the steps of all runs, numbered through, into n folds as cross-validation does."""
        rows = np.split(np.arange(self.edges[-1]), self.edges[1:-1])
        runs = [Run(np.append(own, own[-1] + 1)[:, None], own[:, None]) for own in rows]
        folds = split_into_folds(runs, n) if n > 1 else [runs]
        return [np.concatenate([run.U[:, 0] for run in fold]) for fold in folds]

    def advanced(self, runs: Sequence[Run]) -> Array:
        """Advance all states of runs but the last ones by one step, (N, d)."""
        X, U = np.concatenate([run.X[:-1] for run in runs]), np.concatenate([r.U for r in runs])
        out = np.empty_like(X)
        for model, rows in self.parts:
            out[rows] = model.one_step.step(X[rows], U[rows])
        return out

    def left_out_misses(self, left_out: Sequence[LiftedModel]) -> list[Array]:
        """One-step errors of fits to other data, (T + 1, p) for each.

        NaN where there are none, and where the plant is stopped at a limit.
        """
        self.models_are(left_out)
        off, found = iter(self._steps_off()), []
        for t in self.measured.data:
            missed = np.full((len(t) + 1, self.p), np.nan)
            if len(t) > self.memory:
                run, miss = next(off)
                stopped = at_limit(run.X[1:], self.model.limits).any(axis=1, keepdims=True)
                missed[self.memory + 1 :] = np.where(stopped, np.nan, miss)
            found.append(missed)
        return found

    def _steps_off(self) -> list[tuple[Run, Array]]:
        """One-step errors of the present states beside their run, (T, p) for each."""
        follow, wrap = (
            np.split(self.advanced(self.runs), self.edges[1:-1]),
            self.model.coordinates.wrap,
        )
        pairs = zip(self.runs, follow, strict=True)
        return [(run, wrap(run.X[1:] - X_next)[:, : self.p]) for run, X_next in pairs]

    def linearized(self) -> list[Linearized]:
        """Return states, what follows them, and the Jacobians there, of each run."""
        a, U = (np.concatenate(p) for p in zip(*((r.X[:-1], r.U) for r in self.runs), strict=True))
        f, F = np.empty_like(a), np.empty((*a.shape, a.shape[1]))
        for model, rows in self.parts:
            for begin in range(0, len(rows), CHUNK):
                piece = rows[begin : begin + CHUNK]
                f[piece] = model.one_step.step(a[piece], U[piece])
                F[piece] = model.one_step.jacobians(a[piece], U[piece])[0]
        return [(a[i:j], f[i:j], F[i:j]) for i, j in pairwise(self.edges.tolist())]

    def residuals(self) -> list[Array]:
        """One-step residuals of the present states of each run, NaN beside gaps, (T, p)."""
        out = []
        for (_, miss), Y in zip(self._steps_off(), self.Y, strict=True):
            there = ~np.isnan(Y[self.memory + 1 :] + Y[self.memory : -1])
            out.append(np.where(there, miss, np.nan))
        return out

    def noisy(self) -> bool:
        """Whether one-step residuals show measurement noise.

        Noise stands in two residuals in turn, with opposite signs, so that neighbours are
        correlated by -1/2; what a model gets wrong goes on, or is independent.
        """
        total, beside = self._beside()
        clearly = beside < -NOISY[0] - NOISY[1] / np.sqrt(self.edges[-1])
        return bool(((np.sqrt(total) > CLEAN * self.spread) & clearly).any())

    def spoilt(self, doubted: Sequence[Array]) -> bool:
        """Whether samples that stand out from their neighbours are errors of a sensor.

        The step to such a sample is off, and the next one, from it, is off the other way; after a
        jump of the plant, the next step is as foretold.

        Args:
            doubted: Present states of each run, NaN where they stand out, (T + 1, p).
        """
        parts = self.residuals()
        size, found, count = usual(np.concatenate(parts)), 0, 0
        for residual, Y, doubt in zip(parts, self.Y, doubted, strict=True):
            off = np.isnan(doubt[self.memory + 1 : -1]) & ~np.isnan(Y[self.memory + 1 : -1])
            into, out = residual[:-1], residual[1:]
            far = np.minimum(np.abs(into), np.abs(out)) > GLITCH * size
            found += int((off & far & (into * out < 0.0)).sum())
            count += int(off.sum())
        return found > max(FEWEST, 0.5 * count)

    def _beside(self) -> tuple[Array, Array]:
        """Variances of one-step residuals, and how neighbours are correlated, (p,) each."""
        parts = self.residuals()
        size = usual(np.concatenate(parts))
        parts = [
            np.clip(part / np.where(size > 0.0, size, 1.0), -CLIPPED, CLIPPED) for part in parts
        ]
        square = np.nanmean(np.concatenate(parts) ** 2, axis=0)
        products = [part[1:] * part[:-1] for part in parts if len(part) > 1]
        if not products:
            return size**2, np.zeros(self.p)
        beside = np.nanmean(np.concatenate(products), axis=0) / np.where(square > 0.0, square, 1.0)
        return size**2, beside

    def first_guess(self, given: Array | None) -> tuple[Array, Array]:
        """Variances of measurements and of steps, (p,) each, from one-step residuals.

        Noise of a measurement stands in two residuals in turn with opposite signs, so minus their
        covariance is its variance; the rest of their variance is that of steps.
        """
        total, beside = self._beside()
        R = np.clip(-beside, SHARES[0], SHARES[1]) * total if given is None else given**2
        R = np.maximum(R, self.least)
        return R, np.maximum(total - 2.0 * R, SHARES[0] * R)

    def smooth(
        self, R: Array, Q: Array, rounds: int, *, least: Array, fixed: bool = False
    ) -> tuple[Array, Array]:
        """Replace the states of all runs by the likeliest, and variances by likelier ones.

        Args:
            R: Variances of the measurements, (p,).
            Q: Variances of steps, (p,).
            rounds: How often.
            least: Least variance of a step, (p,).
            fixed: Whether R is known.

        Returns:
            R and Q as they are found.
        """
        for _ in range(rounds):
            found = self.passed(self.linearized(), R, Q)
            self.runs = [Run(one.X, run.U) for one, run in zip(found, self.runs, strict=True)]
            self.variances = [one.V for one in found]
            self.innovations = [one.innovations for one in found]
            R, Q = self.likelier(found, R, Q, least=least, fixed=fixed)
        pairs = zip(self.runs, self.variances, strict=True)
        self.runs = [Run(self._at_limits(run.X, V), run.U) for run, V in pairs]
        return R, Q

    def passed(self, lines: Sequence[Linearized], R: Array, Q: Array) -> list[Smoothed]:
        """Smooth all runs by what `linearized` says of them."""
        noise, turning = (step_noise(self.model, Q), R), self.model.coordinates.is_angle
        out = []
        for run, Y, line in zip(self.runs, self.Y, lines, strict=True):
            start = run.X[0], self.start(run, Y, R)
            measured = np.ascontiguousarray(Y[self.memory :])
            out.append(smooth_run(measured, line, start, noise, turning))
        return out

    def likelier(
        self, found: Sequence[Smoothed], R: Array, Q: Array, *, least: Array, fixed: bool
    ) -> tuple[Array, Array]:
        """Variances that make the measurements likelier, (p,) each.

        The likelihood is stationary where forces are as large as is to be expected; so variances
        are multiplied by the ratio of the squares.
        """
        pulls, drives = (
            _ratio([one.forces[i] for one in found], [one.forces[i + 1] for one in found])
            for i in (0, 2)
        )
        if not fixed:
            R = np.maximum(R * pulls, self.least)
        return R, np.maximum(Q * drives, least)

    def trajectories(self) -> list[Trajectory]:
        """Return the data with the states found in the observations."""
        states = iter(self.runs)
        out = []
        for t in self.measured.data:
            if len(t) <= self.memory:
                out.append(t)
                continue
            X = next(states).X
            now, first = X[:, : self.p], X[0]
            for k in range(self.memory):
                step = first[self.p * (k + 1) : self.p * (k + 2)]
                now = np.vstack([now[0] - step, now])
            out.append(written(t, now, self.measured.present))
        return out

    def autocorrelation(self) -> Array:
        """Autocorrelation of the innovations, 1 ... LAGS steps apart, (LAGS, p)."""
        out = np.zeros((LAGS, self.p))
        size = usual(np.concatenate(self.innovations))
        parts = [np.clip(E / size, -CLIPPED, CLIPPED) for E in self.innovations]
        square = np.nanmean(np.concatenate(parts) ** 2, axis=0)
        for k in range(1, LAGS + 1):
            products = [E[k:] * E[:-k] for E in parts if len(E) > k]
            if products:
                out[k - 1] = np.nanmean(np.concatenate(products), axis=0) / square
        return out

    def start(self, run: Run, Y: Array, R: Array) -> Array:
        """Covariance of the first state: nothing known of the present, its past as measured."""
        past = [self.spread**2]
        for k in range(1, self.memory + 1):
            past.append(np.where(np.isnan(Y[self.memory - k]), self.spread**2, R))
        d, p = self.model.n_states, self.p
        M = np.zeros((d, p * len(past)))
        M[:p, :p] = np.eye(p)
        for k in range(1, len(past)):
            M[p * k : p * (k + 1), p * (k - 1) : p * k] = np.eye(p)
            M[p * k : p * (k + 1), p * k : p * (k + 1)] = -np.eye(p)
        return np.asarray((M * np.concatenate(past)) @ M.T)

    def _at_limits(self, X: Array, V: Array) -> Array:
        """Put states on limits that they exceed, or that stop them and are within the noise."""
        low, high = self.model.limits
        snap = np.where(self.model.signals.saturating, 2.0 * np.sqrt(V), 0.0)
        X = np.where(X >= high - snap, high, X)
        return np.where(X <= low + snap, low, X)


def step_noise(model: LiftedModel, Q: Array) -> Array:
    """Covariance of a step (d, d) from variances (p,): what moves a state moves its step, too."""
    p = model.coordinates.n_outputs
    G = np.eye(model.n_states, p)
    if model.coordinates.memory:
        G[p : 2 * p] = np.eye(p)
    return np.asarray((G * Q) @ G.T)


def usual(residuals: Array) -> Array:
    """Standard deviation (p,) of residuals (T, p), whatever a few of them do."""
    middle = np.nanmedian(residuals, axis=0)
    return np.asarray(GAUSSIAN * np.nanmedian(np.abs(residuals - middle), axis=0))


@dataclass(frozen=True)
class Smoothed:
    """A run smoothed.

    Args:
        X: States, shape (T + 1, d).
        V: Their variances, likewise.
        innovations: NaN where there was no measurement, shape (T + 1, p).
        sizes: Their variances, zero where there was none, shape (T + 1, p).
        forces: Of measurements and steps, see `smooth_back`.
    """

    X: Array
    V: Array
    innovations: Array
    sizes: Array
    forces: Forces


def smooth_run(
    Y: Array,
    linearized: Linearized,
    start: tuple[Array, Array],
    noise: tuple[Array, Array],
    turning: NDArray[np.bool_],
) -> Smoothed:
    """Smooth one run, compiled where numba is there; see `filter_run`."""
    forwards, back = filter_run, smooth_back
    if find_spec("numba") is not None:
        from koopman_control.identification import kernels

        forwards, back = kernels.compiled_filter_run, kernels.compiled_smooth_back
    filtered = forwards(Y, linearized, start, noise, turning)
    X, V = (np.empty((len(Y), len(turning))) for _ in range(2))
    pulls, expected_pulls, drives, expected_drives = (np.zeros(Y.shape) for _ in range(4))
    forces = pulls, expected_pulls, drives, expected_drives
    back(linearized[2], filtered, X, V, forces)
    drives[0], expected_drives[0] = 0.0, 0.0  # nothing led to the first state
    return Smoothed(X, V, np.where(filtered[3] > 0.0, filtered[4], np.nan), filtered[3], forces)


def _ratio(forces: Sequence[Array], expected: Sequence[Array]) -> Array:
    """Ratio (p,) of the squares of forces to their variances, whatever a few of them do."""
    f, v = np.concatenate(forces), np.concatenate(expected)
    total = v.sum(axis=0)
    squares = np.minimum(f**2, CLIPPED**2 * v).sum(axis=0)
    return np.asarray(np.where(total > 0.0, squares / np.where(total > 0.0, total, 1.0), 1.0))
