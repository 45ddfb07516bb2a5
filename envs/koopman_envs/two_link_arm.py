"""A two-link arm in the horizontal plane with the proportions of a human arm.

Equations and parameters: W. Li and E. Todorov, "Iterative linear quadratic regulator design for
nonlinear biological movement systems", ICINCO 2004, 222–229. Torque limits, joint ranges and the
weights are chosen here: a reach of one radian takes about 0.7 s with full torque.
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
    """Parameters of the arm, all from Li & Todorov (2004); 1 is the upper arm, 2 the forearm.

    Attributes:
        mass_2: Mass of the forearm in kg.
        length_1: Length of the upper arm in m.
        length_2: Length of the forearm in m.
        center_2: Distance from the elbow to the forearm's centre of mass in m.
        inertia_1: Moment of inertia of the upper arm about the shoulder in kg m².
        inertia_2: Moment of inertia of the forearm about the elbow in kg m².
        friction: Friction of each joint with its own speed in N m s.
        coupled_friction: Friction of each joint with the other's speed in N m s.
    """

    mass_2: float = 1.0
    length_1: float = 0.30
    length_2: float = 0.33
    center_2: float = 0.16
    inertia_1: float = 0.025
    inertia_2: float = 0.045
    friction: float = 0.05
    coupled_friction: float = 0.025


PARAMETERS = Parameters()


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, ...]:
    """Return dx/dt of the state (q1, q2, w1, w2) with joint torques u in N m.

    M(q2) q'' + C(q, q') + B q' = u with M11 = a1 + 2 a2 cos q2, M12 = a3 + a2 cos q2, M22 = a3 and
    C = a2 sin q2 (-w2 (2 w1 + w2), w1²), where a1 = I1 + I2 + m2 l1², a2 = m2 l1 s2, a3 = I2.
    """
    q2, w1, w2 = x[1], x[2], x[3]
    a2 = p.mass_2 * p.length_1 * p.center_2
    bend, pull = a2 * np.cos(q2), a2 * np.sin(q2)
    m11 = p.inertia_1 + p.inertia_2 + p.mass_2 * p.length_1 * p.length_1 + 2.0 * bend
    m12 = p.inertia_2 + bend
    m22 = p.inertia_2
    t1 = u[0] + pull * w2 * (2.0 * w1 + w2) - p.friction * w1 - p.coupled_friction * w2
    t2 = u[1] - pull * w1 * w1 - p.coupled_friction * w1 - p.friction * w2
    determinant = m11 * m22 - m12 * m12
    return (w1, w2, (m22 * t1 - m12 * t2) / determinant, (m11 * t2 - m12 * t1) / determinant)


def joints(x: Components, p: Parameters) -> tuple[Any, Any, Any, Any]:
    """Return the positions (ex, ey, hx, hy) of elbow and hand in m, from the shoulder."""
    whole = x[0] + x[1]
    ex, ey = p.length_1 * np.cos(x[0]), p.length_1 * np.sin(x[0])
    return (ex, ey, ex + p.length_2 * np.cos(whole), ey + p.length_2 * np.sin(whole))


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays.

    Args:
        x: States (..., 4).
        u: Joint torques (..., 2) in N m.
        p: Parameters.

    Returns:
        Time derivatives (..., 4).
    """
    return stacked(rates(components(x), components(u), p))


def cost(x: Components, u: Components, r: Components, p: Parameters) -> Any:
    """10 |h - r|² + 0.01 (w1² + w2²) + 0.01 |u|², with the hand at h and the goal r, both in m."""
    _, _, hx, hy = joints(x, p)
    dx, dy = hx - r[0], hy - r[1]
    effort = x[2] * x[2] + x[3] * x[3] + u[0] * u[0] + u[1] * u[1]
    return 10.0 * (dx * dx + dy * dy) + 0.01 * effort


class TwoLinkArm(ODEEnv):
    """Reach a goal with the hand, with little torque, and rest there.

    * State (q1, q2, w1, w2): shoulder and elbow angle in rad, their speeds in rad/s. Observation:
      the state, the position of the hand in m from the shoulder, and that of the goal.
    * Action in [-1, 1]²: joint torques of up to 1.5 and 1 N m. Time step 0.02 s, four Runge–Kutta
      steps; 150 steps an episode.
    * Reset: at rest, shoulder uniform in -0.5 … 2, elbow in 0.4 … 2.3; the goal is the hand of
      another such posture.
    * Reward: minus :func:`cost`.
    * Constraint: the joints' ranges, shoulder -1 … 2.5 and elbow 0.1 … 2.6, ``violations``
      "shoulder" and "elbow" in rad. An arm of which a joint comes to ±180° is stopped altogether.
    """

    parameters = PARAMETERS
    dt: ClassVar[float] = 0.02
    substeps: ClassVar[int] = 4
    shoulder: ClassVar[tuple[float, float]] = (-1.0, 2.5)
    elbow: ClassVar[tuple[float, float]] = (0.1, 2.6)
    state_low: ClassVar[tuple[float, ...]] = (-1.0, 0.1, -5.0, -5.0)
    state_high: ClassVar[tuple[float, ...]] = (2.5, 2.6, 5.0, 5.0)
    # Bang-bang torques between the stops reach 18 and 34 rad/s.
    observation_low: ClassVar[tuple[float, ...]] = (-np.pi, -np.pi, -30.0, -50.0, -0.9, -0.9)
    observation_high: ClassVar[tuple[float, ...]] = (np.pi, np.pi, 30.0, 50.0, 0.9, 0.9)
    input_low: ClassVar[tuple[float, ...]] = (-1.5, -1.0)
    input_high: ClassVar[tuple[float, ...]] = (1.5, 1.0)
    reference_low: ClassVar[tuple[float, ...]] = (-0.63, -0.63)
    reference_high: ClassVar[tuple[float, ...]] = (0.63, 0.63)

    def rates(self, x: Components, u: Components) -> tuple[Any, ...]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r, self.parameters)

    def limit(self, x: Components) -> tuple[Any, ...]:
        """Stop the whole arm where a joint comes to ±180°."""
        low, high = self.observation_low, self.observation_high
        q1, q2, w1, w2 = (bounded(v, low[i], high[i]) for i, v in enumerate(x))
        free = (abs(q1) < np.pi) & (abs(q2) < np.pi)
        return (q1, q2, np.where(free, w1, 0.0), np.where(free, w2, 0.0))

    def outputs(self, x: Components) -> tuple[Any, ...]:
        """The state and the position of the hand."""
        return (*x, *joints(x, self.parameters)[2:])

    def violations(self, x: Components) -> Mapping[str, Any]:
        """Radians outside each joint's range."""
        return {"shoulder": excess(x[0], *self.shoulder), "elbow": excess(x[1], *self.elbow)}

    def sample_state(self, rng: np.random.Generator) -> Array:
        """A resting posture, uniform in the ranges of the class."""
        return np.array([rng.uniform(-0.5, 2.0), rng.uniform(0.4, 2.3), 0.0, 0.0])

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """The hand of a posture drawn likewise."""
        return np.array(joints(self.sample_state(rng).tolist(), self.parameters)[2:])

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw the reach, the hand's way, the goal and the arm from its fixed shoulder."""
        canvas.view((-0.75, 0.75), (-0.75, 0.75))
        reach = self.parameters.length_1 + self.parameters.length_2
        turn = np.linspace(0.0, 2.0 * np.pi, 100)
        canvas.line(reach * np.stack([np.cos(turn), np.sin(turn)], axis=-1), GRID, 2)
        canvas.line(np.stack(joints(trail.T, self.parameters)[2:], axis=-1), BLUE, 2)
        canvas.disc(self.reference, 13, GREEN, 4)
        ex, ey, hx, hy = joints(self.state, self.parameters)
        shoulder, elbow, hand = np.zeros(2), np.array([ex, ey]), np.array([hx, hy])
        canvas.line(np.stack([shoulder, elbow]), INK, 16)
        canvas.line(np.stack([elbow, hand]), INK, 10)
        for joint, radius in ((shoulder, 14), (elbow, 10), (hand, 9)):
            canvas.disc(joint, radius, ORANGE if joint is hand else INK)
        for joint, radius in ((shoulder, 6), (elbow, 4)):
            canvas.disc(joint, radius, GRID)


class TwoLinkArmVector(ODEVectorEnv):
    """Many copies of :class:`TwoLinkArm`."""

    environment = TwoLinkArm
