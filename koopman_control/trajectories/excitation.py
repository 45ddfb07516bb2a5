"""Input signals that make a system show what it does.

Every signal is a small frozen dataclass with ``sample(n_steps, low, high, rng)``, which returns
(n_steps, m) inputs within the box [low, high]; all randomness comes from the generator given.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import lfilter, max_len_seq

from koopman_control.common import Array, finite_array, positive_float, positive_int
from koopman_control.common.border import check_fields, checked


@runtime_checkable
class Signal(Protocol):
    """An input signal drawn at random."""

    def sample(
        self, n_steps: int, low: ArrayLike, high: ArrayLike, rng: np.random.Generator
    ) -> Array:
        """Draw (n_steps, m) inputs within the box [low, high], each bound (m,)."""
        ...


@dataclass(frozen=True)
class HeldUniform:
    """Uniform in the box, each value held for a while; hold=1 is white noise.

    Args:
        hold: Steps that a value is held, or (shortest, longest), drawn uniformly for each value.
    """

    hold: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        """Check the range of holds."""
        check_fields(self)
        shortest, longest = self._range()
        positive_int("hold", shortest)
        positive_int("hold", longest, minimum=shortest)

    @checked
    def sample(
        self, n_steps: int, low: ArrayLike, high: ArrayLike, rng: np.random.Generator
    ) -> Array:
        """Draw (n_steps, m) inputs."""
        low, high = _asked(n_steps, low, high)
        shortest, longest = self._range()
        pieces = -(-n_steps // shortest)  # enough even if every value is held the shortest time
        holds = rng.integers(shortest, longest, size=pieces, endpoint=True)
        values = rng.uniform(low, high, size=(pieces, len(low)))
        return np.clip(np.repeat(values, holds, axis=0)[:n_steps], low, high)

    def _range(self) -> tuple[int, int]:
        return self.hold if isinstance(self.hold, tuple) else (self.hold, self.hold)


@dataclass(frozen=True)
class Multisine:
    """A sum of harmonics with equal amplitudes and random phases that just fills the box.

    Args:
        n_harmonics: How many: frequencies 1/period … n_harmonics/period per step.
        period: Steps after which the signal repeats; above 2 n_harmonics.
    """

    n_harmonics: int = 10
    period: int = 200

    def __post_init__(self) -> None:
        """Check that the highest harmonic is below half the sampling rate."""
        check_fields(self)
        positive_int("n_harmonics", self.n_harmonics)
        positive_int("period", self.period, minimum=2 * self.n_harmonics + 1)

    @checked
    def sample(
        self, n_steps: int, low: ArrayLike, high: ArrayLike, rng: np.random.Generator
    ) -> Array:
        """Draw (n_steps, m) inputs."""
        low, high = _asked(n_steps, low, high)
        phases = rng.uniform(0.0, 2.0 * np.pi, size=(self.n_harmonics, len(low)))
        harmonics = np.arange(1, self.n_harmonics + 1)
        angles = 2.0 * np.pi * np.outer(np.arange(self.period), harmonics) / self.period
        wave = np.cos(angles[:, :, None] + phases).sum(axis=1)
        wave /= np.abs(wave).max(axis=0)
        steps = np.arange(n_steps) % self.period
        return _stretch(wave[steps], low, high)


@dataclass(frozen=True)
class PRBS:
    """A pseudo-random binary sequence of maximum length, between the two ends of the box.

    Args:
        hold: Steps that every bit is held.
    """

    hold: int = 1

    def __post_init__(self) -> None:
        """Check the hold."""
        check_fields(self)
        positive_int("hold", self.hold)

    @checked
    def sample(
        self, n_steps: int, low: ArrayLike, high: ArrayLike, rng: np.random.Generator
    ) -> Array:
        """Draw (n_steps, m) inputs."""
        low, high = _asked(n_steps, low, high)
        length = -(-n_steps // self.hold)
        register = max(5, int(length).bit_length(), len(low).bit_length())
        # Every start but zero gives the same sequence shifted; different ones for the m inputs.
        starts = 1 + rng.choice(2**register - 1, size=len(low), replace=False)
        bits = np.empty((length, len(low)))
        for i, start in enumerate(starts):
            state = np.array([(start >> k) & 1 for k in range(register)], dtype=np.int8)
            bits[:, i] = max_len_seq(register, state=state, length=length)[0]
        return _stretch(2.0 * np.repeat(bits, self.hold, axis=0)[:n_steps] - 1.0, low, high)


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """Coloured noise about the middle of the box, clipped to the box.

    Args:
        correlation_steps: Steps after which the correlation has fallen to 1/e.
        scale: Standard deviation before clipping, in half-widths of the box.
    """

    correlation_steps: float = 10.0
    scale: float = 0.5

    def __post_init__(self) -> None:
        """Check both settings."""
        check_fields(self)
        positive_float("correlation_steps", self.correlation_steps)
        positive_float("scale", self.scale)

    @checked
    def sample(
        self, n_steps: int, low: ArrayLike, high: ArrayLike, rng: np.random.Generator
    ) -> Array:
        """Draw (n_steps, m) inputs."""
        low, high = _asked(n_steps, low, high)
        decay = np.exp(-1.0 / self.correlation_steps)
        noise = rng.standard_normal((n_steps, len(low)))
        # The first value has the stationary deviation, so there is no run-in.
        noise[1:] *= np.sqrt(1.0 - decay**2)
        noise = lfilter([1.0], [1.0, -decay], noise, axis=0)
        return _stretch(self.scale * noise, low, high)


def _asked(n_steps: int, low: ArrayLike, high: ArrayLike) -> tuple[Array, Array]:
    positive_int("n_steps", n_steps, minimum=0)
    lows, highs = finite_array("low", low, ndim=1), finite_array("high", high, ndim=1)
    if lows.shape != highs.shape or not len(lows):
        raise ValueError(
            f"low has shape {lows.shape}, high has {highs.shape}; expected one number per input"
        )
    if (lows > highs).any():
        raise ValueError(f"low is {lows}, high is {highs}; expected low at most high")
    return lows, highs


def _stretch(unit: Array, low: Array, high: Array) -> Array:
    """Map [-1, 1] onto the box, clipping what lies outside."""
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    return np.clip(middle + half * unit, low, high)
