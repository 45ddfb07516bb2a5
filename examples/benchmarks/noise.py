"""What measurement noise costs, and what instruments and the horizon fit win back.

200 training and 50 test trajectories of 200 steps of the forced Van der Pol and Duffing
oscillators; noise on the training states only, in standard deviations of the states. Error: root
mean square over 50 steps of 100 clean test windows, in the same units. "floor" is a linear roll-out
with perfect knowledge: E[x_k | x_0] of the true plant plus the best Gamma U, which no number of
features can beat.

    python examples/benchmarks/noise.py
"""

import time
from collections.abc import Callable

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.identification.horizon import refine_over_horizon
from koopman_control.identification.robust import correct_for_noise
from koopman_control.trajectories import Trajectory

HORIZON = 50
DT = 0.05
Plant = Callable[[Array, Array], Array]


def van_der_pol(x: Array, u: Array) -> Array:
    return np.stack([x[:, 1], (1.0 - x[:, 0] ** 2) * x[:, 1] - x[:, 0] + u], axis=1)


def duffing(x: Array, u: Array) -> Array:
    return np.stack([x[:, 1], -0.5 * x[:, 1] + x[:, 0] - x[:, 0] ** 3 + u], axis=1)


def step(plant: Plant, x: Array, u: Array, substeps: int = 4) -> Array:
    """Advance by DT with Runge-Kutta steps."""
    h = DT / substeps
    for _ in range(substeps):
        k1 = plant(x, u)
        k2 = plant(x + h / 2 * k1, u)
        k3 = plant(x + h / 2 * k2, u)
        k4 = plant(x + h * k3, u)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def simulate(plant: Plant, x0: Array, n_steps: int, seed: int) -> tuple[Array, Array]:
    """Return states (S, T + 1, 2) and inputs (S, T, 1), uniform and held for a step."""
    U = np.random.default_rng(seed).uniform(-1.0, 1.0, (len(x0), n_steps, 1))
    X = [x0]
    for k in range(n_steps):
        X.append(step(plant, X[-1], U[:, k, 0]))
    return np.stack(X, axis=1), U


def error(model: LiftedModel, X: Array, U: Array, rollout: str) -> float:
    with np.errstate(all="ignore"):
        predicted = model.rolled_out(X[:, 0], U, rollout)  # type: ignore[arg-type]
    return float(np.sqrt(np.mean((predicted - X[:, 1:]) ** 2)))


def floor(plant: Plant, X: Array, U: Array, scale: Array, starts: Array) -> float:
    """Error of the best predictor of the form f_k(x0) + Gamma U, by simulation of the plant."""
    n_draws = 400
    mean, response = [], []
    for points in (X[:, 0] * scale, starts * scale):
        runs, inputs = simulate(plant, np.repeat(points, n_draws, axis=0), HORIZON, seed=5)
        runs = runs[:, 1:].reshape(len(points), n_draws, -1)
        mean.append(runs.mean(axis=1))
        deviations = (runs - mean[-1][:, None]).reshape(len(points) * n_draws, -1)
        response.append(np.linalg.lstsq(inputs[:, :, 0], deviations, rcond=None)[0])
    predicted = (mean[0] + U[:, :, 0] @ response[1]).reshape(len(X), HORIZON, 2)
    return float(np.sqrt(np.mean((predicted / scale - X[:, 1:]) ** 2)))


def main() -> None:
    print("plant, noise, fit: 50-step error linear, re-lifted; spectral radius; CPU seconds")
    for plant in (van_der_pol, duffing):
        rng = np.random.default_rng(0)
        train, U = simulate(plant, rng.uniform(-2.0, 2.0, (200, 2)), 200, seed=1)
        test, V = simulate(plant, rng.uniform(-2.0, 2.0, (50, 2)), 200, seed=2)
        scale = train.reshape(-1, 2).std(axis=0)
        train, test = train / scale, test / scale
        X = np.concatenate([test[:, t : t + HORIZON + 1] for t in (50, 100)])
        W = np.concatenate([V[:, t : t + HORIZON] for t in (50, 100)])
        starts = train[:, 50]
        limit = floor(plant, X, W, scale, starts)
        print(f"{plant.__name__}: floor of the linear roll-out {limit:.4f}")
        for noise in (0.0, 0.02, 0.05):
            noisy = train + noise * rng.normal(size=train.shape)
            data = [Trajectory(x, u) for x, u in zip(noisy, U, strict=True)]
            began = time.process_time()
            features = SampledFeatures(200, random_state=0)
            fit = EDMDc(features, rollout="linear", horizon=HORIZON, n_folds=3).fit(data)
            models = [("one-step", fit.model_, began)]
            began = time.process_time()
            models.append(("horizon", refine_over_horizon(fit.model_, data, HORIZON), began))
            began = time.process_time()
            instruments = correct_for_noise(fit.model_, data, horizon=HORIZON)
            models.append(("instruments", instruments, began))
            began = time.process_time()
            models.append(("both", refine_over_horizon(instruments, data, HORIZON), began))
            ends = [began for _, _, began in models[1:]] + [time.process_time()]
            for (name, model, start), end in zip(models, ends, strict=True):
                linear, relifted = (error(model, X, W, r) for r in ("linear", "relifted"))
                radius = abs(model.eigenvalues[0])
                print(
                    f"{plant.__name__:12} {noise:4.0%} {name:12} {linear:.4f} {relifted:.4f} "
                    f"{radius:.4f} {end - start:5.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
