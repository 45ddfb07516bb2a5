"""The Lorenz system with an input, to be brought to one of its unstable fixed points.

Sources: E. N. Lorenz, "Deterministic nonperiodic flow", Journal of the Atmospheric Sciences 20
(1963), 130–141; the input and its bound from E. Kaiser, J. N. Kutz, S. L. Brunton, "Sparse
identification of nonlinear dynamics for model predictive control in the low-data limit",
Proceedings of the Royal Society A 474 (2018), 20180335.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import BLUE, GREEN, GRID, ORANGE, Canvas
from koopman_envs.integration import Components, components, runge_kutta, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """Lorenz's constants, dimensionless like the time."""

    prandtl: float = 10.0
    """σ"""
    rayleigh: float = 28.0
    """ρ"""
    aspect: float = 8.0 / 3.0
    """β"""


PARAMETERS = Parameters()
FIXED_HEIGHT = PARAMETERS.rayleigh - 1.0
"""x3 of both unstable fixed points (r, r, 27)."""
FIXED_PLACE = float(np.sqrt(PARAMETERS.aspect * FIXED_HEIGHT))
"""Their |r| = √72."""


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, Any, Any]:
    """x1' = σ (x2 - x1) + u, x2' = x1 (ρ - x3) - x2, x3' = x1 x2 - β x3, by components."""
    x1, x2, x3 = x
    return p.prandtl * (x2 - x1) + u[0], x1 * (p.rayleigh - x3) - x2, x1 * x2 - p.aspect * x3


def cost(x: Components, u: Components, r: Components) -> Any:
    """0.01 ‖x - (r, r, 27)‖² + 0.00001 u², zero exactly at a fixed point without input."""
    a, b, c = x[0] - r[0], x[1] - r[0], x[2] - FIXED_HEIGHT
    return 0.01 * (a * a + b * b + c * c) + 1e-5 * (u[0] * u[0])


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays: states (..., 3), inputs (..., 1) -> time derivatives (..., 3)."""
    return stacked(rates(components(x), components(u), p))


class Lorenz(ODEEnv):
    """Calm a chaotic system down at one of its two unstable fixed points (r, r, 27), r = ±√72.

    * Observation (x1, x2, x3, r); everything is dimensionless.
    * Action in [-1, 1], the input u is 50 times it. Time step 0.02, eight Runge–Kutta steps of
      0.0025; 500 steps an episode.
    * Reset: x1, x2 uniform in [-15, 15], x3 uniform in [10, 40]; r is √72 or -√72.
    * Reward: minus :func:`cost`.
    """

    parameters = PARAMETERS
    dt = 0.02
    substeps = 8
    state_low: ClassVar[tuple[float, ...]] = (-20.0, -25.0, 0.0)
    state_high: ClassVar[tuple[float, ...]] = (20.0, 25.0, 50.0)
    # x1² + x2² + (x3 - 38)² starts below 50² and falls wherever it is above 41².
    observation_low: ClassVar[tuple[float, ...]] = (-50.0, -50.0, -12.0)
    observation_high: ClassVar[tuple[float, ...]] = (50.0, 50.0, 88.0)
    input_low: ClassVar[tuple[float, ...]] = (-50.0,)
    input_high: ClassVar[tuple[float, ...]] = (50.0,)
    reference_low: ClassVar[tuple[float, ...]] = (-FIXED_PLACE,)
    reference_high: ClassVar[tuple[float, ...]] = (FIXED_PLACE,)

    def rates(self, x: Components, u: Components) -> tuple[Any, Any, Any]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r)

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Uniform around the attractor."""
        x1, x2 = rng.uniform(-15.0, 15.0, size=2)
        return np.array([x1, x2, rng.uniform(10.0, 40.0)])

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """One of the two fixed points."""
        return np.array([FIXED_PLACE if rng.random() < 0.5 else -FIXED_PLACE])

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw x1 and x3 before the attractor of the uncontrolled system."""
        canvas.view((-30.0, 30.0), (-5.0, 55.0))
        canvas.line(_butterfly()[:, [0, 2]], GRID)
        canvas.line(trail[:, [0, 2]], BLUE, 3)
        canvas.disc(np.array([self.reference[0], FIXED_HEIGHT]), 11, GREEN, 3)
        canvas.disc(self.state[[0, 2]], 8, ORANGE)


@cache
def _butterfly() -> Array:
    x: Any = [1.0, 1.0, 25.0]
    points = []
    for _ in range(4000):
        x = runge_kutta(lambda y, u: rates(y, u, PARAMETERS), x, [0.0], 0.01)
        points.append(x)
    return np.array(points)


class LorenzVector(ODEVectorEnv):
    """Many copies of :class:`Lorenz`."""

    environment = Lorenz
