"""Three ways to roll a lifted model out, and the sensitivity of each to its inputs.

The re-lifted one-step map is x+ = x + D psi(x) + sum_i u_i E_i psi(x); inputs that enter
nonlinearly are lifted themselves, v = [u, features(u)].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, FeatureMap


class StepMap(Protocol):
    """What a re-lifted roll-out needs; unchecked and batched."""

    def step(self, x: Array, u: Array) -> Array:
        """Advance states of shape (S, d) under inputs of shape (S, m) by one sample."""
        ...

    def jacobians(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Differentiate `step` to x, shape (S, d, d), and to u, shape (S, d, m)."""
        ...


class Embedding:
    """Feature inputs e, shape (..., e), from states x, shape (..., d): angles become cos, sin.

    The order is that of `Coordinates.embedded`: plain states, cosines, sines.

    Attributes:
        plain: States that are feature inputs themselves.
        angles: States that are angles.
        n_angles: Number of angles among the states.
    """

    def __init__(self, coordinates: Coordinates) -> None:
        self.plain = np.flatnonzero(~coordinates.is_angle)
        self.angles = np.flatnonzero(coordinates.is_angle)
        n, k = len(self.plain), len(self.angles)
        self.n_angles = k
        self._cos, self._sin = slice(n, n + k), slice(n + k, n + 2 * k)
        self._n_plain, self._size = n, n + 2 * k

    def __call__(self, x: Array) -> Array:
        """Embed states."""
        if not self.n_angles:
            return x
        e = np.empty((*x.shape[:-1], self._size))
        angles = x.take(self.angles, axis=-1)
        e[..., : self._n_plain] = x.take(self.plain, axis=-1)
        np.cos(angles, out=e[..., self._cos])
        np.sin(angles, out=e[..., self._sin])
        return e

    def pull_back(self, J: Array, x: Array) -> Array:
        """Turn derivatives to e, shape (..., q, e), into derivatives to x, shape (..., q, d)."""
        if not self.n_angles:
            return J
        out = np.empty((*J.shape[:-1], x.shape[-1]))
        angles = x[..., None, self.angles]
        out[..., self.plain] = J[..., : self._n_plain]
        out[..., self.angles] = (
            np.cos(angles) * J[..., self._sin] - np.sin(angles) * J[..., self._cos]
        )
        return out


