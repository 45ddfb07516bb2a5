"""The damped Duffing oscillator with forcing: a mass in a double well.

Source: M. Korda, I. Mezić, "Optimal construction of Koopman eigenfunctions for prediction and
control", IEEE Transactions on Automatic Control 65 (2020), 5114–5129.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import BLUE, GREEN, GRID, INK, ORANGE, Canvas
from koopman_envs.integration import Components, components, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.plant import zero_or_uniform
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """The constants of the paper's example, dimensionless but for the time in seconds."""

    damping: float = 0.5
    repulsion: float = 1.0
    hardening: float = 4.0
    gain: float = 0.5


PARAMETERS = Parameters()


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, Any]:
    """x1' = x2, x2' = -0.5 x2 - x1 (4 x1² - 1) + 0.5 u, by components."""
    x1, x2 = x
    return x2, -p.damping * x2 - x1 * (p.hardening * x1 * x1 - p.repulsion) + p.gain * u[0]


def holding_input(r: Any, p: Parameters = PARAMETERS) -> Any:
    """Input that makes x = (r, 0) an equilibrium, 2 r (4 r² - 1)."""
    return r * (p.hardening * r * r - p.repulsion) / p.gain


def cost(x: Components, u: Components, r: Components) -> Any:
    """(x1 - r)² + 0.1 x2² + 0.01 (u - holding input)², zero exactly at the equilibrium (r, 0)."""
    error, effort = x[0] - r[0], u[0] - holding_input(r[0])
    return error * error + 0.1 * (x[1] * x[1]) + 0.01 * (effort * effort)


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays: states (..., 2), inputs (..., 1) -> time derivatives (..., 2)."""
    return stacked(rates(components(x), components(u), p))


class Duffing(ODEEnv):
    """Bring a mass to any place of a double well, its ridge included, and keep it there.

    Without control (±0.5, 0) are stable and the origin is a saddle.

    * Observation (x1, x2, r): position, velocity and the set-point of x1, constant in an episode.
    * Action u in [-1, 1]. Time step 0.05 s, one Runge–Kutta step; 200 steps an episode.
    * Reset: (x1, x2) uniform in [-1, 1]²; r is 0, the saddle, with probability 1/2, else uniform
      in [-0.6, 0.6], where the holding input is at most 0.53.
    * Reward: minus :func:`cost`.
    """

    parameters = PARAMETERS
    dt = 0.05
    state_low: ClassVar[tuple[float, ...]] = (-1.5, -1.5)
    state_high: ClassVar[tuple[float, ...]] = (1.5, 1.5)
    # The energy x2²/2 + x1⁴ - x1²/2 starts below 5.1 and grows by at most 0.125 per second.
    observation_low: ClassVar[tuple[float, ...]] = (-2.5, -5.0)
    observation_high: ClassVar[tuple[float, ...]] = (2.5, 5.0)
    input_low: ClassVar[tuple[float, ...]] = (-1.0,)
    input_high: ClassVar[tuple[float, ...]] = (1.0,)
    reference_low: ClassVar[tuple[float, ...]] = (-0.6,)
    reference_high: ClassVar[tuple[float, ...]] = (0.6,)

    def rates(self, x: Components, u: Components) -> tuple[Any, Any]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r)

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Uniform in [-1, 1]²."""
        return rng.uniform(-1.0, 1.0, size=2)

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """0 with probability 1/2, else uniform in [-0.6, 0.6]."""
        return zero_or_uniform(rng, 0.6)

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw the double well with the mass in it, its velocity and the set-point."""
        canvas.view((-1.3, 1.3), (-0.3, 0.8))
        places = np.linspace(-1.4, 1.4, 200)
        canvas.line(np.c_[places, _height(places)], INK, 4)
        canvas.line(np.array([[0.0, -0.3], [0.0, 0.8]]), GRID)
        canvas.line(np.c_[trail[:, 0], _height(trail[:, 0]) + 0.03], BLUE, 2)
        flag = np.array([self.reference[0], _height(self.reference[0])])
        corners = np.array([[0.0, 0.0], [0.0, 0.2], [0.2, 0.16], [0.0, 0.12]])
        canvas.line(flag + corners, GREEN, 4)
        ball = np.array([self.state[0], _height(self.state[0]) + 0.03])
        canvas.line(np.array([ball, ball + np.array([0.3 * self.state[1], 0.0])]), ORANGE, 4)
        canvas.disc(ball, 13, ORANGE)


def _height(x1: Any) -> Any:
    """Potential energy x1⁴ - x1²/2 of the uncontrolled mass."""
    square = x1 * x1
    return PARAMETERS.hardening / 4.0 * square * square - PARAMETERS.repulsion / 2.0 * square


class DuffingVector(ODEVectorEnv):
    """Many copies of :class:`Duffing`."""

    environment = Duffing
