"""Noisy measurements: smooth the data with the model's own dynamics, fit again, a few times.

Noise of a measured state stands in the regressors, so least squares underestimates what they do
(errors in variables). A smoother takes it out: the likeliest course of the states, given a model
and all measurements, is that of an extended Rauch-Tung-Striebel smoother, iterated (Bell, SIAM J.
Optim. 4, 1994). The model was fitted to noisy data, so it is not trusted at first: its process
noise starts at half the measurement noise and falls to a tenth, while smoothed data give better
models, and these smoother data. Where a model keeps missing more than that in one step on data left
out (it is too coarse for a sharp peak), it is trusted no further.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array
from koopman_control.features import Coordinates, spread
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.smoothing_loops import Linearized, filter_run, smooth_back
from koopman_control.identification.snapshots import Run, runs_of, split_into_folds
from koopman_control.identification.speeds import GAUSSIAN, speeds_in
from koopman_control.trajectories import Trajectory

PASSES = 6
SHARES = 0.03, 0.1, 0.2, 0.4, 0.8, 1.6  # likewise, tried for the filter that acts
FIRST_SHARE, LAST_SHARE = 0.5, 0.1  # of the measurement noise, as process noise, in a step
KNOWN = 1e-4  # factor on the process noise of states whose rows are known
FALL = 0.7  # from pass to pass
RELINEARIZED = 3, 1  # times, in the first pass and in later ones
EXACT = 1e-7  # in spreads of a state: least noise assumed
CHUNK = 2000  # states differentiated at once
GLITCH = 8.0  # standard deviations of second differences
EXPLAINED = 0.5  # of how far a sample stands out: a model that misses by less has seen it coming
LAGS = 10
CLEAN = 1e-6  # in spreads of a state: residuals that hold no noise worth smoothing
NOISY = 0.2, 1.5  # neighbouring residuals correlated below -a - b / sqrt(n) show noise
CLIPPED = 5.0  # standard deviations, where products are averaged
WHITE = 0.1  # largest autocorrelation of innovations that are called white


@dataclass(frozen=True)
class NoiseEstimate:
    """What a fit found out about the noise of its data.

    Args:
        measurement: Standard deviation of the noise of each present state, shape (p,), in its
            units; radians for angles.
        process: Standard deviation of what a step adds unforeseen, shape (p,), as assumed in the
            last pass.
        autocorrelation: Of the normalised innovations of the last pass, 1 ... 10 steps apart,
            shape (10, p): near zero where the noise was as assumed, independent from sample to
            sample.
        replaced: Share of measurements that were missing or stood out by themselves, and were
            filled by the smoother, shape (p,).
        passes: How often the data were smoothed and fitted again; 0 where no noise was found.
        acting: Standard deviations of measurements and of steps, shape (2, p), with which a filter
            foretells left-out measurements best; None where it is best to believe them as they are.
        derivatives: Which states are speeds of which others, as told or found; see `LeastSquares`.
    """

    measurement: Array
    process: Array
    autocorrelation: Array
    replaced: Array
    passes: int
    acting: Array | None = None
    derivatives: Mapping[int, int] = field(default_factory=dict)

    @property
    def white(self) -> bool:
        """Whether all autocorrelations of the innovations are below 0.1."""
        return bool((np.abs(self.autocorrelation) < WHITE).all())


class Fitted(Protocol):
    """A fit to data: its model, and the features chosen."""

    model: LiftedModel
    selection: Any


F = TypeVar("F", bound=Fitted)


@dataclass(frozen=True)
class Measured:
    """Data as the smoother reads them.

    Args:
        data: Trajectories whose gaps are filled.
        Y: Present states of each, NaN where nothing trustworthy was measured, shape (T + 1, p).
        present: Coordinates of the present states.
    """

    data: list[Trajectory]
    Y: list[Array]
    present: Coordinates

    @classmethod
    def of(
        cls,
        data: Sequence[Trajectory],
        coordinates: Coordinates,
        *,
        doubting: bool = True,
        missed: Sequence[Array] | None = None,
    ) -> Measured:
        """Read present states.

        Args:
            data: Trajectories, which may have gaps.
            coordinates: What a state is.
            doubting: Whether to drop single samples that stand out from both their neighbours.
            missed: One-step errors of a model, (T + 1, p) for each, which keeps those samples that
                it foretells, such as sharp peaks; None drops all.
        """
        present = replace(coordinates, memory=0, n_inputs=0)
        Y = [present.state(t.observations) for t in data]
        if doubting:
            Y = _without_glitches(Y, present, missed)
        filled = [
            written(t, _interpolated(y, present), present)
            if doubting or np.isnan(y).any() or np.isnan(t.observations).any()
            else t
            for t, y in zip(data, Y, strict=True)
        ]
        return cls(filled, Y, present)

    @property
    def replaced(self) -> Array:
        """Share of entries that are missing, shape (p,)."""
        return np.asarray(np.isnan(np.concatenate(self.Y)).mean(axis=0))


def written(trajectory: Trajectory, X: Array, present: Coordinates) -> Trajectory:
    """Put states (T + 1, p) into the observations of a trajectory, and leave no gap elsewhere."""
    Y = np.array(trajectory.observations)
    for i, column in enumerate(present.columns):
        if isinstance(column, tuple) and len(column) == 2:
            Y[:, column[0]], Y[:, column[1]] = np.cos(X[:, i]), np.sin(X[:, i])
        else:
            Y[:, np.min(column)] = X[:, i]
    for c in np.flatnonzero(np.isnan(Y).any(axis=0)):  # no state depends on these
        Y[:, c] = _line(Y[:, c])
    return replace(trajectory, observations=Y, missing=False)


def _line(column: Array) -> Array:
    """Fill the gaps of a column (T,) by straight lines; zero where there is nothing at all."""
    there = np.flatnonzero(~np.isnan(column))
    if not len(there):
        return np.zeros_like(column)
    return np.asarray(np.interp(np.arange(len(column)), there, column[there]))


def _interpolated(Y: Array, present: Coordinates) -> Array:
    """Fill the gaps of measured states (T + 1, p) by straight lines, the short way for angles."""
    X = np.array(Y)
    for column, turning in zip(X.T, present.is_angle, strict=True):
        there = ~np.isnan(column)
        if turning:
            column[there] = np.unwrap(column[there])
        column[:] = _line(column)
    return X


def _without_glitches(
    Y: Sequence[Array], present: Coordinates, missed: Sequence[Array] | None = None
) -> list[Array]:
    """Mark single samples as missing that stand out from the line between their neighbours.

    A jump that stays bends the course twice, before and after it, by as much; it is kept. So is
    what a model that has not seen it foretells.
    """
    bends = [np.zeros_like(y) for y in Y]
    for y, bend in zip(Y, bends, strict=True):
        steps = present.wrap(np.diff(y, axis=0))
        bend[1:-1] = np.abs(np.nan_to_num(0.5 * (steps[:-1] - steps[1:])))
    every = np.concatenate(bends)
    usual = GAUSSIAN * np.array([np.median(b[b > 0.0]) if b.any() else np.inf for b in every.T])
    out = []
    for i, (y, bend) in enumerate(zip(Y, bends, strict=True)):
        beside = np.zeros_like(bend)
        beside[:-1] = bend[1:]
        beside[1:] = np.maximum(beside[1:], bend[:-1])
        alone = (bend > GLITCH * usual) & (bend > 1.5 * beside)
        if missed is not None:
            alone &= ~(np.abs(missed[i]) < EXPLAINED * bend)
        out.append(np.where(alone, np.nan, y))
    return out


def smoothed_fit(
    first: F,
    data: Sequence[Trajectory],
    fit: Callable[..., F],
    noise_std: ArrayLike | None = None,
    *,
    derivatives: Mapping[int, int] = MappingProxyType({}),
    unless_clean: bool = False,
) -> tuple[F, list[Trajectory], NoiseEstimate]:
    """Smooth and fit again, `PASSES` times.

    Args:
        first: A fit to the data, their gaps filled; without glitches, unless `unless_clean`.
        data: The data.
        fit: Fits to trajectories, with changes of its settings given by name.
        noise_std: Standard deviation of the measurements, a number or one for each of p present
            states; None estimates it.
        derivatives: Which states are speeds of which others; found after the first pass where none
            are told. Nothing unforeseen moves a state that follows from its speed.
        unless_clean: Keep the first fit where its residuals show no noise.

    Returns:
        The last fit, the trajectories it was fitted to, and what was found out.
    """
    coordinates = first.model.coordinates
    given = None if noise_std is None else _given(noise_std, coordinates.n_outputs)
    if unless_clean:
        plain = Smoother(first.model, Measured.of(data, coordinates, doubting=False))
        whole = not plain.measured.replaced.any()
        if given is None and whole and not plain.noisy():
            nothing = np.zeros(plain.p)
            clean = NoiseEstimate(nothing, nothing, np.zeros((LAGS, plain.p)), nothing, 0)
            return first, list(data), clean
    measured = Measured.of(data, coordinates)
    turning = coordinates.is_angle[: coordinates.n_outputs]  # what is off the circle is no angle
    every = [np.tile(np.where(turning, np.nan, 0.0), (len(t) + 1, 1)) for t in data]
    all_there = Measured.of(data, coordinates, missed=every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the first fit has said them
        if (measured.replaced > all_there.replaced).any():
            seen = fit(all_there.data, rollout="relifted")  # judged by steps
            foretold = Smoother(seen.model, all_there).left_out_misses(seen)
            measured = Measured.of(data, coordinates, missed=foretold)
            first = fit(measured.data)
        features = [first.selection.choices[0].features]
        smoother = Smoother(first.model, measured)
        R, Q = smoother.first_guess(given)
        for number in range(PASSES):
            share = np.where(np.isin(np.arange(len(R)), list(derivatives)), KNOWN, 1.0)
            smoother.smooth(R, share * Q, RELINEARIZED[number > 0])
            used, found = smoother.trajectories(), smoother.estimate(R, Q, number + 1)
            if number == 0 and not derivatives:
                level = smoother.variance() if given is None else R
                derivatives = speeds_in(measured.Y, measured.present, level, used[0].dt)
            last = {} if number == PASSES - 1 else {"rollout": "relifted"}
            fitted = fit(used, features=features, derivatives=derivatives, **last)
            missed = np.concatenate(smoother.left_out_misses(fitted))
            smoother.model_is(fitted.model)
            if given is None:
                R = np.maximum(np.minimum(smoother.variance(), 4.0 * R), smoother.least)
            short = np.minimum(np.nanmean(missed**2, axis=0), smoother.spread**2)
            Q = np.maximum(np.maximum(FALL**2 * Q, LAST_SHARE**2 * R), short)
    acting = best_filter(fitted, smoother, R, share)
    known = replace(found, derivatives=derivatives)
    return fitted, used, replace(known, measurement=np.sqrt(R), acting=acting)


def best_filter(fitted: Fitted, smoother: Smoother, R: Array, known: Array) -> Array | None:
    """Choose the process noise of the filter that acts by innovations on left-out runs.

    Args:
        fitted: The last fit.
        smoother: With the states its data hold.
        R: Variances of the measurements, (p,).
        known: Factors on the process noise, (p,).

    Returns:
        Standard deviations of measurements and of steps, (2, p), or None if no filter foretells
        measurements better than the last measurement alone.
    """
    selection, wrap, runs = fitted.selection, smoother.measured.present.wrap, smoother.runs
    smoother.models_are(selection.trial.left_out(selection.strength))
    raw = []
    for run, Y in zip(runs, smoother.Y, strict=True):
        X = run.X.copy()
        there = ~np.isnan(Y[smoother.memory :])
        X[:, : smoother.p][there] = Y[smoother.memory :][there]
        raw.append(Run(X, run.U))
    seen = [Y[smoother.memory + 1 :] for Y in smoother.Y]
    least = _surprise(wrap(np.concatenate(seen) - smoother.advanced(raw)[:, : smoother.p]))
    best, start = None, step_noise(fitted.model, R)
    lines = smoother.linearized()
    for share in SHARES:
        Q = known * share**2 * R
        found = [smoother.smoothed(i, lines[i], start, R, Q)[2][1:] for i in range(len(runs))]
        surprise = _surprise(np.concatenate(found))
        if surprise < least:
            least, best = surprise, np.sqrt(np.stack([R, Q]))
    return best


def _surprise(E: Array) -> float:
    """Mean negative log-likelihood of innovations (T, p), but for constants; robust."""
    usual = _usual(E)
    squares = np.minimum((E / usual) ** 2, CLIPPED**2)
    return float(np.sum(np.log(usual) + 0.5 * np.log(np.nanmean(squares, axis=0))))


def as_logged(
    logged: Sequence[Trajectory], smoothed: Sequence[Trajectory], delay: int
) -> list[Trajectory]:
    """Put smoothed trajectories, their inputs shifted by a delay, back into those logged."""
    queue, out = iter(smoothed), []
    for trajectory in logged:
        if len(trajectory) > delay:
            Y = np.concatenate([trajectory.observations[:delay], next(queue).observations])
            Y = np.column_stack([_line(column) for column in Y.T])
            if not np.array_equal(Y, trajectory.observations):
                trajectory = replace(trajectory, observations=Y, missing=False)
        out.append(trajectory)
    return out


def _given(noise_std: ArrayLike, p: int) -> Array:
    """Expand a standard deviation to one for each present state, (p,)."""
    given = finite_array("noise_std", noise_std)
    if given.shape not in ((), (p,)) or not (given >= 0.0).all():
        raise ValueError(
            f"noise_std is {noise_std!r}; expected a standard deviation of at least 0, or one for "
            f"each of {p} states"
        )
    return np.asarray(np.broadcast_to(given, (p,)))


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
        self.Y = [y for t, y in zip(measured.data, measured.Y, strict=True) if len(t) > self.memory]
        self.edges = np.cumsum([0, *(len(run.U) for run in self.runs)])
        self.model_is(model)
        now = np.concatenate([run.X[:, : self.p] for run in self.runs])
        self.spread = np.where(measured.present.is_angle, 1.0, spread(now))
        self.least = (EXACT * self.spread) ** 2
        self.variances = [np.zeros_like(run.X) for run in self.runs]
        self.innovations: list[Array] = []

    def model_is(self, model: LiftedModel) -> None:
        """Go on with another model."""
        self.model, self.parts = model, [(model, np.arange(self.edges[-1]))]

    def models_are(self, left_out: Sequence[LiftedModel]) -> None:
        """Go on with several models, each on the fold that it has not seen."""
        rows = np.split(np.arange(self.edges[-1]), self.edges[1:-1])
        runs = [Run(np.append(own, own[-1] + 1)[:, None], own[:, None]) for own in rows]
        folds = split_into_folds(runs, len(left_out)) if len(left_out) > 1 else [runs]
        self.parts = [
            (model, np.concatenate([run.U[:, 0] for run in fold]))
            for model, fold in zip(left_out, folds, strict=True)
        ]

    def advanced(self, runs: Sequence[Run]) -> Array:
        """Advance all states of runs but the last ones by one step, (N, d)."""
        X, U = np.concatenate([run.X[:-1] for run in runs]), np.concatenate([r.U for r in runs])
        out = np.empty_like(X)
        for model, rows in self.parts:
            out[rows] = model.one_step.step(X[rows], U[rows])
        return out

    def left_out_misses(self, fitted: Fitted) -> list[Array]:
        """One-step errors of fits to other data, NaN where there are none, (T + 1, p) for each."""
        selection = fitted.selection
        self.models_are(selection.trial.left_out(selection.strength))
        follow, found = iter(np.split(self.advanced(self.runs), self.edges[1:-1])), []
        long, wrap = iter(self.runs), self.model.coordinates.wrap
        for t in self.measured.data:
            missed = np.full((len(t) + 1, self.p), np.nan)
            if len(t) > self.memory:
                steps = wrap(next(long).X[1:] - next(follow))[:, : self.p]
                missed[self.memory + 1 :] = steps
            found.append(missed)
        return found

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
        follow, out = np.split(self.advanced(self.runs), self.edges[1:-1]), []
        for run, Y, X_next in zip(self.runs, self.Y, follow, strict=True):
            miss = self.model.coordinates.wrap(run.X[1:] - X_next)[:, : self.p]
            there = ~np.isnan(Y[self.memory + 1 :] + Y[self.memory : -1])
            out.append(np.where(there, miss, np.nan))
        return out

    def noisy(self) -> bool:
        """Whether one-step residuals show measurement noise.

        Noise stands in two residuals in turn, with opposite signs, so that neighbours are
        correlated by -1/2; what a model gets wrong goes on, or is independent.
        """
        parts = self.residuals()
        size = _usual(np.concatenate(parts))
        parts = [
            np.clip(part / np.where(size > 0.0, size, 1.0), -CLIPPED, CLIPPED) for part in parts
        ]
        square = np.nanmean(np.concatenate(parts) ** 2, axis=0)
        products = [part[1:] * part[:-1] for part in parts if len(part) > 1]
        if not products:
            return False
        beside = np.nanmean(np.concatenate(products), axis=0) / np.where(square > 0.0, square, 1.0)
        n = sum(len(part) for part in parts)
        clearly = beside < -NOISY[0] - NOISY[1] / np.sqrt(n)
        return bool(((size > CLEAN * self.spread) & clearly).any())

    def first_guess(self, given: Array | None) -> tuple[Array, Array]:
        """Variances of measurements and of steps, (p,) each, from one-step residuals."""
        total = _usual(np.concatenate(self.residuals())) ** 2
        R = np.maximum(0.5 * total if given is None else given**2, self.least)
        return R, np.maximum(total - 2.0 * R, FIRST_SHARE**2 * R)

    def smooth(self, R: Array, Q: Array, rounds: int) -> None:
        """Replace the states of all runs by the likeliest; variances are of present states."""
        for _ in range(rounds):
            found = [
                self.smoothed(i, lines, self._start(self.runs[i], self.Y[i], R), R, Q)
                for i, lines in enumerate(self.linearized())
            ]
            self.runs = [Run(X, run.U) for (X, _, _), run in zip(found, self.runs, strict=True)]
        self.variances, self.innovations = [V for _, V, _ in found], [E for _, _, E in found]
        pairs = zip(self.runs, self.variances, strict=True)
        self.runs = [Run(self._at_limits(run.X, V), run.U) for run, V in pairs]

    def smoothed(
        self, i: int, lines: Linearized, start: Array, R: Array, Q: Array
    ) -> tuple[Array, Array, Array]:
        """Smooth run i.

        Args:
            i: The run.
            lines: What `linearized` says of it.
            start: Covariance of its first state before the first measurement, (d, d).
            R: Variances of the measurements, (p,).
            Q: Variances of steps, (p,).

        Returns:
            States (T + 1, d), their variances (T + 1, d), and innovations (T + 1, p).
        """
        X, Y = self.runs[i].X, np.ascontiguousarray(self.Y[i][self.memory :])
        noise = step_noise(self.model, Q), R
        return smooth_run(Y, lines, (X[0], start), noise, self.model.coordinates.is_angle)

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

    def variance(self) -> Array:
        """Variance of the measurements about the states, (p,)."""
        squares = [
            self.measured.present.wrap(Y[self.memory :] - run.X[:, : self.p]) ** 2 + V[:, : self.p]
            for Y, run, V in zip(self.Y, self.runs, self.variances, strict=True)
        ]
        return np.asarray(np.nanmean(np.concatenate(squares), axis=0))

    def estimate(self, R: Array, Q: Array, passes: int) -> NoiseEstimate:
        """Say what was found with variances R and Q, (p,) each."""
        replaced = self.measured.replaced
        return NoiseEstimate(np.sqrt(R), np.sqrt(Q), self.autocorrelation(), replaced, passes)

    def autocorrelation(self) -> Array:
        """Autocorrelation of the innovations, 1 ... LAGS steps apart, (LAGS, p)."""
        out = np.zeros((LAGS, self.p))
        usual = _usual(np.concatenate(self.innovations))
        parts = [np.clip(E / usual, -CLIPPED, CLIPPED) for E in self.innovations]
        size = np.nanmean(np.concatenate(parts) ** 2, axis=0)
        for k in range(1, LAGS + 1):
            products = [E[k:] * E[:-k] for E in parts if len(E) > k]
            if products:
                out[k - 1] = np.nanmean(np.concatenate(products), axis=0) / size
        return out

    def _start(self, run: Run, Y: Array, R: Array) -> Array:
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


def _usual(residuals: Array) -> Array:
    """Standard deviation (p,) of residuals (T, p), whatever a few of them do."""
    middle = np.nanmedian(residuals, axis=0)
    return np.asarray(GAUSSIAN * np.nanmedian(np.abs(residuals - middle), axis=0))


def smooth_run(
    Y: Array,
    linearized: Linearized,
    start: tuple[Array, Array],
    noise: tuple[Array, Array],
    turning: NDArray[np.bool_],
) -> tuple[Array, Array, Array]:
    """Smooth one run, compiled where numba is there; see `filter_run`.

    Returns:
        States (T + 1, d), their variances (T + 1, d), and innovations, NaN where there was no
        measurement, (T + 1, p).
    """
    forwards, back = filter_run, smooth_back
    if find_spec("numba") is not None:
        from koopman_control.identification import kernels

        forwards, back = kernels.compiled_filter_run, kernels.compiled_smooth_back
    filtered = forwards(Y, linearized, start, noise, turning)
    X, V = (np.empty((len(Y), len(turning))) for _ in range(2))
    back(linearized[2], filtered, X, V)
    return X, V, np.where(filtered[3] > 0.0, filtered[4], np.nan)
