"""The forced Korteweg–de Vries equation on a ring, with 128 points and three actuators.

Source: M. Korda and I. Mezić, "Linear predictors for nonlinear dynamical systems: Koopman operator
meets model predictive control", Automatica 93 (2018), 149–160: equation, mesh, time step,
actuators, initial profiles and cost. There the bumps around ±π/2 jump where the ring closes; here
they are continued periodically.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import BLUE, GREEN, GRID, INK, ORANGE, Canvas
from koopman_envs.integration import Components, components, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.ring import (
    DERIVATIVE,
    KEPT,
    MESH,
    POINTS,
    Spectrum,
    bump,
    flow,
    lawson_step,
    matrix,
)
from koopman_envs.vector import ODEVectorEnv

Array = NDArray[np.float64]

THIRD_DERIVATIVE: Array = matrix(DERIVATIVE**3)
PRODUCT_RATE: Array = matrix(-0.5 * DERIVATIVE * KEPT)
"""From y² to -(y²)_x/2 = -y y_x, (128, 128)."""
ACTUATORS: Array = np.stack([bump(center, 25.0) for center in (-0.5 * np.pi, 0.0, 0.5 * np.pi)])
"""Spatial profiles of the actuators, (3, 128)."""
FORCING: Spectrum = np.fft.rfft(ACTUATORS)
PROFILES: Array = np.stack(
    [bump(0.5 * np.pi, 1.0), -(np.sin(0.5 * MESH) ** 2), bump(-0.5 * np.pi, 1.0)]
)
"""Profiles whose convex combinations are the initial states, (3, 128)."""


@dataclass(frozen=True)
class Parameters:
    """Coefficients of y_t + a y y_x + b y_xxx = sum of u_i v_i(x), all 1 in the source.

    Attributes:
        advection: a.
        dispersion: b.
        forcing: Factor of all actuators.
    """

    advection: float = 1.0
    dispersion: float = 1.0
    forcing: float = 1.0


PARAMETERS = Parameters()


def rates(x: Components, u: Components, p: Parameters) -> list[Any]:
    """Return dy/dt at the 128 points for the strengths u of the actuators.

    The derivatives are those of the trigonometric interpolant.
    """
    y = _column(x)
    linear = -p.dispersion * np.tensordot(THIRD_DERIVATIVE, y, axes=1)
    product = p.advection * np.tensordot(PRODUCT_RATE, y * y, axes=1)
    forcing = p.forcing * np.tensordot(ACTUATORS.T, _column(u), axes=1)
    return [a + b + c for a, b, c in zip(linear, product, forcing, strict=True)]


def dynamics(x: Array, u: Array, p: Parameters = PARAMETERS) -> Array:
    """:func:`rates` on arrays.

    Args:
        x: Heights at the points (..., 128).
        u: Strengths of the actuators (..., 3).
        p: Parameters.

    Returns:
        Time derivatives (..., 128).
    """
    return stacked(rates(components(x), components(u), p))


def cost(x: Components, u: Components, r: Components) -> Any:
    """Mean of (y - r)² over the points; the input costs nothing, as in the source."""
    return sum((y - r[0]) * (y - r[0]) for y in x) / POINTS


def _column(parts: Components) -> NDArray[Any]:
    """Stack components along the first axis: numbers as floats, symbols as they are."""
    if isinstance(parts[0], float | np.ndarray):
        return np.array(parts, dtype=np.float64)
    return np.fromiter(parts, dtype=object, count=len(parts))


def _forcing(u: Components, p: Parameters) -> Spectrum:
    """Return the spectrum of the sum of u_i v_i, added in a fixed order."""
    first, second, third = (np.asarray(a)[..., None] * v for a, v in zip(u, FORCING, strict=True))
    spectrum: Spectrum = p.forcing * (first + second + third)
    return spectrum


class KortewegDeVries(ODEEnv):
    """Bring waves on a ring to rest at a uniform height by pushing at three places.

    * State: heights y (128,) at :data:`~koopman_envs.ring.MESH`, without units, as the equation;
      time is called seconds. Observation: the heights and the wanted height r.
    * Action in [-1, 1]³: strengths of the actuators exp(-25 (x - c)²), c = -π/2, 0, π/2. Time step
      0.01 s, eight exponential steps; 1000 steps an episode.
    * Reset: convex combination, uniform on the simplex, of three profiles; r uniform in 0 … 0.75.
      Only the actuators change the mean height, each by at most 0.056 a second.
    * Reward: minus :func:`cost`.
    * Heights are held within ±5, which no input reaches within an episode.
    """

    parameters = PARAMETERS
    dt: ClassVar[float] = 0.01
    substeps: ClassVar[int] = 8
    state_low: ClassVar[tuple[float, ...]] = (-2.0,) * POINTS
    state_high: ClassVar[tuple[float, ...]] = (2.0,) * POINTS
    observation_low: ClassVar[tuple[float, ...]] = (-5.0,) * POINTS
    observation_high: ClassVar[tuple[float, ...]] = (5.0,) * POINTS
    input_low: ClassVar[tuple[float, ...]] = (-1.0, -1.0, -1.0)
    input_high: ClassVar[tuple[float, ...]] = (1.0, 1.0, 1.0)
    reference_low: ClassVar[tuple[float, ...]] = (0.0,)
    reference_high: ClassVar[tuple[float, ...]] = (0.75,)

    def rates(self, x: Components, u: Components) -> Components:
        """See :func:`rates` of this module."""
        return rates(x, u, self.parameters)

    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """See :func:`cost` of this module."""
        return cost(x, u, r)

    def advance(self, x: Components, u: Components) -> Components:
        """State one time step later, by the exponential integrator."""
        p = self.parameters
        exact = flow(p.dispersion, self.dt / self.substeps)
        # By copy, with the points last: every copy then goes through the same one-dimensional FFT.
        wave = np.fft.rfft(np.ascontiguousarray(_column(x).T))
        force = _forcing(u, p)
        for _ in range(self.substeps):
            wave = lawson_step(wave, force, p.advection, exact)
        return np.fft.irfft(wave).T

    def limit(self, x: Components) -> Components:
        """Hold the heights within the bounds of the observation."""
        return np.clip(x, self.observation_low[0], self.observation_high[0])

    def sample_state(self, rng: np.random.Generator) -> Array:
        """Convex combination of the profiles."""
        state: Array = rng.dirichlet(np.ones(len(PROFILES))) @ PROFILES
        return state

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """Uniform in 0 … 0.75."""
        return rng.uniform(0.0, 0.75, size=1)

    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw the wave over the wanted height and the actuators, its past receding behind it."""
        canvas.view((-np.pi, np.pi), (-1.2, 2.8))
        for age in range(min(len(trail) - 1, 300) // 25, 0, -1):
            lift = np.full(POINTS, 0.15 * age)
            canvas.line(np.stack([MESH, trail[-1 - 25 * age] + lift], axis=-1), GRID, 2)
        for shape in ACTUATORS:
            canvas.line(np.stack([MESH, 0.3 * shape - 1.15], axis=-1)[shape > 1e-3], ORANGE, 3)
        canvas.line(np.array([[-np.pi, 0.0], [np.pi, 0.0]]), INK)
        wanted = self.reference[0]
        canvas.line(np.array([[-np.pi, wanted], [np.pi, wanted]]), GREEN, 3)
        canvas.line(np.stack([MESH, self.state], axis=-1), BLUE, 4)


class KortewegDeVriesVector(ODEVectorEnv):
    """Many copies of :class:`KortewegDeVries`."""

    environment = KortewegDeVries
