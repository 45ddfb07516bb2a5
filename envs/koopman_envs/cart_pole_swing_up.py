"""The cart-pole swing-up: a hanging pole is swung up and balanced by pushing its cart.

Source of the parameters: M. Deisenroth, C. Rasmussen, "PILCO: a model-based and data-efficient
approach to policy search", ICML 2011, and its software (version 0.9). Track, stops, cost: chosen
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import BLUE, GREEN, GRID, INK, ORANGE, Canvas
from koopman_envs.integration import Components, components, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.stops import bounded, excess
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """Cart and pole of PILCO; the pole is a uniform thin rod.

    Attributes:
        cart_mass: In kg.
        pole_mass: In kg.
        length: Length of the pole in m.
        friction: Friction between cart and track in N s/m.
        gravity: Gravitational acceleration in m/s².
    """

    cart_mass: float = 0.5
    pole_mass: float = 0.5
    length: float = 0.6
    friction: float = 0.1
    gravity: float = 9.82


PARAMETERS = Parameters()


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, ...]:
    """Lagrange's equations of cart position q and pole angle a, solved for the accelerations.

    With M, m, l, b, g the parameters in their order and F the force on the cart in N,
    (M + m) q'' + (m l / 2) (a'' cos a - a'² sin a) = F - b q' and
    (m l / 2) q'' cos a + (m l² / 3) a'' - (m g l / 2) sin a = 0.
    """
    _, speed, angle, spin = x
    sine, cosine = np.sin(angle), np.cos(angle)
    swing = 2.0 * p.length * spin * spin - 3.0 * p.gravity * cosine
    inertia = 4.0 * (p.cart_mass + p.pole_mass) - 3.0 * p.pole_mass * cosine * cosine
    force = 4.0 * (u[0] - p.friction * speed) + p.pole_mass * sine * swing
    acceleration = force / inertia
    turn = 1.5 / p.length * (p.gravity * sine - acceleration * cosine)
    return speed, acceleration, spin, turn


def cost(x: Components, u: Components, r: Components) -> Any:
    """0.5 (q - r)² + 0.01 q'² + (1 - cos a) + 0.002 a'² + 0.001 F².

    It is quadratic in what is observed: 1 - cos a = 0.5 (cos a - 1)² + 0.5 sin² a.
    """
    position, speed, angle, spin = x
    off = position - r[0]
    still = 0.01 * speed * speed + 0.002 * spin * spin
    return 0.5 * off * off + (1.0 - np.cos(angle)) + still + 0.001 * u[0] * u[0]


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays.

    Args:
        x: States (..., 4): position in m, speed in m/s, angle in rad, its rate in rad/s.
        u: Forces (..., 1) in N, with leading dimensions that broadcast to those of x.
        p: Parameters.

    Returns:
        Time derivatives (..., 4).
    """
    return stacked(rates(components(x), components(u), p))


class CartPoleSwingUp(ODEEnv):
    """Swing the hanging pole up and balance it with the cart at a set-point.

    * State (q, q', a, a'): position of the cart in m, angle of the pole from upright in rad,
      clockwise, within ±π. Observation (q, q', cos a, sin a, a', r), r the set-point of q.
    * Action in [-1, 1]: force on the cart, ±10 N. Time step 0.05 s, ten Runge–Kutta steps; 200
      steps an episode.
    * Reset: hanging, q uniform in ±0.5 m, a in π ± 0.2, q' in ±0.2 m/s, a' in ±0.2 rad/s; r uniform
      in ±0.5 m.
    * Reward: minus :func:`cost`.
    * Constraint: the track limit |q| ≤ 2 m, ``violations`` "position" in m. Behind it buffers at
      ±2.4 m stop the cart, its momentum going into the pole; the drive does not exceed 10 m/s
      nor the bearing 25 rad/s, a limit that only pumping energy on and on reaches.
    """

    parameters = PARAMETERS
    dt: ClassVar[float] = 0.05
    substeps: ClassVar[int] = 10
    track: ClassVar[float] = 2.0
    state_low: ClassVar[tuple[float, ...]] = (-2.4, -10.0, -np.pi, -25.0)
    state_high: ClassVar[tuple[float, ...]] = (2.4, 10.0, np.pi, 25.0)
    observation_low: ClassVar[tuple[float, ...]] = (-2.4, -10.0, -1.0, -1.0, -25.0)
    observation_high: ClassVar[tuple[float, ...]] = (2.4, 10.0, 1.0, 1.0, 25.0)
    input_low: ClassVar[tuple[float, ...]] = (-10.0,)
    input_high: ClassVar[tuple[float, ...]] = (10.0,)
    reference_low: ClassVar[tuple[float, ...]] = (-1.0,)
    reference_high: ClassVar[tuple[float, ...]] = (1.0,)

    def rates(self, x: Components, u: Components) -> tuple[Any, ...]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r)

    def outputs(self, x: Components) -> tuple[Any, ...]:
        """Position, speed, cosine and sine of the angle, its rate."""
        return x[0], x[1], np.cos(x[2]), np.sin(x[2]), x[3]

    def limit(self, x: Components) -> tuple[Any, ...]:
        """Stop the cart at the buffers, bound both speeds and count the angle within ±π."""
        position, speed, angle, spin = x
        _, fastest, _, fastest_spin = self.state_high
        held = bounded(position, self.state_low[0], self.state_high[0])
        kept = np.where(held == position, speed, 0.0)
        # The buffer pushes on the cart alone: (l / 2) q' cos a + (l² / 3) a' is conserved.
        spin = spin + 1.5 / self.parameters.length * np.cos(angle) * (speed - kept)
        return (
            held,
            bounded(kept, -fastest, fastest),
            bounded(angle - 2.0 * np.pi * np.round(angle / (2.0 * np.pi)), -np.pi, np.pi),
            bounded(spin, -fastest_spin, fastest_spin),
        )

    def violations(self, x: Components) -> Mapping[str, Any]:
        """Metres beyond the track limit."""
        return {"position": excess(x[0], -self.track, self.track)}

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Hanging, nearly at rest; uniform in the ranges of the class."""
        state: Array = rng.uniform(-1.0, 1.0, size=4) * np.array([0.5, 0.2, 0.2, 0.2])
        state[2] -= np.copysign(np.pi, state[2])
        return state

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """Uniform in ±0.5 m."""
        return rng.uniform(-0.5, 0.5, size=1)

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw track, buffers, cart and pole, the way of the pole's tip and the set-point."""
        canvas.view((-2.7, 2.7), (-2.7, 2.7))
        q, angle, length = self.state[0], self.state[2], self.parameters.length
        canvas.line(np.array([[-2.6, -0.15], [2.6, -0.15]]), INK, 2)
        for side in (-1.0, 1.0):
            canvas.line(np.array([[side * self.track, -0.3], [side * self.track, 0.3]]), ORANGE)
            canvas.line(np.array([[side * 2.6, -0.15], [side * 2.6, 0.25]]), INK, 6)
        mark, cart = np.array([self.reference[0], 0.0]), np.array([q, 0.0])
        canvas.polygon(mark + np.array([[0.0, -0.2], [-0.1, -0.4], [0.1, -0.4]]), GREEN)
        tips = length * np.c_[np.sin(trail[:, 2]), np.cos(trail[:, 2])]
        tips[:, 0] += trail[:, 0]
        canvas.line(tips[-40:], GRID, 2)
        body = np.array([[-0.2, -0.1], [0.2, -0.1], [0.2, 0.1], [-0.2, 0.1]])
        canvas.polygon(cart + body, BLUE)
        for wheel in (-0.12, 0.12):
            canvas.disc(cart + np.array([wheel, -0.1]), 5, INK)
        pole = np.array([[0.0, 0.0], [length * np.sin(angle), length * np.cos(angle)]])
        canvas.line(cart + pole, ORANGE, 8)
        canvas.disc(cart, 5, INK)


class CartPoleSwingUpVector(ODEVectorEnv):
    """Many copies of :class:`CartPoleSwingUp`."""

    environment = CartPoleSwingUp
