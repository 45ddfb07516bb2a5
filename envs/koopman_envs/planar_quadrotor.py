"""A quadrotor in the vertical plane: two rotors have to hold, tilt and carry six states.

Equations and parameters: the planar quadrotor of Drake and of R. Tedrake, "Underactuated Robotics",
whose numbers are those of H. Bouadi, M. Bouchoucha and M. Tadjine, "Sliding mode control based on
backstepping approach for an UAV type-quadrotor", 2007. Thrust limits, box and tasks: chosen here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.border import checked
from koopman_envs.drawing import BLUE, GREEN, GRID, INK, ORANGE, Canvas
from koopman_envs.integration import Components, components, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.stops import bounded, excess, stopped
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]
Trajectory = Literal["waypoint", "figure_eight"]

PERIOD = 6.0
"""Seconds for one round of the figure eight."""


@dataclass(frozen=True)
class Parameters:
    """Parameters of the planar quadrotor, all from Bouadi et al. (2007).

    Attributes:
        mass: In kg.
        inertia: Moment of inertia about the centre of mass in kg m².
        arm: Distance from the centre of mass to a rotor in m.
        gravity: Gravitational acceleration in m/s².
    """

    mass: float = 0.486
    inertia: float = 0.00383
    arm: float = 0.25
    gravity: float = 9.81


PARAMETERS = Parameters()
HOVER = 0.5 * PARAMETERS.mass * PARAMETERS.gravity
"""Thrust of each rotor that holds the weight, in N."""


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, ...]:
    """Return dx/dt of the state (px, pz, a, vx, vz, w) with rotor thrusts u = (left, right) in N.

    px'' = -(u1 + u2) sin(a)/m, pz'' = (u1 + u2) cos(a)/m - g, a'' = l (u2 - u1)/I. A positive pitch
    angle a lifts the right rotor and pushes the vehicle to the left.
    """
    lift = (u[0] + u[1]) / p.mass
    turn = p.arm / p.inertia * (u[1] - u[0])
    return (x[3], x[4], x[5], -lift * np.sin(x[2]), lift * np.cos(x[2]) - p.gravity, turn)


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays.

    Args:
        x: States (..., 6).
        u: Rotor thrusts (..., 2) in N.
        p: Parameters.

    Returns:
        Time derivatives (..., 6).
    """
    return stacked(rates(components(x), components(u), p))


def cost(x: Components, u: Components, r: Components) -> Any:
    """|p - p_r|² + 0.1 |v - v_r|² + 0.1 a² + 0.01 w² + 0.05 |u/HOVER - 1|².

    Zero exactly when the vehicle hovers at a resting waypoint r = (px, pz, vx, vz).
    """
    dx, dz, dvx, dvz = x[0] - r[0], x[1] - r[1], x[3] - r[2], x[4] - r[3]
    left, right = u[0] / HOVER - 1.0, u[1] / HOVER - 1.0
    path = dx * dx + dz * dz + 0.1 * (dvx * dvx + dvz * dvz)
    return path + 0.1 * x[2] * x[2] + 0.01 * x[5] * x[5] + 0.05 * (left * left + right * right)


def figure_eight(phase: Any) -> tuple[Any, ...]:
    """Return reference (px, pz, vx, vz) of the lying eight at a phase in rad, 2π for one round."""
    w = 2.0 * np.pi / PERIOD
    sine, cosine = np.sin(phase), np.cos(phase)
    return (sine, sine * cosine, w * cosine, w * (cosine * cosine - sine * sine))


