"""Outer weights that make all measurements likely, each group of them as large as is evident.

One-step least squares on smoothed states takes them as exact. Here the innovations of the filter
along the smoothed course are linear in the weights, so that what they say over many steps counts:
a Gauss-Newton step on the likelihood (Ljung, System Identification, 1999, chapter 7). Few noisy
data leave many directions open. What holds them is a normal prior for every group of weights (one
state's rows of a feature map, alone or times an input), as wide as makes the data likeliest with
the weights integrated out (MacKay, Neural Computation 4, 1992).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap, FeatureUnion
from koopman_control.identification.regression import Regression
from koopman_control.identification.smoother import CLIPPED, Smoother, step_noise
from koopman_control.identification.smoothing_loops import JUMP, Linearized
from koopman_control.identification.snapshots import Run, at_limit, stacked

MOST_UNKNOWNS = 2500
MOST_WORK = 2e11  # multiplications of a step
ITERATIONS, SETTLED = 20, 0.2  # of the evidence; largest change of the logarithm of a precision
LOOSE, TIGHT = 1e-2, 1e7  # precisions at first, and from which on a group is left out
ROWS = 256  # steps whose derivatives are held at a time


@dataclass(frozen=True)
class Information:
    """What innovations b - E theta, whitened, say about weights theta (w,).

    Args:
        H: E' E, shape (w, w).
        c: E' b, shape (w,).
    """

    H: Array
    c: Array

    def __add__(self, other: Information) -> Information:
        """Put both together."""
        return Information(self.H + other.H, self.c + other.c)

    def without(self, other: Information) -> Information:
        """Leave a part out."""
        return Information(self.H - other.H, self.c - other.c)

    def solved(self, precision: Array) -> tuple[Array, Array]:
        """Likeliest weights (w,) under precisions (w,) of the prior, and their variances (w,).

        In units of the prior all eigenvalues are at least 1.
        """
        kept = np.flatnonzero(precision < TIGHT)
        theta, variance = np.zeros(len(self.c)), 1.0 / precision
        unit = 1.0 / np.sqrt(precision[kept])
        M = self.H[np.ix_(kept, kept)] * unit * unit[:, None]
        M[np.diag_indices(len(kept))] += 1.0
        try:
            factor = scipy.linalg.cho_factor(M, lower=True)
        except np.linalg.LinAlgError:  # rounding of E' E is above the prior
            values, V = np.linalg.eigh(M)
            least = max(1.0, len(values) * np.finfo(np.float64).eps * float(values[-1]))
            root = V / np.sqrt(np.maximum(values, least))
            theta[kept] = unit * (root @ (root.T @ (unit * self.c[kept])))
            variance[kept] = np.sum(root**2, axis=1) * unit**2
            return theta, variance
        theta[kept] = unit * scipy.linalg.cho_solve(factor, unit * self.c[kept])
        inverse, _ = scipy.linalg.lapack.dpotri(factor[0], lower=1)
        variance[kept] = np.diagonal(inverse) * unit**2
        return theta, variance

    @property
    def is_finite(self) -> bool:
        """Whether nothing has overflowed."""
        return bool(np.isfinite(self.H).all() and np.isfinite(self.c).all())


class FreeRows:
    """The weights that a likelihood may move: those of present states that are not known.

    Args:
        regression: What the weights belong to.
        K: Coefficients of a fit, shape (k, n).
    """

    def __init__(self, regression: Regression, K: Array) -> None:
        self.regression, self.K = regression, K
        signals = regression.design.signals
        p, moving = signals.coordinates.n_outputs, signals.coordinates.is_angle
        known = {row.state: row for row in regression.design.kinematics}
        self.states = [i for i in range(p) if i not in known]
        self._columns = regression.targets_of
        self.injected = np.zeros((len(moving), len(self.states)))  # into states, (d, f)
        for j, i in enumerate(self.states):
            self.injected[i, j] = self._unit(i)
        for i, row in known.items():
            self.injected[i, self.states.index(row.speed)] = row.share * self._unit(row.speed)
        if signals.coordinates.memory:  # the newest step is y+ - y
            self.injected[p : 2 * p] = self.injected[:p]
        self.shape = len(self.states), regression.n_regressors

    def _unit(self, state: int) -> float:
        """Size of a state in units of its lifted state."""
        signals = self.regression.design.signals
        turning = signals.coordinates.is_angle[state]
        return 1.0 if turning else float(signals.scale[self._columns[state] - 1])

    @property
    def theta(self) -> Array:
        """The weights, shape (f * k,)."""
        return self.K[:, [self._columns[i] for i in self.states]].T.ravel()

    def coefficients(self, theta: Array) -> Array:
        """Return coefficients (k, n) with these weights."""
        K, signals = self.K.copy(), self.regression.design.signals
        p = signals.coordinates.n_outputs
        for i, row in zip(self.states, theta.reshape(self.shape), strict=True):
            K[:, self._columns[i]] = row
            if signals.coordinates.memory:
                step = self._columns[p + i]
                K[:, step] = row * self._unit(i) / self._unit(p + i)
                K[0, step] -= signals.center[step - 1] / self._unit(p + i)
                K[step, step] -= 1.0
                if self.regression.design.targets == "states":
                    K[step, step] += 1.0
                    K[self._columns[i], step] -= self._unit(i) / self._unit(p + i)
        return K

    def groups(self) -> NDArray[np.int64]:
        """Number the groups of weights, shape (f * k,)."""
        regression = self.regression
        design, features = regression.design, regression.features
        parts: Sequence[FeatureMap] = (
            features.maps_ if isinstance(features, FeatureUnion) else [features]
        )
        sizes = [1, len(design.signals.center), *(part._n_features_out for part in parts)]
        block = np.repeat(np.arange(len(sizes)), sizes)
        q = len(design.input_scale)
        if design.coupling == "bilinear":
            row = np.concatenate([block + len(sizes) * i for i in range(q + 1)])
        else:
            row = np.concatenate([block, len(sizes) + np.arange(q)])
        each = np.concatenate([row + (row.max() + 1) * i for i in range(len(self.states))])
        return np.unique(each, return_inverse=True)[1]  # numbered without gaps

    def regressors(self, run: Run) -> Array:
        """Regressors of a run, (T, k)."""
        unlimited = np.stack([np.full(run.X.shape[1], end) for end in (-np.inf, np.inf)])
        return self.regression.rows(stacked([run], unlimited))[0]


def affordable(rows: FreeRows, smoother: Smoother) -> bool:
    """Whether a step is a matter of seconds."""
    unknowns = rows.shape[0] * rows.shape[1]
    work = float(smoother.edges[-1]) * smoother.p * unknowns**2
    return unknowns <= MOST_UNKNOWNS and work <= MOST_WORK


def information(
    rows: FreeRows, smoother: Smoother, R: Array, Q: Array, n_folds: int
) -> list[Information]:
    """What the measurements of each fold of steps say, linearised along the smoothed course.

    Args:
        rows: The weights.
        smoother: With the model of these weights.
        R: Variances of the measurements, (p,).
        Q: Variances of steps, (p,).
        n_folds: Number of folds, dealt as in cross-validation.
    """
    of_step = np.empty(smoother.edges[-1], dtype=np.int64)
    for number, steps in enumerate(smoother.folds(n_folds)):
        of_step[steps] = number
    w = rows.shape[0] * rows.shape[1]
    found = [Information(np.zeros((w, w)), np.zeros(w)) for _ in range(n_folds)]
    for i, lines in enumerate(smoother.linearized()):
        fold = of_step[smoother.edges[i] : smoother.edges[i + 1]]
        for number, b, E in _innovations(rows, smoother, i, lines, fold, R, Q):
            part = found[number]
            part.H[...] += E.T @ E
            part.c[...] += E.T @ b
    return found


def _innovations(
    rows: FreeRows,
    smoother: Smoother,
    i: int,
    lines: Linearized,
    fold: NDArray[np.int64],
    R: Array,
    Q: Array,
) -> Iterator[tuple[int, Array, Array]]:
    """Yield fold, whitened innovations b (r,) and derivatives E (r, w), some steps at a time."""
    a, f, F = lines
    run, Y, p = smoother.runs[i], smoother.Y[i][smoother.memory :], smoother.p
    wrap, theta = smoother.model.coordinates.wrap, rows.theta
    Phi, limits = rows.regressors(run), smoother.model.limits
    free = np.asarray(~at_limit(f, limits))
    stopped = np.asarray(at_limit(run.X[1:], limits).any(axis=1))
    d, w = F.shape[1], len(theta)
    noise = step_noise(smoother.model, Q)
    x, P, S = run.X[0].copy(), smoother.start(run, smoother.Y[i], R), np.zeros((d, w))
    held: list[tuple[Array, Array]] = []
    for t in range(len(Y)):
        if t:
            x = f[t - 1] + F[t - 1] @ wrap(x - a[t - 1])
            P = F[t - 1] @ P @ F[t - 1].T + noise
            S = F[t - 1] @ S
            pushed = rows.injected * free[t - 1][:, None]
            S += (pushed[:, :, None] * Phi[t - 1]).reshape(d, w)
        there = np.flatnonzero(~np.isnan(Y[t]))
        if len(there):
            miss = wrap(np.concatenate([Y[t] - x[:p], np.zeros(d - p)]))[there]
            L = _root(P, there, R)
            white = scipy.linalg.solve_triangular(L, miss, lower=True)
            if np.mean(white**2) > JUMP:  # the plant did what no model says
                P = 0.25 * np.mean(white**2) * P
                L = _root(P, there, R)
                white = scipy.linalg.solve_triangular(L, miss, lower=True)
            E = scipy.linalg.solve_triangular(L, S[there], lower=True)
            half = scipy.linalg.solve_triangular(L, P[there], lower=True)
            gain = scipy.linalg.solve_triangular(L, half, lower=True, trans="T").T
            if t and not stopped[t - 1]:
                trust = np.minimum(1.0, CLIPPED / np.maximum(np.abs(white), CLIPPED))
                held.append((trust * (white + E @ theta), trust[:, None] * E))
            x, S = x + half.T @ white, S - half.T @ E
            left = np.eye(d)
            left[:, there] -= gain
            P = left @ P @ left.T + (gain * R[there]) @ gain.T  # stays positive definite
            P = 0.5 * (P + P.T)
        last = t == len(Y) - 1
        if held and (last or len(held) >= ROWS or fold[t] != fold[max(t - 1, 0)]):
            b, E = (np.concatenate(part) for part in zip(*held, strict=True))
            yield int(fold[t - 1]), b, E
            held = []


def _root(P: Array, there: NDArray[np.int64], R: Array) -> Array:
    """Root of the covariance of innovations of what is there."""
    return np.asarray(np.linalg.cholesky(P[np.ix_(there, there)] + np.diag(R[there])))


def precisions(found: Information, groups: NDArray[np.int64], first: Array | None = None) -> Array:
    """Precisions (w,) of the prior of each group that are the most evident.

    Args:
        found: What the data say.
        groups: Number of the group of each weight, shape (w,).
        first: Where to start, (w,).
    """
    size = np.bincount(groups).astype(np.float64)
    if first is None:
        each = np.full(len(size), LOOSE)
    else:
        each = np.bincount(groups, first) / np.maximum(size, 1.0)
    for _ in range(ITERATIONS):
        theta, variance = found.solved(each[groups])
        known = np.maximum(size - each * np.bincount(groups, variance), 1e-9)
        likelier = known / np.maximum(np.bincount(groups, theta**2), np.finfo(float).tiny)
        likelier = np.where(each < TIGHT, np.clip(likelier, 1e-4, TIGHT), TIGHT)
        change = np.abs(np.log(likelier / each)).max()
        each = likelier
        if change < SETTLED:
            break
    return np.asarray(each[groups])