@dataclass(frozen=True)
class OneStepMap:
    """The re-lifted map with constants folded; all methods are unchecked and batched.

    With fewer inputs than states at a limit, not all of them can be stopped by an effective input;
    the rest is clipped, and the derivative at such a corner is approximate.

    Args:
        embedding: From states to feature inputs.
        features: The feature map.
        constant: Increment at e = 0 without features, shape (1 + m, d): drift, then per input.
        linear: Coefficients of the feature inputs, shape (e, (1 + m) d).
        nonlinear: Coefficients of the features, shape (h, (1 + m) d).
        limits: Lower and upper limit of every state, shape (2, d); infinite where there is none.
        saturating: States that the plant holds at their limit, shape (d,).
        state_sizes: What is much of each state, shape (d,), so that units make no difference where
            several are held at once.
        input_sizes: What is much of each input that enters, shape (m,); likewise.
    """

    embedding: Embedding
    features: FeatureMap
    constant: Array
    linear: Array
    nonlinear: Array
    limits: Array
    saturating: NDArray[np.bool_]
    state_sizes: Array
    input_sizes: Array

    def drift_and_gain(self, x: Array) -> tuple[Array, Array]:
        """Return the input-free increment, shape (S, d), and the input matrix, shape (S, m, d)."""
        e = self.embedding(x)
        rates = e @ self.linear
        rates += self.features.values(e) @ self.nonlinear
        rates = rates.reshape(len(x), *self.constant.shape)
        rates += self.constant
        return rates[:, 0], rates[:, 1:]

    def step(self, x: Array, u: Array) -> Array:
        """Advance states of shape (S, d) under inputs of shape (S, m) by one sample."""
        x_next, gain = self._free_step(x, u)
        if self._stops:
            excess = self._excess(x_next)
            hit = excess.any(axis=1)
            if hit.any():
                correction = self._effective_correction(excess[hit], gain[hit])
                x_next[hit] += np.einsum("sm,smd->sd", correction, gain[hit])
                np.copyto(x_next, self.limits[0], where=excess > 0.0)
                np.copyto(x_next, self.limits[1], where=excess < 0.0)
        if self._has_limits:  # np.clip costs several times as much on arrays this small
            np.maximum(x_next, self.limits[0], out=x_next)
            np.minimum(x_next, self.limits[1], out=x_next)
        return x_next

    def jacobians(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Differentiate `step`: F = dx+/dx of shape (S, d, d) and G = dx+/du of shape (S, d, m).

        Motions that a limit stops have derivative zero.
        """
        x_next, gain = self._free_step(x, u)
        excess = self._excess(x_next)
        hit = excess.any(axis=1)
        if hit.any():
            correction = self._effective_correction(excess[hit], gain[hit])
            x_next[hit] += np.einsum("sm,smd->sd", correction, gain[hit])
            u = u.copy()
            u[hit] += correction
        F, G = self._smooth_jacobian(x, u), np.swapaxes(gain, 1, 2).copy()
        if hit.any():
            F[hit], G[hit] = self._held_at_limits(x[hit], F[hit], G[hit], excess[hit])
        beyond = (x_next < self.limits[0]) | (x_next > self.limits[1]) | (excess != 0.0)
        F[beyond], G[beyond] = 0.0, 0.0
        return F, G

    def _free_step(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Advance without limits, shape (S, d); also return the input matrix, shape (S, m, d)."""
        drift, gain = self.drift_and_gain(x)
        x_next = x + drift
        for i in range(u.shape[1]):  # a product of matrices costs more for so few inputs
            x_next += u[:, i : i + 1] * gain[:, i]
        return x_next, gain

    def _excess(self, x_next: Array) -> Array:
        """Return what saturating states are short of (or beyond) their limits, shape (S, d)."""
        excess = np.zeros(x_next.shape)
        for i, low, high in self._stops:  # mostly one
            column = x_next[:, i]
            excess[:, i] = np.minimum(np.maximum(column, low), high) - column
        return excess

    @cached_property
    def _has_limits(self) -> bool:
        return bool(np.isfinite(self.limits).any())

    @cached_property
    def _stops(self) -> list[tuple[int, float, float]]:
        """Index, lower and upper limit of every saturating state."""
        return [(int(i), *self.limits[:, i].tolist()) for i in np.flatnonzero(self.saturating)]

    def _smooth_jacobian(self, x: Array, u: Array) -> Array:
        """Differentiate the map without limits to x, shape (S, d, d)."""
        weights = np.hstack([np.ones((len(x), 1)), u])  # of drift and gains in x+
        effective = np.einsum("sb,kbd->sdk", weights, self._coefficients, optimize=True)
        return self._differentiated(x, effective) + np.eye(x.shape[1])

    def _held_at_limits(self, x: Array, F: Array, G: Array, excess: Array) -> tuple[Array, Array]:
        """Let the effective input undo what would move the limited states."""
        held = (excess != 0.0)[:, :, None]
        G_held = G * held
        G_inverse = self._inverse(G_held)
        through_input = G @ G_inverse
        F_held, held_G = F - through_input @ (F * held), G - through_input @ G_held
        if G.shape[2] > 1:  # the smallest of several corrections turns as the gains change with x
            squared = self.sizes[1] ** 2
            correction = np.einsum("smd,sd->sm", G_inverse, excess) / squared
            multiplier = np.einsum("smd,sm->sd", G_inverse, correction)
            F_held += (held_G * squared) @ self._gain_jacobian(x, multiplier)
        return F_held, held_G

    @cached_property
    def sizes(self) -> tuple[Array, Array]:
        """Sizes of states (d,) and inputs (m,), ones where only one is concerned."""
        states, inputs = self.state_sizes, self.input_sizes
        alone = int(self.saturating.sum()) <= 1
        return (
            np.ones_like(states) if alone else states,
            np.ones_like(inputs) if len(inputs) == 1 else inputs,
        )

    def _inverse(self, G: Array) -> Array:
        """Pseudo-invert input matrices (S, d, m) with states and inputs in their sizes."""
        states, inputs = self.sizes
        inverse = _pseudo_inverse(G * inputs / states[:, None])
        return np.asarray(inverse * inputs[:, None] / states)

    def _effective_correction(self, excess: Array, gain: Array) -> Array:
        """Find the smallest input change (S, m) that undoes `excess` (S, d) in limited states."""
        limited = np.swapaxes(gain, 1, 2) * (excess != 0.0)[:, :, None]
        return np.asarray(np.einsum("sd,smd->sm", excess, self._inverse(limited)))

    @cached_property
    def _coefficients(self) -> Array:
        """Coefficients of feature inputs and features, shape (e + h, 1 + m, d)."""
        return np.concatenate([self.linear, self.nonlinear]).reshape(-1, *self.constant.shape)

    def _gain_jacobian(self, x: Array, multiplier: Array) -> Array:
        """Differentiate the input matrix times a fixed multiplier (S, d) to x, shape (S, m, d)."""
        weighted = np.einsum("sd,kbd->sbk", multiplier, self._coefficients[:, 1:])
        return self._differentiated(x, weighted)

    def _differentiated(self, x: Array, coefficients: Array) -> Array:
        """Differentiate coefficients (S, q, e + h) times [e, features(e)] to x, shape (S, q, d)."""
        e, n_e = self.embedding(x), len(self.linear)
        J = coefficients[:, :, n_e:] @ self.features.derivatives(e)
        J += coefficients[:, :, :n_e]
        return self.embedding.pull_back(J, x)


def _pseudo_inverse(M: Array) -> Array:
    """Pseudo-invert matrices (S, a, b); where a prediction exploded there is nothing to invert."""
    if 1 in M.shape[1:]:  # a vector v has v^T / |v|^2: no decomposition needed
        size = np.einsum("sab,sab->s", M, M)[:, None, None]
        return np.swapaxes(M, 1, 2) / np.where(size > 0.0, size, 1.0)
    finite = np.isfinite(M).all(axis=(1, 2), keepdims=True)
    inverse: Array = np.linalg.pinv(np.where(finite, M, 0.0))
    return inverse


Rollout = Literal["linear", "bilinear", "relifted"]
ROLLOUTS: tuple[Rollout, ...] = ("linear", "bilinear", "relifted")


def relifted(step_map: StepMap, x0: Array, U: Array) -> Array:
    """Predict states (S, H, d) from x0 (S, d) or (d,) and inputs U (S, H, m)."""
    S, H, _ = U.shape
    x = np.broadcast_to(x0, (S, x0.shape[-1]))
    X = np.empty((S, H, x0.shape[-1]))
    for k in range(H):
        x = step_map.step(x, U[:, k])
        X[:, k] = x
    return X


def linear(A: Array, B: Array, C: Array, z0: Array, U: Array) -> Array:
    """Predict states (S, H, d) by z+ = A z + B u, x = C z, from z0 (S, n) or (n,).

    The products C A^k z0 may be taken from either side. From the left they cost d columns per step
    whatever the number of sequences, so that is how many sequences are predicted.
    """
    S, H, m = U.shape
    d, n = C.shape
    if S <= 2 * d or H * m > n:  # with a long horizon, the response would outgrow the model
        return lifted(A, B, None, z0, U) @ C.T
    Phi, Gamma = linear_response(A, B, C, H)
    X = U.reshape(S, H * m) @ Gamma.T
    X += z0 @ Phi.T
    return X.reshape(S, H, d)


def lifted(A: Array, B: Array, N: Array | None, z0: Array, U: Array) -> Array:
    """Predict lifted states (S, H, n) from z0 (S, n) or (n,), linear where N is None."""
    S, _, m = U.shape
    n = len(A)
    matrices = A.T if N is None else np.concatenate([A.T, *np.swapaxes(N, 1, 2)], axis=1)
    z = np.broadcast_to(z0, (S, n))
    Z = np.swapaxes(U, 0, 1) @ B.T  # (H, S, n): each step is one block of memory
    products = np.empty((S, matrices.shape[1]))
    for z_next, u in zip(Z, np.swapaxes(U, 0, 1), strict=True):
        np.matmul(z, matrices, out=products)
        z_next += products[:, :n]
        if N is not None:
            for i in range(m):
                z_next += u[:, i : i + 1] * products[:, (i + 1) * n : (i + 2) * n]
        z = z_next
    return np.swapaxes(Z, 0, 1)


def relifted_sensitivity(step_map: StepMap, x0: Array, X: Array, U: Array) -> Array:
    """Differentiate predicted states X (S, H, d) to U (S, H, m); returns shape (S, H, d, H m)."""
    S, H, d = X.shape
    before = _before(x0, X)
    F, G = step_map.jacobians(before.reshape(S * H, d), U.reshape(S * H, -1))
    return _chained(F.reshape(S, H, d, d), G.reshape(S, H, d, -1))


def bilinear_sensitivity(
    A: Array, B: Array, N: Array, C: Array, z0: Array, Z: Array, U: Array
) -> Array:
    """Differentiate C z along a bilinear roll-out to U; returns shape (S, H, d, H m)."""
    before = _before(z0, Z)
    G = B + np.einsum("mij,shj->shim", N, before, optimize=True)
    F = A + np.einsum("shm,mij->shij", U, N, optimize=True)
    return C @ _chained(F, G)


def linear_response(A: Array, B: Array, C: Array, horizon: int) -> tuple[Array, Array]:
    """Return Phi (H d, n) and Gamma (H d, H m) of the linear roll-out Y = Phi z0 + Gamma U."""
    (d, n), m = C.shape, B.shape[1]
    Phi, markov = np.empty((horizon, d, n)), np.empty((horizon, d, m))
    observed = C
    for k in range(horizon):
        markov[k] = observed @ B
        observed = observed @ A
        Phi[k] = observed
    Gamma = np.zeros((horizon, d, horizon, m))
    for k in range(horizon):
        Gamma[k, :, : k + 1] = markov[k::-1].transpose(1, 0, 2)
    return Phi.reshape(horizon * d, n), Gamma.reshape(horizon * d, horizon * m)


def _before(x0: Array, X: Array) -> Array:
    """Return the states that steps start from, given those they lead to, shape (S, H, d)."""
    first = np.broadcast_to(x0[..., None, :], (len(X), 1, X.shape[2]))
    return np.concatenate([first, X[:, :-1]], axis=1)


def _chained(F: Array, G: Array) -> Array:
    """Propagate x_k+1 = F_k x_k + G_k u_k: derivatives of all states to all inputs."""
    S, H, d, m = G.shape
    Gamma = np.zeros((S, H, d, H * m))
    for k in range(H):
        if k:
            np.matmul(F[:, k], Gamma[:, k - 1, :, : k * m], out=Gamma[:, k, :, : k * m])
        Gamma[:, k, :, k * m : (k + 1) * m] = G[:, k]
    return Gamma


@dataclass(frozen=True)
class InputLift:
    """The map v = [u, features(u)], unchecked and batched.

    Args:
        features: Fitted feature map on m inputs.
    """

    features: FeatureMap

    def __call__(self, U: Array) -> Array:
        """Lift inputs, shape (..., m) to (..., m + h)."""
        return np.concatenate([U, self.features.values(U)], axis=-1)

    def derivatives(self, U: Array) -> Array:
        """Differentiate, shape (..., m) to (..., m + h, m)."""
        m = U.shape[-1]
        own = np.broadcast_to(np.eye(m), (*U.shape, m))
        return np.concatenate([own, self.features.derivatives(U)], axis=-2)

    def pull_back(self, Gamma: Array, U: Array) -> Array:
        """Turn derivatives to lifted inputs, (S, H, d, H q), into those to U (S, H, m)."""
        S, H, d, _ = Gamma.shape
        by_step = Gamma.reshape(S, H, d, H, -1)
        chained = np.einsum("shdkq,skqm->shdkm", by_step, self.derivatives(U), optimize=True)
        return np.ascontiguousarray(chained.reshape(S, H, d, -1))


@dataclass(frozen=True)
class LiftedInputMap:
    """A re-lifted one-step map that takes u where the map inside takes v.

    Args:
        inner: The map in v; its states are clipped at known limits, but none stops the others
            there, as no effective input need exist.
        lift: From u to v.
    """

    inner: OneStepMap
    lift: InputLift

    def step(self, x: Array, u: Array) -> Array:
        """Advance states of shape (S, d) under inputs of shape (S, m) by one sample."""
        return self.inner.step(x, self.lift(u))

    def jacobians(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Differentiate `step`: F of shape (S, d, d) and G of shape (S, d, m)."""
        F, G = self.inner.jacobians(x, self.lift(u))
        return F, G @ self.lift.derivatives(u)


def read_out(coordinates: Coordinates, center: Array, scale: Array, n: int) -> Array:
    """Return the matrix (d, n) that recovers states from psi(x) with n entries.

    Args:
        coordinates: From observations to states.
        center: Mean of the feature inputs, shape (e,).
        scale: Standard deviation of the feature inputs, shape (e,).
        n: Entries of [1, standardised feature inputs, features, angles].
    """
    C = np.zeros((coordinates.dim, n))
    for j, (state, kind) in enumerate(coordinates.embedded):
        if kind == "id":
            C[state, 0], C[state, 1 + j] = center[j], scale[j]
    angles = np.flatnonzero(coordinates.is_angle)
    C[angles, n - len(angles) + np.arange(len(angles))] = 1.0
    return C
