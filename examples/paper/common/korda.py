"""The two plants of Korda & Mezić (Automatica 2018) and their protocol.

Runge-Kutta steps of 0.01 s with the input held; first states and training inputs are uniform in
[-1, 1]; every run is judged over its whole horizon by
100 sqrt(sum |predicted - true|^2) / sqrt(sum |true|^2) percent (infinite where it overflows),
averaged over 100 first states.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import expm

from koopman_control import Trajectory
from koopman_control.common import Array
from koopman_control.features import FunctionFeatures
from koopman_control.identification import LiftedModel

DT = 0.01
Rate = Callable[[Array, Array], Array]


def van_der_pol(x: Array, u: Array) -> Array:
    """x1' = 2 x2, x2' = -0.8 x1 + 2 x2 - 10 x1^2 x2 + u; states (S, 2), inputs (S,)."""
    a, b = x.T
    return np.stack([2.0 * b, -0.8 * a + 2.0 * b - 10.0 * a**2 * b + u], axis=1)


def motor(x: Array, u: Array) -> Array:
    """Direct-current motor, controlled by its field; both states scaled to [-1, 1]."""
    a, b = x.T
    current = 19.10828025 - 39.3153 * a - 32.2293 * b * u
    speed = -3.333333333 - 1.6599 * b + 22.9478 * a * u
    return np.stack([current, speed], axis=1)


def simulated(rate: Rate, x0: Array, U: Array) -> Array:
    """Runs from x0 (S, d) under inputs (S, T); returns (S, T + 1, d)."""
    X = np.empty((len(x0), U.shape[1] + 1, x0.shape[1]))
    X[:, 0] = x = x0
    for k in range(U.shape[1]):
        u = U[:, k]
        k1 = rate(x, u)
        k2 = rate(x + DT / 2.0 * k1, u)
        k3 = rate(x + DT / 2.0 * k2, u)
        k4 = rate(x + DT * k3, u)
        x = x + DT / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        X[:, k + 1] = x
    return X


def random_runs(rate: Rate, n_runs: int, n_steps: int, seed: int) -> tuple[Array, Array]:
    """Training data: states (n_runs, n_steps + 1, 2) and inputs (n_runs, n_steps)."""
    rng = np.random.default_rng(seed)
    x0 = rng.uniform(-1.0, 1.0, (n_runs, 2))
    U = rng.uniform(-1.0, 1.0, (n_runs, n_steps))
    return simulated(rate, x0, U), U


def trajectories(X: Array, U: Array) -> list[Trajectory]:
    """Wrap outputs (S, T + 1, p) and inputs (S, T)."""
    return [Trajectory(x, u[:, None], dt=DT) for x, u in zip(X, U, strict=True)]


def percent(predicted: Array, true: Array) -> Array:
    """Return the error of every run (S, T, d) in percent, shape (S,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.sqrt(((predicted - true) ** 2).sum(axis=(1, 2)))
    percents = 100.0 * errors / np.sqrt((true**2).sum(axis=(1, 2)))
    return np.asarray(np.nan_to_num(percents, nan=np.inf))


def linearised(rate: Rate, at: Array) -> tuple[Array, Array, Array]:
    """Exact one-step maps x+ = A x + b u + c of the linearisation at each state (S, d), u = 0."""
    S, d = at.shape
    h = 1e-6
    zero = np.zeros(S)
    J = np.stack(
        [(rate(at + h * e, zero) - rate(at - h * e, zero)) / (2.0 * h) for e in np.eye(d)], axis=2
    )
    g = (rate(at, zero + h) - rate(at, zero - h)) / (2.0 * h)
    rest = rate(at, zero) - (J @ at[..., None])[..., 0]
    # One exponential of [J g rest; 0 0 0] steps state, input and drift exactly.
    M = np.zeros((S, d + 2, d + 2))
    M[:, :d, :d], M[:, :d, d], M[:, :d, d + 1] = J, g, rest
    E = expm(M * DT)
    return E[:, :d, :d], E[:, :d, d], E[:, :d, d + 1]


def linear_rollout(maps: tuple[Array, Array, Array], x0: Array, U: Array) -> Array:
    """Roll local linear maps out from x0 (S, d) under U (S, T); returns (S, T, d)."""
    A, b, c = maps
    x, out = x0, np.empty((*U.shape, x0.shape[1]))
    for k in range(U.shape[1]):
        x = (A @ x[..., None])[..., 0] + b * U[:, k, None] + c
        out[:, k] = x
    return out


def lift_once_floor(rate: Rate, x0: Array, U: Array, n_runs: int = 200) -> Array:
    """Predict as well as any linear roll-out can, by simulating the true plant.

    What lifts once predicts g_k(x0) + sum_j G_kj u_j. With the training inputs, independent and
    uniform, the best g is the mean of the true runs and the best G their regression on the inputs.

    Args:
        rate: The plant.
        x0: First states, shape (S, 2).
        U: Inputs to predict for, shape (S, T).
        n_runs: Random runs from every first state.

    Returns:
        Shape (S, T, 2).
    """
    S, T = U.shape
    V = np.random.default_rng(0).uniform(-1.0, 1.0, (S * n_runs, T))
    X = simulated(rate, np.repeat(x0, n_runs, axis=0), V)[:, 1:].reshape(S, n_runs, T, 2)
    mean = X.mean(axis=1)
    rest = (X - mean[:, None]).reshape(S * n_runs, T * 2)
    G = (V.T @ rest).reshape(T, T, 2) / (V**2).sum(axis=0)[:, None, None]
    causal = np.tril(np.ones((T, T))).T[..., None]  # input j acts on steps k >= j
    return np.asarray(mean + np.einsum("jkd,sj->skd", G * causal, U))


def foresight(model: LiftedModel, n_lags: int, stride: int, outputs: int) -> FunctionFeatures:
    """Features of a state that are its own forecast under zero input.

    The first `outputs` states are predicted by the re-lifted roll-out of a model and read at every
    `stride`-th step: one step on, they are each other, so their dynamics without input are linear.
    """
    steps = stride * np.arange(1, n_lags + 1) - 1

    def ahead(x: Array) -> Array:
        rest = np.zeros((len(x), steps[-1] + 1, model.n_inputs))
        predicted = model.predict(x, rest, "relifted")[:, -len(rest[0]) :]
        return predicted[:, steps, :outputs].reshape(len(x), -1)

    return FunctionFeatures(ahead)
