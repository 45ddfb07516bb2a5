"""Random data of three forced systems, in the units of their standard deviations.

200 + 50 trajectories of 200 steps each: forced Van der Pol, damped Duffing (both RK4, dt = 0.05,
four substeps) and Gymnasium's Pendulum-v1. Inputs are independent from step to step and held over
it. States are centred and divided by the training deviation, inputs by their bound, so that errors
read in standard deviations and peers that do not scale are not put at a disadvantage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np

from koopman_control import Trajectory
from koopman_control.common.arrays import Array

N_TRAIN, N_TEST, N_STEPS, DT = 200, 50, 200, 0.05
HORIZON, WINDOW_STARTS = 50, (50, 100)
NOISE_SEED = 9
SPEED_LIMIT, TORQUE_LIMIT = 8.0, 2.0  # of Pendulum-v1
DIVERGED = 1e3  # standard deviations


@dataclass(frozen=True)
class Windows:
    """First states (100, d), inputs (100, 50, m) and the true states that follow (100, 50, d)."""

    x0: Array
    U: Array
    X: Array


@dataclass(frozen=True)
class Problem:
    """Scaled states (N, T + 1, d) and inputs (N, T, m), with the scales that lead back."""

    name: str
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    center: Array
    scale: Array

    def trajectories(self) -> list[Trajectory]:
        """Training data with what the environment says about its outputs."""
        bounds = None
        if self.name == "pendulum":
            high = np.array([1.0, 1.0, SPEED_LIMIT])
            bounds = (np.array([-high, high]) - self.center) / self.scale
        return [
            Trajectory(X, U, dt=DT, observation_bounds=bounds)
            for X, U in zip(*self.train, strict=True)
        ]

    def windows(self) -> Windows:
        """Stretches of the test data, from two starts in each trajectory."""
        X, U = self.test
        pieces = [(X[i], U[i], t) for t in WINDOW_STARTS for i in range(len(X))]
        return Windows(
            np.stack([x[t] for x, _, t in pieces]),
            np.stack([u[t : t + HORIZON] for _, u, t in pieces]),
            np.stack([x[t + 1 : t + HORIZON + 1] for x, _, t in pieces]),
        )

    def noisy(self, level: float) -> Problem:
        """Add measurement noise to the training states, in standard deviations."""
        X, U = self.train
        noise = level * np.random.default_rng(NOISE_SEED).normal(size=X.shape)
        return Problem(self.name, (X + noise, U), self.test, self.center, self.scale)


def problem(name: str) -> Problem:
    """Generate "vdp", "duffing" or "pendulum"."""
    if name == "pendulum":
        train, test = pendulum_runs(N_TRAIN, 0), pendulum_runs(N_TEST, 10_000)
    else:
        train = random_runs(RATES[name], N_TRAIN, np.random.default_rng(0))
        test = random_runs(RATES[name], N_TEST, np.random.default_rng(1))
    flat = train[0].reshape(-1, train[0].shape[-1])
    center, scale = flat.mean(0), flat.std(0)
    bound = TORQUE_LIMIT if name == "pendulum" else 1.0
    scaled = [((X - center) / scale, U / bound) for X, U in (train, test)]
    return Problem(name, scaled[0], scaled[1], center, scale)


def random_runs(rate: Rate, n_runs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Simulate runs from x0 in [-2, 2]^2 under inputs in [-1, 1]."""
    x = rng.uniform(-2.0, 2.0, (n_runs, 2))
    X, U = np.empty((n_runs, N_STEPS + 1, 2)), np.empty((n_runs, N_STEPS, 1))
    X[:, 0] = x
    for k in range(N_STEPS):
        U[:, k] = rng.uniform(-1.0, 1.0, (n_runs, 1))
        x = X[:, k + 1] = rk4(rate, x, U[:, k])
    return X, U


def pendulum_runs(n_runs: int, first_seed: int) -> tuple[Array, Array]:
    """Record Pendulum-v1 (cosine, sine, speed) under random torques."""
    env = gymnasium.make("Pendulum-v1")
    X, U = np.empty((n_runs, N_STEPS + 1, 3)), np.empty((n_runs, N_STEPS, 1))
    for i in range(n_runs):
        X[i, 0], _ = env.reset(seed=first_seed + i)
        env.action_space.seed(first_seed + i)
        for k in range(N_STEPS):
            U[i, k] = env.action_space.sample()
            X[i, k + 1], *_ = env.step(U[i, k].astype(np.float32))
    return X, U


