"""The bilinear DC motor of Korda & Mezić, whose field current multiplies the state.

Source: "Linear predictors for nonlinear dynamical systems: Koopman operator meets model predictive
control", Automatica 93 (2018), 149–160, with the parameters of S. Daniel-Berhe, H. Unbehauen,
"Experimental physical parameter estimation of a thyristor driven DC-motor using the HMF-method",
Control Engineering Practice 6 (1998), 615–626.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import BLUE, GREEN, GRID, INK, ORANGE, Canvas
from koopman_envs.integration import Components, components, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]

CURRENT, SPEED, FIELD = 10.0, 100.0, 4.0
"""Units of x1 (A), x2 (rad/s) and u (A): the ranges of the source, scaled to [-1, 1]."""
LIMIT = 0.4
"""The speed is to stay within ± this, in units of 100 rad/s."""


@dataclass(frozen=True)
class Parameters:
    """Daniel-Berhe & Unbehauen's motor."""

    inductance: float = 0.314
    """Of the armature, in H."""
    resistance: float = 12.345
    """Of the armature, in Ω."""
    torque: float = 0.253
    """Torque constant k_m in N m/A²."""
    inertia: float = 0.00441
    """In kg m²."""
    friction: float = 0.00732
    """Viscous, in N m s/rad."""
    load: float = 1.47
    """Load torque in N m."""
    voltage: float = 60.0
    """Of the armature, in V."""

    @cached_property
    def coefficients(self) -> tuple[float, ...]:
        """Coefficients of the scaled equations, computed once."""
        return (
            self.resistance / self.inductance,
            self.torque * SPEED * FIELD / (self.inductance * CURRENT),
            self.voltage / (self.inductance * CURRENT),
            self.friction / self.inertia,
            self.torque * CURRENT * FIELD / (self.inertia * SPEED),
            self.load / (self.inertia * SPEED),
        )


PARAMETERS = Parameters()


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, Any]:
    """Rates i' = (-R i - k ω f + U) / L, ω' = (-B ω + k i f - τ) / J, in this module's units."""
    a, b, c, d, e, f = p.coefficients
    x1, x2 = x
    return c - a * x1 - (b * u[0]) * x2, (e * u[0]) * x1 - d * x2 - f


def cost(x: Components, u: Components, r: Components) -> Any:
    """(x2 - r)² + 0.01 u², the weights of the source."""
    error = x[1] - r[0]
    return error * error + 0.01 * (u[0] * u[0])


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays: states (..., 2), inputs (..., 1) -> time derivatives (..., 2)."""
    return stacked(rates(components(x), components(u), p))


class BilinearMotor(ODEEnv):
    """Bring the speed of a loaded motor to a set-point without leaving |x2| ≤ 0.4.

    Without field current the load turns the motor backwards, to -200 rad/s.

    * Observation (x1, x2, r): armature current in 10 A, speed in 100 rad/s and its set-point.
    * Action u in [-1, 1], the field current in 4 A. Time step 0.01 s, two Runge–Kutta steps of
      0.005 s; 300 steps an episode.
    * Reset: x1 uniform in [-1, 1], x2 and r uniform in [-0.4, 0.4].
    * Constraint "speed": |x2| ≤ 0.4.
    * Reward: minus :func:`cost`.
    """

    parameters = PARAMETERS
    dt = 0.01
    substeps = 2
    state_low: ClassVar[tuple[float, ...]] = (-1.0, -1.0)
    state_high: ClassVar[tuple[float, ...]] = (1.0, 1.0)
    # The field exchanges energy without making any, so 11.5 x1² + 16.1 x2² stays below 97.
    observation_low: ClassVar[tuple[float, ...]] = (-3.0, -2.5)
    observation_high: ClassVar[tuple[float, ...]] = (3.0, 2.5)
    input_low: ClassVar[tuple[float, ...]] = (-1.0,)
    input_high: ClassVar[tuple[float, ...]] = (1.0,)
    reference_low: ClassVar[tuple[float, ...]] = (-LIMIT,)
    reference_high: ClassVar[tuple[float, ...]] = (LIMIT,)

    def rates(self, x: Components, u: Components) -> tuple[Any, Any]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r)

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Any current, a speed within the limit."""
        return np.array([rng.uniform(-1.0, 1.0), rng.uniform(-LIMIT, LIMIT)])

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """Uniform within the limit."""
        return rng.uniform(-LIMIT, LIMIT, size=1)

    def violations(self, x: Components) -> dict[str, Any]:
        """By how much the speed exceeds its limit."""
        return {"speed": np.maximum(np.abs(x[1]) - LIMIT, 0.0)}

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw a speedometer with limits, set-point and needle, and the current as a bar."""
        canvas.view((-1.3, 1.3), (-1.0, 1.6))
        canvas.line(_arc(-1.0, 1.0, 1.0), INK, 4)
        for low, high in ((-1.0, -LIMIT), (LIMIT, 1.0)):
            canvas.line(_arc(low, high, 1.05), ORANGE, 8)
        for mark in np.linspace(-1.0, 1.0, 11):
            canvas.line(np.array([_ray(mark, 0.9), _ray(mark, 1.0)]), INK, 2)
        canvas.line(_arc(trail[:, 1].min(), trail[:, 1].max(), 0.8), BLUE, 2)
        goal = self.reference[0]
        canvas.line(np.array([_ray(goal, 1.0), _ray(goal, 1.25)]), GREEN, 6)
        canvas.line(np.array([[0.0, 0.0], _ray(self.state[1], 0.85)]), ORANGE, 6)
        canvas.disc(np.zeros(2), 14, INK)
        canvas.line(np.array([[-1.0, -0.6], [1.0, -0.6]]), GRID, 22)
        canvas.line(np.array([[0.0, -0.6], [self.state[0], -0.6]]), BLUE, 22)


def _ray(speed: float, radius: float) -> Array:
    """Point of the dial at a speed, -1 to the left and 1 to the right."""
    angle = 0.5 * np.pi * (1.0 - np.clip(speed, -1.3, 1.3))
    return radius * np.array([np.cos(angle), np.sin(angle)])


def _arc(low: float, high: float, radius: float) -> Array:
    return np.array([_ray(speed, radius) for speed in np.linspace(low, high, 60)])


class BilinearMotorVector(ODEVectorEnv):
    """Many copies of :class:`BilinearMotor`."""

    environment = BilinearMotor
