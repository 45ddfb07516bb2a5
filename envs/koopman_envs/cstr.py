"""A continuous stirred-tank reactor with an exothermic reaction A → B and a cooling jacket.

Source: B. W. Bequette, "Process Dynamics: Modeling, Analysis, and Simulation" (1998), module 8, a
standard benchmark of nonlinear predictive control. At a coolant of 298 K it has three steady
states; the middle one, where about half of A reacts, is unstable. Coolant range, limit and cost:
chosen here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import BLUE, GREEN, GRID, INK, ORANGE, Canvas
from koopman_envs.integration import Components, components, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """Bequette's reactor.

    Attributes:
        dilution: Flow through the reactor over its volume in 1/h.
        feed_concentration: In kmol/m³.
        feed_temperature: In K.
        frequency: Pre-exponential factor of the reaction in 1/h.
        activation: Activation energy over the gas constant, 11843 / 1.987, in K.
        heat: Heat of reaction over heat capacity, 5960 / 500, in K m³/kmol.
        transfer: Heat transfer to the jacket over heat capacity, 150 / 500, in 1/h.
    """

    dilution: float = 1.0
    feed_concentration: float = 10.0
    feed_temperature: float = 298.0
    frequency: float = 34930800.0
    activation: float = 11843.0 / 1.987
    heat: float = 5960.0 / 500.0
    transfer: float = 150.0 / 500.0


PARAMETERS = Parameters()


def rates(x: Components, u: Components, p: Parameters) -> tuple[Any, Any]:
    """Balances of reactant and heat at coolant temperature T_c.

    c' = D (c_f - c) - k c, T' = D (T_f - T) + H k c + U (T_c - T), k = k0 exp(-E / T).
    """
    concentration, temperature = x
    reaction = p.frequency * np.exp(-p.activation / temperature) * concentration
    warming = p.dilution * (p.feed_temperature - temperature) + p.heat * reaction
    return (
        p.dilution * (p.feed_concentration - concentration) - reaction,
        warming + p.transfer * (u[0] - temperature),
    )


def resting_concentration(temperature: Any, p: Parameters = PARAMETERS) -> Any:
    """Concentration in kmol/m³ at which a reactor kept at a temperature in K comes to rest."""
    speed = p.frequency * np.exp(-p.activation / temperature)
    return p.dilution * p.feed_concentration / (p.dilution + speed)


def holding_input(temperature: Any, p: Parameters = PARAMETERS) -> Any:
    """Coolant temperature that holds the reactor at a temperature, both in K, stable or not."""
    reaction = p.dilution * (p.feed_concentration - resting_concentration(temperature, p))
    warming = p.dilution * (p.feed_temperature - temperature) + p.heat * reaction
    return temperature - warming / p.transfer


def cost(x: Components, u: Components, r: Components) -> Any:
    """((T - r) / 30 K)² + 0.1 ((T_c - T_hold(r)) / 30 K)², zero at the equilibrium of r."""
    off = (x[1] - r[0]) / 30.0
    effort = (u[0] - holding_input(r[0])) / 30.0
    return off * off + 0.1 * effort * effort


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays.

    Args:
        x: States (..., 2): concentration of A in kmol/m³ and temperature in K.
        u: Coolant temperatures (..., 1) in K, with leading dimensions that broadcast to those of x.
        p: Parameters.

    Returns:
        Time derivatives (..., 2) per hour.
    """
    return stacked(rates(components(x), components(u), p))


