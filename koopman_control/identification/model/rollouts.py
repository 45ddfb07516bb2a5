"""Three ways to roll a lifted model out, and the sensitivity of each to its inputs.

1. linear:   z+ = A z + B u                       lifted once; what one convex QP can use exactly
2. bilinear: z+ = (A + sum_i u_i N_i) z + B u     lifted once
3. relifted: x+ = C (A psi(x) + ...)              lifted again at every step (the sampled RNN)

All functions here are unchecked and batched over S input sequences from S (or one) initial states.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.model.relift import StepMap

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