Rate = Callable[[Array, Array], Array]


def van_der_pol(x: Array, u: Array) -> Array:
    """x1' = x2, x2' = (1 - x1^2) x2 - x1 + u."""
    return np.stack([x[:, 1], (1.0 - x[:, 0] ** 2) * x[:, 1] - x[:, 0] + u[:, 0]], 1)


def duffing(x: Array, u: Array) -> Array:
    """x1' = x2, x2' = -x2 / 2 + x1 - x1^3 + u."""
    return np.stack([x[:, 1], -0.5 * x[:, 1] + x[:, 0] - x[:, 0] ** 3 + u[:, 0]], 1)


RATES: dict[str, Rate] = {"vdp": van_der_pol, "duffing": duffing}


def rk4(rate: Rate, x: Array, u: Array, substeps: int = 4) -> Array:
    """Advance states by one sample."""
    h = DT / substeps
    for _ in range(substeps):
        k1 = rate(x, u)
        k2 = rate(x + h / 2 * k1, u)
        k3 = rate(x + h / 2 * k2, u)
        k4 = rate(x + h * k3, u)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def pendulum_step(y: Array, u: Array) -> Array:
    """Advance (cosine, sine, speed) by one sample, as Pendulum-v1 does."""
    angle = np.arctan2(y[:, 1], y[:, 0])
    speed = y[:, 2] + (15.0 * y[:, 1] + 3.0 * u[:, 0]) * DT
    speed = np.clip(speed, -SPEED_LIMIT, SPEED_LIMIT)
    angle = angle + speed * DT
    return np.stack([np.cos(angle), np.sin(angle), speed], 1)


def linear_floor(given: Problem, n_pairs: int = 200, seed: int = 0) -> float:
    """Error of the best lift-once predictor there is, of any dimension and from any amount of data.

    What a linear roll-out predicts is g_k(x0) + sum_j G_kj u_j with constant G. As the inputs are
    independent of x0, the best of these has g_k(x0) = E[x_k | x0] and G_kj = E[x_k u_j] / E[u_j^2];
    both are found here by simulating the true system from the windows' own kind of first state,
    under inputs U and -U: half the sum holds no first-order effect of U, half the difference no g.
    """
    windows, rng = given.windows(), np.random.default_rng(seed)
    starts = given.train[0][:, WINDOW_STARTS].reshape(-1, len(given.scale))
    _, odd, U = _mirrored(given, np.repeat(starts, n_pairs // 2, axis=0), rng)
    G = np.einsum("skd,sj->kjd", odd, U[..., 0], optimize=True) / (U[..., 0] ** 2).sum(0)[:, None]
    even, _, _ = _mirrored(given, np.repeat(windows.x0, n_pairs, axis=0), rng)
    mean = even.reshape(len(windows.x0), n_pairs, HORIZON, -1).mean(axis=1)
    best = mean + np.einsum("kjd,sj->skd", G, windows.U[..., 0])
    return float(np.sqrt(np.mean((best - windows.X) ** 2)))


def _mirrored(given: Problem, x0: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Half the sum and half the difference of runs under random inputs U and -U; and U."""
    U = rng.uniform(-1.0, 1.0, (len(x0), HORIZON, 1))
    X, mirrored = _simulated(given, x0, U), _simulated(given, x0, -U)
    return (X + mirrored) / 2.0, (X - mirrored) / 2.0, U


def _simulated(given: Problem, x0: Array, U: Array) -> Array:
    """Run the true system from scaled states x0 (S, d) under scaled inputs (S, H, 1)."""
    y = x0 * given.scale + given.center
    X = np.empty((len(x0), HORIZON, x0.shape[1]))
    for k in range(HORIZON):
        if given.name == "pendulum":
            y = pendulum_step(y, TORQUE_LIMIT * U[:, k])
        else:
            y = rk4(RATES[given.name], y, U[:, k])
        X[:, k] = y
    return (X - given.center) / given.scale