class PlanarQuadrotor(ODEEnv):
    """Fly to a waypoint, or along a figure eight, within a box of ±1.5 m.

    * State (px, pz, a, vx, vz, w): position in m from the middle of the box, pitch angle in rad and
      their rates. Observation: the state and the reference (px, pz, vx, vz).
    * Action in [-1, 1]²: thrust of the left and right rotor from 0 to the whole weight (4.77 N), so
      that zero hovers. Time step 0.02 s, two Runge–Kutta steps; 300 steps an episode.
    * Reset: position uniform in ±1 m, pitch in ±0.3 rad, speeds in ±0.5 m/s and ±0.5 rad/s; a
      resting waypoint uniform in ±1.2 m, or a uniform phase of the eight, one round in 6 s.
    * Reward: minus :func:`cost`.
    * Constraint: the box, ``violations`` "px" and "pz" in m. Behind it a net at ±3 m and a gimbal
      at ±90° stop the motion they face.

    Args:
        render_mode: None, "rgb_array" or "human".
        trajectory: "waypoint" or "figure_eight"; on the eight, a reference chosen at reset only
            sets the phase.
        **options: See :class:`~koopman_envs.ode.ODEEnv`.
    """

    parameters = PARAMETERS
    dt: ClassVar[float] = 0.02
    substeps: ClassVar[int] = 2
    box: ClassVar[float] = 1.5
    state_low: ClassVar[tuple[float, ...]] = (-1.5, -1.5, -1.0, -3.0, -3.0, -5.0)
    state_high: ClassVar[tuple[float, ...]] = (1.5, 1.5, 1.0, 3.0, 3.0, 5.0)
    # Twice the distance between the stops times the largest acceleration bounds a squared speed.
    observation_low: ClassVar[tuple[float, ...]] = (-3.0, -3.0, -0.5 * np.pi, -17.0, -17.0, -55.0)
    observation_high: ClassVar[tuple[float, ...]] = (3.0, 3.0, 0.5 * np.pi, 17.0, 17.0, 55.0)
    input_low: ClassVar[tuple[float, ...]] = (0.0, 0.0)
    input_high: ClassVar[tuple[float, ...]] = (2.0 * HOVER, 2.0 * HOVER)
    reference_low: ClassVar[tuple[float, ...]] = (-1.2, -1.2, -1.2, -1.2)
    reference_high: ClassVar[tuple[float, ...]] = (1.2, 1.2, 1.2, 1.2)

    @checked
    def __init__(
        self,
        render_mode: str | None = None,
        *,
        trajectory: Trajectory = "waypoint",
        **options: Any,
    ) -> None:
        self.trajectory = trajectory
        super().__init__(render_mode, **options)

    def rates(self, x: Components, u: Components) -> tuple[Any, ...]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r)

    def limit(self, x: Components) -> tuple[Any, ...]:
        """Stop the vehicle at the net and its pitch at the gimbal."""
        low, high = self.observation_low, self.observation_high
        px, vx = stopped(x[0], x[3], low[0], high[0])
        pz, vz = stopped(x[1], x[4], low[1], high[1])
        a, w = stopped(x[2], x[5], low[2], high[2])
        speeds = [bounded(v, low[i], high[i]) for i, v in ((3, vx), (4, vz), (5, w))]
        return (px, pz, a, *speeds)

    def violations(self, x: Components) -> Mapping[str, Any]:
        """Metres outside the box, in each direction."""
        return {"px": excess(x[0], -self.box, self.box), "pz": excess(x[1], -self.box, self.box)}

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Uniform in the ranges of the class."""
        high = np.array([1.0, 1.0, 0.3, 0.5, 0.5, 0.5])
        return rng.uniform(-high, high)

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """A resting waypoint or a point of the eight."""
        if self.trajectory == "figure_eight":
            return stacked(figure_eight(rng.uniform(-np.pi, np.pi)))
        return np.append(rng.uniform(-1.2, 1.2, size=2), np.zeros(2))

    def next_reference(self, r: Components) -> Components:
        """The point of the eight one time step later; a waypoint stays."""
        if self.trajectory == "waypoint":
            return r
        w = 2.0 * np.pi / PERIOD
        return figure_eight(np.arctan2(r[0], r[2] / w) + w * self.dt)

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw the box, the way so far, the target and the vehicle with its rotors."""
        canvas.view((-2.0, 2.0), (-2.0, 2.0))
        corners = self.box * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
        canvas.line(corners, INK, 3)
        if self.trajectory == "figure_eight":
            round_trip = np.linspace(0.0, 2.0 * np.pi, 100)
            canvas.line(np.stack(figure_eight(round_trip)[:2], axis=-1), GRID, 3)
        canvas.line(trail[:, :2], BLUE, 2)
        canvas.disc(self.reference[:2], 11, GREEN, 3)
        center, a = self.state[:2], self.state[2]
        along, up = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
        span = self.parameters.arm * along
        canvas.line(np.stack([center - span, center + span]), INK, 6)
        for hub in (center - span, center + span):
            rotor = hub + 0.08 * up
            canvas.line(np.stack([hub, rotor]), INK, 3)
            canvas.line(np.stack([rotor - 0.14 * along, rotor + 0.14 * along]), ORANGE, 4)
        canvas.disc(center, 8, INK)


class PlanarQuadrotorVector(ODEVectorEnv):
    """Many copies of :class:`PlanarQuadrotor`."""

    environment = PlanarQuadrotor
