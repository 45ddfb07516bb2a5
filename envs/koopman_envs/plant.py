"""What a plant states: parameters, right-hand side, bounds, resets, cost, constraints, picture."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import Canvas
from koopman_envs.integration import Components, runge_kutta

Array = NDArray[np.float64]


class Plant(ABC):
    """The facts about one plant, on components: floats for one copy, arrays (N,) for N copies.

    Methods on components use + - * / and NumPy functions only, so that one copy and many agree to
    the last bit.
    """

    parameters: Any
    """An instance of the plant's frozen dataclass of parameters."""
    dt: ClassVar[float]
    """Seconds between two observations."""
    substeps: ClassVar[int] = 1
    """Runge–Kutta steps per time step."""
    state_low: ClassVar[tuple[float, ...]]
    """A chosen initial state is at least this ..."""
    state_high: ClassVar[tuple[float, ...]]
    """... and at most this."""
    observation_low: ClassVar[tuple[float, ...]]
    """The outputs are at least this whatever the inputs ..."""
    observation_high: ClassVar[tuple[float, ...]]
    """... and at most this."""
    input_low: ClassVar[tuple[float, ...]]
    """Physical input of action -1."""
    input_high: ClassVar[tuple[float, ...]]
    """Physical input of action +1."""
    reference_low: ClassVar[tuple[float, ...]] = ()
    """A reference is at least this ..."""
    reference_high: ClassVar[tuple[float, ...]] = ()
    """... and at most this."""

    @property
    @abstractmethod
    def state(self) -> Array:
        """The current state (n,)."""

    @property
    @abstractmethod
    def reference(self) -> Array:
        """The current reference (q,)."""

    @abstractmethod
    def rates(self, x: Components, u: Components) -> Components:
        """Components of dx/dt at state x with physical input u."""

    @abstractmethod
    def cost(self, x: Components, u: Components, r: Components) -> Any:
        """Cost of one time step at state x with physical input u and reference r."""

    @abstractmethod
    def sample_state(self, rng: np.random.Generator) -> Array:
        """Draw the initial state (n,) of one copy."""

    @abstractmethod
    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw ``self.state`` and ``self.reference``; trail (k, n) holds the states since reset."""

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """Draw the reference (q,) of one copy's episode; zero unless overridden."""
        return np.zeros(len(self.reference_high))

    def advance(self, x: Components, u: Components) -> Components:
        """State one time step later with u held; Runge–Kutta unless overridden."""
        for _ in range(self.substeps):
            x = runge_kutta(self.rates, x, u, self.dt / self.substeps)
        return x

    def limit(self, x: Components) -> Components:
        """Apply hard physical stops to the state after a time step; none by default."""
        return x

    def next_reference(self, r: Components) -> Components:
        """Reference of the next time step; constant by default."""
        return r

    def outputs(self, x: Components) -> Components:
        """What is measured of state x; all of it by default."""
        return x

    def violations(self, x: Components) -> Mapping[str, Any]:
        """By how much state x breaks each named constraint, 0 where it holds; none by default."""
        return {}

    def leaves(self, x: Components) -> Any:
        """Whether state x ends the episode; never by default."""
        return False


def zero_or_uniform(rng: np.random.Generator, high: float) -> Array:
    """Draw a set-point (1,): 0 with probability 1/2, else uniform in [-high, high]."""
    elsewhere = rng.random() < 0.5
    set_point = rng.uniform(-high, high, size=1)  # drawn in any case, so that seeds keep in step
    return set_point if elsewhere else np.zeros(1)