class CSTR(ODEEnv):
    """Bring the reactor to a temperature, mostly one where it is not stable by itself.

    * Observation (c, T, r): concentration of A in kmol/m³, temperature and its set-point in K.
    * Action in [-1, 1]: coolant temperature, 298 ± 30 K. Time step 0.05 h, one Runge–Kutta step;
      200 steps (10 h) an episode.
    * Reset: near rest at a temperature uniform in 305 … 360 K, c off by up to 0.3 kmol/m³ and T by
      up to 3 K; r uniform in 325 … 360 K. Between 323.5 K and 354.9 K rest is unstable.
    * Reward: minus :func:`cost`.
    * Constraint: T ≤ 370 K, ``violations`` "temperature" in K.
    """

    parameters = PARAMETERS
    dt: ClassVar[float] = 0.05
    hottest: ClassVar[float] = 370.0
    state_low: ClassVar[tuple[float, ...]] = (0.0, 280.0)
    state_high: ClassVar[tuple[float, ...]] = (10.0, 370.0)
    # If all of A reacted at once, c = 10 at 370 K would become 489.2 K; the rest is room for a
    # feed and a heat of reaction of 1.2 times the stated ones.
    observation_low: ClassVar[tuple[float, ...]] = (0.0, 280.0)
    observation_high: ClassVar[tuple[float, ...]] = (12.0, 545.0)
    input_low: ClassVar[tuple[float, ...]] = (268.0,)
    input_high: ClassVar[tuple[float, ...]] = (328.0,)
    reference_low: ClassVar[tuple[float, ...]] = (305.0,)
    reference_high: ClassVar[tuple[float, ...]] = (368.0,)

    def rates(self, x: Components, u: Components) -> tuple[Any, Any]:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r)

    def violations(self, x: Components) -> Mapping[str, Any]:
        """Kelvins above the limit."""
        return {"temperature": np.maximum(x[1] - self.hottest, 0.0)}

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Near rest, as the class says."""
        temperature = rng.uniform(305.0, 360.0)
        rest = np.array([resting_concentration(temperature), temperature])
        off: Array = rng.uniform(-1.0, 1.0, size=2) * np.array([0.3, 3.0])
        return rest + off

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """Uniform in 325 … 360 K."""
        return rng.uniform(325.0, 360.0, size=1)

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw the vessel, hot or cold, its jacket and stirrer, and the temperature so far."""
        canvas.view((0.0, 10.0), (0.0, 10.0))
        self._draw_vessel(canvas)
        low, high = 280.0, 400.0
        frame = np.array([[5.2, 1.0], [5.2, 9.0], [9.6, 9.0], [9.6, 1.0], [5.2, 1.0]])
        lines = ((self.hottest, ORANGE, 3), (self.reference[0], GREEN, 3))
        for level, color, width in lines:
            height = 1.0 + 8.0 * (level - low) / (high - low)
            canvas.line(np.array([[5.2, height], [9.6, height]]), color, width)
        times = 5.2 + 4.4 * np.arange(len(trail)) / 200.0
        heights = 1.0 + 8.0 * (np.minimum(trail[:, 1], high) - low) / (high - low)
        canvas.line(np.c_[times, heights], BLUE, 3)
        canvas.disc(np.array([times[-1], heights[-1]]), 6, BLUE)
        canvas.line(frame, INK, 2)

    def _draw_vessel(self, canvas: Canvas) -> None:
        heat = float(np.clip((self.state[1] - 300.0) / 80.0, 0.0, 1.0))
        content = (int(120 + 120 * heat), int(190 - 120 * heat), int(235 - 195 * heat))
        jacket = np.array([[0.6, 1.6], [4.4, 1.6], [4.4, 6.6], [0.6, 6.6]])
        vessel = np.array([[1.0, 2.1], [4.0, 2.1], [4.0, 8.0], [1.0, 8.0]])
        canvas.polygon(jacket, GRID)
        canvas.polygon(jacket, INK, 2)
        canvas.polygon(vessel, (255, 255, 255))
        canvas.polygon(np.array([[1.0, 2.1], [4.0, 2.1], [4.0, 7.0], [1.0, 7.0]]), content)
        canvas.polygon(vessel, INK, 3)
        canvas.line(np.array([[2.5, 9.2], [2.5, 3.2]]), INK, 4)
        canvas.polygon(np.array([[2.5, 3.2], [1.6, 3.6], [1.6, 2.8]]), INK)
        canvas.polygon(np.array([[2.5, 3.2], [3.4, 3.6], [3.4, 2.8]]), INK)
        # The share of A that has not reacted: dots out of twenty.
        places = np.random.default_rng(0).uniform([1.2, 2.4], [3.8, 6.8], size=(20, 2))
        for place in places[: round(2.0 * self.state[0])]:
            canvas.disc(place, 5, INK)
        canvas.line(np.array([[0.2, 8.6], [1.6, 8.6], [1.6, 8.0]]), INK, 4)
        canvas.line(np.array([[4.0, 2.4], [4.9, 2.4], [4.9, 1.0]]), INK, 4)


class CSTRVector(ODEVectorEnv):
    """Many copies of :class:`CSTR`."""

    environment = CSTR
