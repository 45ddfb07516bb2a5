"""The quadruple-tank process: two pumps fill four tanks, crosswise.

Source: K. H. Johansson, "The quadruple-tank process: a multivariable laboratory process with an
adjustable zero", IEEE Transactions on Control Systems Technology 8 (2000), 456–465. Limits of the
levels and voltages, cost: chosen here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.border import checked
from koopman_envs.drawing import BLUE, GREEN, INK, ORANGE, Canvas
from koopman_envs.integration import Components, components, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.stops import bounded, excess
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]
Phase = Literal["minimum", "non_minimum"]
WATER = (120, 190, 235)


@dataclass(frozen=True)
class Parameters:
    """Johansson's process at the operating point where it is minimum phase.

    Attributes:
        area_left: Cross-section of tanks 1 and 3 in cm².
        area_right: Cross-section of tanks 2 and 4 in cm².
        outlet_left: Cross-section of the outlet holes of tanks 1 and 3 in cm².
        outlet_right: Cross-section of the outlet holes of tanks 2 and 4 in cm².
        gravity: Gravitational acceleration in cm/s².
        pump_left: Flow of pump 1 in cm³/(V s).
        pump_right: Flow of pump 2 in cm³/(V s).
        valve_left: Share of pump 1 that goes to tank 1; the rest goes to tank 4.
        valve_right: Share of pump 2 that goes to tank 2; the rest goes to tank 3.
        laminar: Level in cm about which outflow turns from proportional to the level into
            proportional to its square root (Torricelli). Johansson has the square root alone,
            infinitely stiff in an empty tank; from 1.4 cm on the two differ by less than 0.13 %.
    """

    area_left: float = 28.0
    area_right: float = 32.0
    outlet_left: float = 0.071
    outlet_right: float = 0.057
    gravity: float = 981.0
    pump_left: float = 3.33
    pump_right: float = 3.35
    valve_left: float = 0.70
    valve_right: float = 0.60
    laminar: float = 0.1


PARAMETERS: dict[Phase, Parameters] = {
    "minimum": Parameters(),
    "non_minimum": Parameters(pump_left=3.14, pump_right=3.29, valve_left=0.43, valve_right=0.34),
}


def outflow(outlet: float, level: Any, p: Parameters) -> Any:
    """Flow in cm³/s out of a hole of outlet cm² under level cm of water."""
    bend = np.sqrt(np.sqrt(level * level + p.laminar * p.laminar))
    return outlet * (2.0 * p.gravity) ** 0.5 * level / bend


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, ...]:
    """Mass balances of four levels: tank 3 drains into tank 1, tank 4 into tank 2."""
    from_1, from_2 = outflow(p.outlet_left, x[0], p), outflow(p.outlet_right, x[1], p)
    from_3, from_4 = outflow(p.outlet_left, x[2], p), outflow(p.outlet_right, x[3], p)
    left, right = p.pump_left * u[0], p.pump_right * u[1]
    return (
        (from_3 - from_1 + p.valve_left * left) / p.area_left,
        (from_4 - from_2 + p.valve_right * right) / p.area_right,
        ((1.0 - p.valve_right) * right - from_3) / p.area_left,
        ((1.0 - p.valve_left) * left - from_4) / p.area_right,
    )


def holding_input(r: Components, p: Parameters) -> tuple[Any, Any]:
    """Pump voltages that hold the lower tanks at levels r in cm, if within 0 … 6 V."""
    out_1, out_2 = outflow(p.outlet_left, r[0], p), outflow(p.outlet_right, r[1], p)
    mixing = p.valve_left + p.valve_right - 1.0
    left = (p.valve_right * out_1 - (1.0 - p.valve_right) * out_2) / mixing
    right = (p.valve_left * out_2 - (1.0 - p.valve_left) * out_1) / mixing
    return left / p.pump_left, right / p.pump_right


def steady_levels(u: Components, p: Parameters) -> tuple[Any, ...]:
    """Levels of the four tanks, in cm, at rest under pump voltages u: the zero of :func:`rates`."""
    left, right = p.pump_left * u[0], p.pump_right * u[1]
    to_3, to_4 = (1.0 - p.valve_right) * right, (1.0 - p.valve_left) * left
    to_1, to_2 = p.valve_left * left + to_3, p.valve_right * right + to_4
    a, b = p.outlet_left, p.outlet_right
    return tuple(_level(jet, p) for jet in (to_1 / a, to_2 / b, to_3 / a, to_4 / b))


def _level(jet: Any, p: Parameters) -> Any:
    # outflow / outlet = jet solved for the level: h⁴ = head² (h² + laminar²), head Torricelli's.
    head = jet * jet / (2.0 * p.gravity)
    square = head * head
    return np.sqrt(0.5 * (square + np.sqrt(square * (square + 4.0 * p.laminar * p.laminar))))


def cost(x: Components, u: Components, r: Components, p: Parameters) -> Any:
    """|(h1, h2) - r|² / (5 cm)² + 0.01 |u - u_hold(r)|² / V², zero at the equilibrium of r."""
    left, right = x[0] - r[0], x[1] - r[1]
    hold_left, hold_right = holding_input(r, p)
    effort_left, effort_right = u[0] - hold_left, u[1] - hold_right
    effort = effort_left * effort_left + effort_right * effort_right
    return (left * left + right * right) / 25.0 + 0.01 * effort


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS["minimum"]) -> Array:
    """:func:`rates` on arrays.

    Args:
        x: States (..., 4): levels in cm of tanks 1 and 2 (below), 3 and 4 (above).
        u: Voltages (..., 2) of the pumps, with leading dimensions that broadcast to those of x.
        p: Parameters.

    Returns:
        Time derivatives (..., 4) in cm/s.
    """
    return stacked(rates(components(x), components(u), p))


class QuadrupleTank(ODEEnv):
    """Bring the two lower tanks to their set-points by two pumps that act crosswise.

    * Observation (h1, h2, h3, h4, r1, r2): levels in cm and the set-points of h1 and h2.
    * Action in [-1, 1]²: pump voltages 0 … 6 V. Time step 5 s, five Runge–Kutta steps; 120 steps
      (10 min) an episode.
    * Reset: h1, h2 uniform in 5 … 15 cm, h3, h4 in 1 … 5 cm; set-points that belong to voltages
      uniform in 2.5 … 3.4 V. A set-point chosen freely may need more than the pumps can do.
    * Reward: minus :func:`cost`.
    * Constraints: 0.5 cm ≤ level ≤ 18 cm, ``violations`` "tank_1" … "tank_4" in cm. A tank is 20 cm
      high and overflows.

    Args:
        render_mode: None, "rgb_array" or "human".
        phase: "minimum", Johansson's valves with zeros in the left half-plane, or "non_minimum",
            more water to the upper tanks: one zero in the right half-plane, levels that first move
            the wrong way.
        **options: See :class:`~koopman_envs.ode.ODEEnv`.
    """

    parameters = PARAMETERS["minimum"]
    dt: ClassVar[float] = 5.0
    substeps: ClassVar[int] = 5
    level_low: ClassVar[float] = 0.5
    level_high: ClassVar[float] = 18.0
    state_low: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0, 0.0)
    state_high: ClassVar[tuple[float, ...]] = (20.0, 20.0, 20.0, 20.0)
    observation_low: ClassVar[tuple[float, ...]] = state_low
    observation_high: ClassVar[tuple[float, ...]] = state_high
    input_low: ClassVar[tuple[float, ...]] = (0.0, 0.0)
    input_high: ClassVar[tuple[float, ...]] = (6.0, 6.0)
    reference_low: ClassVar[tuple[float, ...]] = (1.0, 1.0)
    reference_high: ClassVar[tuple[float, ...]] = (18.0, 18.0)

    @checked
    def __init__(
        self, render_mode: str | None = None, *, phase: Phase = "minimum", **options: Any
    ) -> None:
        self.nominal = self.parameters = PARAMETERS[phase]
        super().__init__(render_mode, **options)

    def rates(self, x: Components, u: Components) -> tuple[Any, ...]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module; the holding voltages are those without mismatch."""
        return cost(x, u, r, self.nominal)

    def limit(self, x: Components) -> tuple[Any, ...]:
        """Let full tanks overflow."""
        return tuple(bounded(h, 0.0, high) for h, high in zip(x, self.state_high, strict=True))

    def violations(self, x: Components) -> Mapping[str, Any]:
        """Centimetres outside the limits of each level."""
        low, high = self.level_low, self.level_high
        return {f"tank_{i}": excess(h, low, high) for i, h in enumerate(x, start=1)}

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Uniform in the ranges of the class."""
        return rng.uniform([5.0, 5.0, 1.0, 1.0], [15.0, 15.0, 5.0, 5.0])

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """Levels at rest under voltages uniform in 2.5 … 3.4 V."""
        levels = steady_levels(rng.uniform(2.5, 3.4, size=2), self.nominal)
        return np.array(levels[:2])

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw tanks with their water, set-points, limits, pumps and the pipes that cross."""
        canvas.view((-1.0, 11.0), (-1.0, 11.0))
        corners = np.array([[2.0, 1.0], [6.0, 1.0], [2.0, 6.0], [6.0, 6.0]])
        pipes = (
            ([0.6, 0.2], [0.6, 10.2], [7.2, 10.2], [7.2, 9.6], BLUE),
            ([0.6, 4.9], [2.6, 4.9], [2.6, 4.6], [2.6, 4.6], BLUE),
            ([9.4, 0.2], [9.4, 10.6], [2.8, 10.6], [2.8, 9.6], INK),
            ([9.4, 4.9], [7.4, 4.9], [7.4, 4.6], [7.4, 4.6], INK),
        )
        for *points, color in pipes:
            canvas.line(np.array(points), color, 3)
        for corner, level in zip(corners, self.state, strict=True):
            self._draw_tank(canvas, corner, level)
        for corner, level in zip(corners, self.reference, strict=False):
            canvas.line(corner + np.array([[-0.2, level / 6.0], [2.2, level / 6.0]]), GREEN, 4)
        for x, color in ((0.6, BLUE), (9.4, INK)):
            canvas.disc(np.array([x, 0.2]), 16, color)
            canvas.disc(np.array([x, 0.2]), 7, (255, 255, 255))

    def _draw_tank(self, canvas: Canvas, corner: Array, level: float) -> None:
        right, top, water = 2.0, 20.0 / 6.0, level / 6.0
        canvas.polygon(corner + np.array([[0, 0], [right, 0], [right, water], [0, water]]), WATER)
        for bound in (self.level_low / 6.0, self.level_high / 6.0):
            canvas.line(corner + np.array([[0.0, bound], [right, bound]]), ORANGE)
        canvas.line(corner + np.array([[0, top], [0, 0], [right, 0], [right, top]]), INK, 3)
        canvas.line(corner + np.array([[1.0, 0.0], [1.0, -0.7]]), WATER, 4)


class QuadrupleTankVector(ODEVectorEnv):
    """Many copies of :class:`QuadrupleTank`."""

    environment = QuadrupleTank
