"""Functions of a vector learned by one least-squares solve: a quadratic beside sampled features.

Reward, end of episode, value and how little is known of a place are all of this form, so that one
compiled loop evaluates any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures, spread
from koopman_control.identification.least_squares import RFactor

RIDGES = (1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2)
FOLDS = 5
STRETCHES = 50  # that data are dealt into folds by; neighbours in time are too alike
MOST_QUADRATIC = 30  # inputs of a quadratic; above, only squares
FLAT = 1e-12  # relative variance of what does not vary


@dataclass(frozen=True, eq=False)
class Surface:
    """Functions constant + linear z + z' quadratic z + K tanh(W z + b), clipped; r of them.

    Args:
        W: Shape (n, z).
        b: Shape (n,).
        K: Shape (r, n).
        linear: Shape (r, z).
        quadratic: Upper triangular, shape (r, z, z).
        constant: Shape (r,).
        low: Lowest values, shape (r,).
        high: Highest values, shape (r,).
        r2: Left-out share of the variance explained, at most 1, shape (r,).
    """

    W: Array
    b: Array
    K: Array
    linear: Array
    quadratic: Array
    constant: Array
    low: Array
    high: Array
    r2: Array

    def __call__(self, Z: Array) -> Array:
        """Evaluate at points (..., z); returns shape (..., r)."""
        out = self.constant + Z @ self.linear.T + np.tanh(Z @ self.W.T + self.b) @ self.K.T
        for r, P in enumerate(self.quadratic):
            if P.any():
                out[..., r] += np.einsum("...i,ij,...j->...", Z, P, Z, optimize=True)
        return np.asarray(np.clip(out, self.low, self.high))

    def gradient(self, Z: Array) -> Array:
        """Differentiate, without clipping, at points (..., z); returns shape (..., r, z)."""
        slope = 1.0 - np.tanh(Z @ self.W.T + self.b) ** 2
        out = np.einsum("rn,...n,nz->...rz", self.K, slope, self.W, optimize=True) + self.linear
        both = self.quadratic + np.swapaxes(self.quadratic, 1, 2)
        return np.asarray(out + np.einsum("rij,...j->...ri", both, Z, optimize=True))

    def curvature(self, Z: Array) -> Array:
        """Differentiate twice, without clipping, at points (..., z); shape (..., r, z, z)."""
        both = self.quadratic + np.swapaxes(self.quadratic, 1, 2)
        if not len(self.b):
            return np.broadcast_to(both, (*Z.shape[:-1], *both.shape))
        t = np.tanh(Z @ self.W.T + self.b)
        bend = self.K * (-2.0 * t * (1.0 - t**2))[..., None, :]
        out = np.einsum("...rn,ni,nj->...rij", bend, self.W, self.W, optimize=True)
        return np.asarray(out + both)

    def beside(self, other: Surface) -> Surface:
        """Put the functions of another surface of the same inputs after these."""
        zeros = np.zeros((len(self.K), len(other.b))), np.zeros((len(other.K), len(self.b)))
        parts = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("W", "b", "linear", "quadratic", "constant", "low", "high", "r2")
        }
        return Surface(K=np.block([[self.K, zeros[0]], [zeros[1], other.K]]), **parts)

    def times(self, factor: float) -> Surface:
        """Multiply all functions by a factor above 0."""
        names = ("K", "linear", "quadratic", "constant", "low", "high")
        return replace(self, **{name: factor * getattr(self, name) for name in names})

    def of_more(self, n_inputs: int) -> Surface:
        """Return the same functions of so many inputs, of which those added make no difference."""
        more = n_inputs - self.linear.shape[1]
        return replace(
            self,
            W=np.pad(self.W, ((0, 0), (0, more))),
            linear=np.pad(self.linear, ((0, 0), (0, more))),
            quadratic=np.pad(self.quadratic, ((0, 0), (0, more), (0, more))),
        )

    def joined(self, share: float) -> Surface:
        """Return the first function with a share of the second, and the first alone, unclipped."""
        mix = np.array([[1.0, share], [1.0, 0.0]])
        names = ("K", "linear", "quadratic", "constant")
        mixed = {name: np.tensordot(mix, getattr(self, name), 1) for name in names}
        free = np.full(2, np.inf)
        return replace(self, low=-free, high=free, **mixed)


def constant_surface(n_inputs: int, values: Sequence[float]) -> Surface:
    """Return functions of `n_inputs` inputs that are constant."""
    v, r = np.array(values, dtype=np.float64), len(values)
    zero = np.zeros((r, n_inputs))
    return Surface(
        W=np.zeros((0, n_inputs)),
        b=np.zeros(0),
        K=np.zeros((r, 0)),
        linear=zero,
        quadratic=np.zeros((r, n_inputs, n_inputs)),
        constant=v,
        low=v,
        high=v,
        r2=np.ones(r),
    )


class Basis:
    """The regressors of a surface: 1, standardised inputs, their products, neurons.

    Args:
        Z: Points that the scale and the neurons are drawn from, shape (T, z).
        y: What the neurons are placed for, shape (T, q).
        features: The neurons, unfitted; None: none.
        pairs: Whether products of inputs are among them; of many inputs, only squares are.
        beside: Inputs whose products with all others are among them even then.
    """

    def __init__(
        self,
        Z: Array,
        y: Array | None,
        features: SampledFeatures | None,
        pairs: bool = True,
        beside: ArrayLike = (),
    ) -> None:
        self.center, self.scale = Z.mean(axis=0), spread(Z)
        z = Z.shape[1]
        still = self.scale == 1.0
        still &= np.ptp(Z, axis=0) == 0.0
        self.W, self.b = np.zeros((0, z)), np.zeros(0)
        if features is not None and not still.all():
            fitted = features.fit(Z, y)
            self.W, self.b = np.array(fitted.weights_), np.array(fitted.biases_)
        i, j = np.triu_indices(z)
        if z > MOST_QUADRATIC:
            among = (i == j) | np.isin(i, beside) | np.isin(j, beside)
            i, j = i[among], j[among]
        if not pairs:
            i = j = np.arange(0)
        moving = ~(still[i] | still[j])
        self.first, self.second = i[moving], j[moving]

    def __call__(self, Z: Array) -> Array:
        """Evaluate the regressors at points (T, z)."""
        s = (Z - self.center) / self.scale
        products = s[:, self.first] * s[:, self.second]
        return np.hstack([np.ones((len(Z), 1)), s, products, np.tanh(Z @ self.W.T + self.b)])

    def surface(self, K: Array, low: Array, high: Array, r2: Array) -> Surface:
        """Return the surface with coefficients K (k, r) of the regressors."""
        z, (r,) = len(self.center), np.shape(low)
        n2 = len(self.first)
        of_s, of_products = K[1 : 1 + z].T, K[1 + z : 1 + z + n2].T
        P = np.zeros((r, z, z))
        P[:, self.first, self.second] = of_products / (
            self.scale[self.first] * self.scale[self.second]
        )
        both = P + np.swapaxes(P, 1, 2)
        linear = of_s / self.scale - both @ self.center
        constant = K[0] - of_s @ (self.center / self.scale)
        constant = constant + np.einsum("i,rij,j->r", self.center, P, self.center)
        return Surface(
            W=self.W,
            b=self.b,
            K=np.ascontiguousarray(K[1 + z + n2 :].T),
            linear=linear,
            quadratic=P,
            constant=constant,
            low=low,
            high=high,
            r2=r2,
        )


def folds_of(n: int) -> Array:
    """Deal n rows, in stretches, into folds; returns the fold of each."""
    stretch = np.arange(n) * min(STRETCHES, max(n // 4, 1)) // max(n, 1)
    return np.asarray(stretch % FOLDS)


def cross_validated(Phi: Array, Y: Array, fold: Array) -> tuple[Array, Array]:
    """Solve least squares with the ridge whose left-out error is least.

    Args:
        Phi: Regressors, shape (T, k).
        Y: Targets, shape (T, r).
        fold: Of each row, shape (T,).

    Returns:
        Coefficients (k, r), and left-out mean squares of the residuals, shape (r,).
    """
    parts = [RFactor.of(Phi[fold == i], Y[fold == i]) for i in np.unique(fold)]
    errors = np.zeros((len(RIDGES), Y.shape[1]))
    for i, own in enumerate(np.unique(fold)):
        others = parts[:i] + parts[i + 1 :]
        solver = RFactor.merged(others or parts).solver()
        for a, ridge in enumerate(RIDGES):
            off = Phi[fold == own] @ solver.solve(ridge) - Y[fold == own]
            errors[a] += (off**2).sum(axis=0) / len(Y)
    best = errors.argmin(axis=0)
    strength = np.array(RIDGES)[best]
    return RFactor.merged(parts).solver().solve(strength), errors.min(axis=0)


def fitted_surface(
    Z: Array,
    Y: Array,
    candidates: Sequence[SampledFeatures | None],
    pairs: bool = True,
    weight: Array | None = None,
    beside: ArrayLike = (),
) -> Surface:
    """Fit functions to values, by weighted least squares; the best of the candidates is kept.

    Args:
        Z: Points, shape (T, z).
        Y: Values, shape (T, r).
        candidates: Features to choose from by the left-out error; None: only a quadratic.
        pairs: Whether products of inputs are among the regressors; of many inputs, only squares.
        weight: Of each point, shape (T,); None: all count alike.
        beside: Inputs whose products with all others are among them even then.
    """
    fold, best = folds_of(len(Z)), None
    root, variance = _weighing(Y, weight)
    for features in candidates:
        basis = Basis(Z, Y, features, pairs, beside)
        Phi = basis(Z)
        if Phi.shape[1] > len(Z) and best is not None:
            continue
        K, errors = cross_validated(root * Phi, root * Y, fold)
        score = float((errors / variance).mean())
        if best is None or score < best[0]:
            best = score, basis, K, errors
    assert best is not None
    _, basis, K, errors = best
    return basis.surface(K, Y.min(axis=0), Y.max(axis=0), 1.0 - errors / variance)


def fitted_sum(
    Z: Array,
    E: Array,
    y: Array,
    candidates: Sequence[SampledFeatures | None],
    weight: Array | None = None,
    beside: ArrayLike = (),
) -> Surface | None:
    """Fit a sum of two functions, one of them at other points, as `fitted_surface` fits one.

    Args:
        Z: Points of the first function, shape (T, z).
        E: Those of the second, which sees the first e inputs only, shape (T, e).
        y: Values of the sum, shape (T, 1).
        candidates: Features to choose from, each for both functions.
        weight: Of each value, shape (T,); None: all count alike.
        beside: Inputs whose products with all others are among the regressors in any case.

    Returns:
        Both functions; None if there are too few points.
    """
    fold, best = folds_of(len(Z)), None
    root, variance = _weighing(y, weight)
    for features in candidates:
        bases = Basis(Z, y, features, True, beside), Basis(E, y, features, True, beside)
        parts = bases[0](Z), bases[1](E)[:, 1:]  # one constant is enough
        Phi = np.hstack(parts)
        if Phi.shape[1] > len(Z):
            continue
        K, errors = cross_validated(root * Phi, root * y, fold)
        score = float(errors[0] / variance[0])
        if best is None or score < best[0]:
            best = score, bases, parts, K
    if best is None:
        return None
    score, bases, parts, K = best
    n, r2 = parts[0].shape[1], np.array([1.0 - score])
    first, second = parts[0] @ K[:n], parts[1] @ K[n:]
    own = bases[0].surface(K[:n], first.min(axis=0), first.max(axis=0), r2)
    less = np.concatenate([np.zeros((1, 1)), K[n:]])
    other = bases[1].surface(less, second.min(axis=0), second.max(axis=0), r2)
    return own.beside(other.of_more(Z.shape[1]))


def _weighing(Y: Array, weight: Array | None) -> tuple[Array, Array]:
    """Return roots of the weights (T, 1), and weighted variances (r,) of values (T, r)."""
    w = np.ones(len(Y)) if weight is None else weight / weight.mean()
    mean = (w[:, None] * Y).mean(axis=0)
    variance = (w[:, None] * (Y - mean) ** 2).mean(axis=0)
    return np.sqrt(w)[:, None], np.maximum(variance, FLAT * (Y**2).mean(axis=0) + 1e-300)
