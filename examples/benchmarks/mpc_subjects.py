"""Plants for the benchmark of the controller: random lifted linear ones, and a fitted one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, Signals
from koopman_control.mpc import Bounds, Cost, KoopmanMPC
from koopman_control.trajectories import Trajectory


class WatchedFeatures(SampledFeatures):
    """Features at the cost of a tanh layer and with the values of the plant's own lifted state."""

    def values(self, X: Array) -> Array:
        """Evaluate, throw away, and look at the plant instead."""
        super().values(X)
        return np.asarray(self.hidden)


@dataclass
class LiftedPlant:
    """z+ = A z + B u + noise of spectral radius 0.98; outputs are its first p states.

    The reference steps to another reachable output every 40 steps, with a sine on top, and is known
    in advance; soft output bounds lie a tenth inside it, so they are often active.

    Args:
        n: Lifted states, beside the constant.
        m: Inputs.
        p: Outputs.
        horizon: Steps of the preview.
        steps: Length of the run.
        seed: Seed of everything random.
    """

    n: int
    m: int
    p: int
    horizon: int
    steps: int
    seed: int = 0
    k: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Draw the plant, its reference and its noise."""
        n, m, p, N = self.n, self.m, self.p, self.horizon
        rng = np.random.default_rng(self.seed + 1000 * n + 100 * m + 10 * p + N)
        inner = rng.normal(size=(n, n)) / np.sqrt(n)
        inner *= 0.98 / np.abs(np.linalg.eigvals(inner)).max()
        B = rng.normal(size=(n, m)) / np.sqrt(n)
        gain = np.linalg.solve(np.eye(n) - inner, B)[:p]
        B, gain = B / np.linalg.norm(gain, axis=0), gain / np.linalg.norm(gain, axis=0)
        self.A, self.B = np.eye(n + 1), np.vstack([np.zeros(m), B])
        self.A[1:, 1:] = inner
        time = np.arange(self.steps + N + 1)
        levels = rng.uniform(-1.1, 1.1, (self.steps // 40 + N // 40 + 2, m))
        inputs = levels[np.minimum(time // 40, len(levels) - 1)]
        inputs[:, 0] += 0.15 * np.sin(2.0 * np.pi * time / 50.0)
        self.targets = inputs @ gain.T
        self.noise = np.zeros((self.steps, n + 1))
        self.noise[:, 1:] = 0.01 * rng.normal(size=(self.steps, n)) / np.sqrt(n)
        self.features = WatchedFeatures(n - p, random_state=0).fit(rng.normal(size=(200, p)))
        self.restart()

    def restart(self) -> None:
        """Go back to the start."""
        self.k, self.z, self.before = 0, np.eye(self.n + 1)[0], np.zeros(self.m)
        self.features.hidden = self.z[1 + self.p :]

    def reference(self, _: Array) -> Array:
        """Preview the target, shape (N, p)."""
        return np.asarray(self.targets[self.k + 1 : self.k + 1 + self.horizon])

    def step(self, u: Array) -> float:
        """Advance by one sample; return the cost of the output reached and the input."""
        self.z = self.A @ self.z + self.B @ u + self.noise[self.k]
        self.features.hidden = self.z[1 + self.p :]
        self.k += 1
        error, over = self.y - self.targets[self.k], np.abs(self.y) - self.bound
        over, change = np.maximum(over, 0.0), u - self.before
        self.before = u
        inputs = 0.01 * u @ u + 0.1 * change @ change
        return float(error @ error + inputs + np.sum(10.0 * over + 5.0 * over**2))

    @property
    def y(self) -> Array:
        """The output, shape (p,)."""
        return np.asarray(self.z[1 : 1 + self.p])

    @property
    def bound(self) -> Array:
        """Soft bound of the outputs, shape (p,)."""
        return np.asarray(0.9 * np.abs(self.targets).max(axis=0))

    @property
    def model(self) -> LiftedModel:
        """The plant as a model."""
        n, p = self.n, self.p
        return LiftedModel(
            A=self.A,
            B=self.B,
            C=np.eye(n + 1)[1 : 1 + p],
            N=None,
            signals=Signals(
                coordinates=Coordinates.of(p),
                center=np.zeros(p),
                scale=np.ones(p),
                limits=np.tile([[-np.inf], [np.inf]], p),
                saturating=np.zeros(p, dtype=bool),
                action_bounds=np.tile([[-1.0], [1.0]], self.m),
            ),
            features=self.features,
        )

    def controller(self, **settings: Any) -> KoopmanMPC:
        """Track with bounds on inputs and rates and soft bounds on outputs."""
        return KoopmanMPC(
            self.model,
            self.horizon,
            1.0,
            0.01,
            reference=self.reference,
            output_bounds=np.stack([-self.bound, self.bound]),
            cost=Cost(S=0.1),
            bounds=Bounds(rates=0.3, slack_weight=(10.0, 5.0)),
            **settings,
        )


class PlantCopies:
    """Copies of a plant that are to rest at zero, disturbed independently.

    Args:
        n_copies: How many.
        plant: The plant.
        disturbance: Standard deviation of what is added to every lifted state in a step.

    Attributes:
        controllers: Controls them all.
    """

    def __init__(self, n_copies: int, plant: LiftedPlant, disturbance: float) -> None:
        self._plant, self._rng = plant, np.random.default_rng(1)
        self._disturbance = disturbance
        self.controllers = self._controller().batch(n_copies)
        self.Z = np.tile(plant.z, (n_copies, 1))
        self._disturb()

    @property
    def Y(self) -> Array:
        """Outputs, shape (n, p)."""
        return np.asarray(self.Z[:, 1 : 1 + self._plant.p])

    def step(self, U: Array) -> None:
        """Advance by one sample."""
        self.Z = self.Z @ self._plant.A.T + U @ self._plant.B.T
        self._disturb()

    def _controller(self) -> KoopmanMPC:
        """Regulate to zero within the plant's bounds."""
        bound = self._plant.bound
        return KoopmanMPC(
            self._plant.model,
            self._plant.horizon,
            1.0,
            0.01,
            output_bounds=np.stack([-bound, bound]),
            cost=Cost(S=0.1),
            bounds=Bounds(rates=0.3, slack_weight=(10.0, 5.0)),
        )

    def _disturb(self) -> None:
        self.Z[:, 1:] += self._disturbance * self._rng.normal(size=self.Z[:, 1:].shape)
        self._plant.features.hidden = self.Z[:, 1 + self._plant.p :]


