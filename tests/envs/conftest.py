"""A plant whose exact solution is known, and accurate solutions of the others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from koopman_envs import ODEEnv, ODEVectorEnv
from koopman_envs.drawing import Canvas
from koopman_envs.integration import Components

Array = NDArray[np.float64]
Rates = Callable[[Array, Array], Any]


@dataclass(frozen=True)
class Spring:
    stiffness: float = 1.0


class Oscillator(ODEEnv):
    """x1' = x2, x2' = -x1 + u, u from -1 to 3; x1 up to 1 is wished, |x2| beyond 1.5 ends it."""

    parameters = Spring()
    dt = 0.1
    substeps = 4
    state_low: ClassVar[tuple[float, ...]] = (-1.0, -1.0)
    state_high: ClassVar[tuple[float, ...]] = (1.0, 1.0)
    observation_low: ClassVar[tuple[float, ...]] = (-8.0, -9.0)
    observation_high: ClassVar[tuple[float, ...]] = (8.0, 9.0)
    input_low: ClassVar[tuple[float, ...]] = (-1.0,)
    input_high: ClassVar[tuple[float, ...]] = (3.0,)
    reference_low: ClassVar[tuple[float, ...]] = (0.0,)
    reference_high: ClassVar[tuple[float, ...]] = (10.0,)

    def rates(self, x: Components, u: Components) -> Components:
        return x[1], -self.parameters.stiffness * x[0] + u[0]

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        return x[0] * x[0] + x[1] * x[1] + u[0] * u[0] + 100.0 * r[0]

    def sample_state(self, rng: np.random.Generator) -> Array:
        return rng.uniform(-1.0, 1.0, size=2)

    def next_reference(self, r: Components) -> Components:
        return [0.5 * r[0]]

    def violations(self, x: Components) -> dict[str, Any]:
        return {
            "high": np.maximum(0.0, x[0] - 1.0),
            "low": np.maximum(0.0, -1.0 - x[0]),
        }

    def limit(self, x: Components) -> Components:
        return np.minimum(x[0], 2.0), x[1]

    def leaves(self, x: Components) -> Any:
        return np.abs(x[1]) > 1.5

    def draw(self, canvas: Canvas, trail: Array) -> None:
        canvas.disc(0.1 * self.state, 5)


class OscillatorVector(ODEVectorEnv):
    environment = Oscillator


@pytest.fixture
def oscillator() -> type[ODEEnv]:
    return Oscillator


@pytest.fixture
def oscillators() -> type[ODEVectorEnv]:
    return OscillatorVector


@pytest.fixture
def accurately() -> Callable[..., Array]:
    """Solve x' = dynamics(x, u) to twelve digits for inputs (T, m) held dt each: (T + 1, n)."""

    def solve(dynamics: Rates, x: Array, inputs: Array, dt: float) -> Array:
        states = [x]
        for u in inputs:
            states.append(accurate_step(dynamics, states[-1], u, dt))
        return np.array(states)

    return solve


@pytest.fixture
def integration_error() -> Callable[[ODEEnv, int], float]:
    """Largest error of a random episode, as a share of the largest observation."""

    def error(env: ODEEnv, steps: int) -> float:
        env.reset(seed=0)
        x, worst = env.state, 0.0
        rng = np.random.default_rng(0)
        for _ in range(steps):
            action = rng.uniform(-1.0, 1.0, len(env.input_half)).astype(np.float32)
            env.step(action)
            u = np.array(env.input_center) + np.array(env.input_half) * action.astype(np.float64)
            x = accurate_step(env.rates, x, u, env.dt)
            share = np.abs(env.state - x) / np.array(env.observation_high)
            worst = max(worst, float(share.max()))
        return worst

    return error


def accurate_step(rates: Rates, x: Array, u: Array, dt: float) -> Array:
    def rate(_: float, z: Array) -> Array:
        return np.array(rates(z, u))

    solution = solve_ivp(rate, (0.0, dt), x, "DOP853", rtol=1e-12, atol=1e-13)
    end: Array = solution.y[:, -1]
    return end
