"""The forced Van der Pol oscillator of Korda & Mezić.

Source: "Linear predictors for nonlinear dynamical systems: Koopman operator meets model predictive
control", Automatica 93 (2018), 149–160.
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

    speed: float = 2.0
    stiffness: float = 0.8
    drive: float = 2.0
    damping: float = 10.0


PARAMETERS = Parameters()


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, Any]:
    """x1' = 2 x2, x2' = -0.8 x1 + 2 x2 - 10 x1² x2 + u, by components."""
    x1, x2 = x
    return p.speed * x2, -p.stiffness * x1 + (p.drive - p.damping * x1 * x1) * x2 + u[0]


def cost(x: Components, u: Components, r: Components) -> Any:
    """(x1 - r)² + 0.1 x2² + 0.01 (u - 0.8 r)², zero exactly at the equilibrium x = (r, 0)."""
    error, effort = x[0] - r[0], u[0] - PARAMETERS.stiffness * r[0]
    return error * error + 0.1 * (x[1] * x[1]) + 0.01 * (effort * effort)


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays.

    Args:
        x: States (..., 2).
        u: Inputs (..., 1), with leading dimensions that broadcast to those of x.
        p: Parameters.

    Returns:
        Time derivatives (..., 2).
    """
    return stacked(rates(components(x), components(u), p))


class VanDerPol(ODEEnv):
    """Bring the Van der Pol oscillator to a set-point of x1 and keep it there.

    Without control the origin is unstable and the state runs into a limit cycle.

    * Observation (x1, x2, r), r the set-point of x1, constant within an episode.
    * Action u in [-1, 1]. Time step 0.01 s, one Runge–Kutta step; 400 steps an episode.
    * Reset: (x1, x2) uniform in [-1, 1]²; r is 0 with probability 1/2, else uniform in
      [-0.6, 0.6], where the holding input 0.8 r is feasible.
    * Reward: minus :func:`cost`.

    Example:
        >>> import gymnasium, koopman_envs
        >>> env = gymnasium.make("koopman_envs/VanDerPol-v0")
        >>> observation, info = env.reset(options={"state": [0.5, 0.0], "reference": [0.2]})
    """

    parameters = PARAMETERS
    dt = 0.01
    state_low: ClassVar[tuple[float, ...]] = (-1.5, -2.0)
    state_high: ClassVar[tuple[float, ...]] = (1.5, 2.0)
    observation_low: ClassVar[tuple[float, ...]] = (-3.0, -6.0)
    observation_high: ClassVar[tuple[float, ...]] = (3.0, 6.0)
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
        """Draw the phase plane: the way so far, the state and the set-point."""
        canvas.view((-1.6, 1.6), (-2.4, 2.4))
        for level in (-1.0, 1.0):
            canvas.line(np.array([[level, -2.4], [level, 2.4]]), GRID)
            canvas.line(np.array([[-1.6, level], [1.6, level]]), GRID)
        canvas.line(np.array([[0.0, -2.4], [0.0, 2.4]]), INK)
        canvas.line(np.array([[-1.6, 0.0], [1.6, 0.0]]), INK)
        canvas.line(trail, BLUE, 3)
        canvas.disc(np.array([self.reference[0], 0.0]), 11, GREEN, 3)
        canvas.disc(self.state, 8, ORANGE)


class VanDerPolVector(ODEVectorEnv):
    """Many copies of :class:`VanDerPol`."""

    environment = VanDerPol