def oscillator_step(x: Array, u: Array) -> Array:
    """Advance a pendulum with a filtered torque by one sample; shapes (3,) and (1,)."""
    angle, speed, torque = x
    torque = 0.8 * torque + 0.2 * u[0]
    speed = speed + 0.05 * (np.sin(angle) - 0.3 * speed + (2.0 + np.cos(angle)) * torque)
    return np.array([angle + 0.05 * speed, speed, torque])


class Oscillator:
    """`oscillator_step` with noise, from a seed."""

    def __init__(self) -> None:
        self.x, self._rng = np.array([1.0, 0.0, 0.0]), np.random.default_rng(0)

    def step(self, u: Array) -> float:
        """Advance by one sample; return the squared distance from the target."""
        self.x = oscillator_step(self.x, u) + 0.02 * self._rng.normal(size=3)
        return float(self.x @ self.x)


def oscillator_model(n_features: int, seed: int = 0) -> LiftedModel:
    """Fit a bilinear model to 40 short runs of `oscillator_step`."""
    rng, data = np.random.default_rng(seed), []
    for _ in range(40):
        X, U = [rng.uniform(-1.0, 1.0, 3)], rng.uniform(-1.0, 1.0, (50, 1))
        for u in U:
            X.append(oscillator_step(X[-1], u))
        data.append(Trajectory(np.array(X), U))
    features = SampledFeatures(n_features, steepness=0.5, random_state=seed)
    return EDMDc(features, coupling="bilinear", regularization=1e-6).fit(data).model_
