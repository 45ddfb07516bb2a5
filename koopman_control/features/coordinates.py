"""Coordinates: which numbers of an observation the model describes, and how angles are read.

Sensors often report an angle as (cos, sin). Two numbers for one degree of freedom let a model leave
the circle; so the pair becomes one angle in the state, and features see its cosine and sine again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array

OFF_CIRCLE = 0.5  # generous, for noisy sensors


@dataclass(frozen=True)
class Coordinates:
    """Map from observations y of shape (..., p) to states x of shape (..., d) and back to features.

    Args:
        n_observations: Length p of the observation.
        columns: One entry per state: an observation column, or a pair (cosine column, sine column)
            that is read as an angle in radians.

    Example:
        >>> Coordinates(3, ((0, 1), 2)).state(np.array([0.0, 1.0, 5.0]))  # Pendulum: angle, speed
        array([1.57079633, 5.        ])
    """

    n_observations: int
    columns: tuple[int | tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Reject columns that are missing, repeated or out of range."""
        used = [c for entry in self.columns for c in np.atleast_1d(entry).tolist()]
        allowed = range(self.n_observations)
        if not used or len(set(used)) < len(used) or not set(used) <= set(allowed):
            raise ValueError(
                f"coordinate columns are {self.columns}; expected different numbers between 0 and "
                f"{self.n_observations - 1}, as the observation has {self.n_observations} entries"
            )

    @classmethod
    def of(
        cls,
        n_observations: int,
        states: Sequence[int] | None = None,
        angles: Sequence[tuple[int, int]] = (),
    ) -> Coordinates:
        """Keep the observation columns `states` (None: all); read each (cos, sin) pair as an angle.

        Raises:
            TypeError: If a column is no integer, or an angle no pair of them.
            ValueError: If columns are missing, repeated or out of range.
        """
        try:
            kept = [index(c) for c in (range(n_observations) if states is None else states)]
        except TypeError as error:
            raise TypeError(
                f"states is {states!r}; expected observation columns: [0, 2]"
            ) from error
        try:
            pairs = [(index(c), index(s)) for c, s in angles]
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"angles is {angles!r}; expected (cosine column, sine column) pairs: [(0, 1)]"
            ) from error
        paired = {column for pair in pairs for column in pair}
        entries: list[int | tuple[int, int]] = [c for c in kept if c not in paired]
        return cls(n_observations, tuple(sorted([*entries, *pairs], key=lambda e: np.min(e))))

    @property
    def dim(self) -> int:
        """Number of states d."""
        return len(self.columns)

    @cached_property
    def is_angle(self) -> NDArray[np.bool_]:
        """Which states are angles, shape (d,)."""
        return np.array([isinstance(entry, tuple) for entry in self.columns])

    @cached_property
    def has_angles(self) -> bool:
        """Whether any state is an angle."""
        return bool(self.is_angle.any())

    @property
    def embedded(self) -> tuple[tuple[int, str], ...]:
        """Origin of each feature input, (state, "id" | "cos" | "sin"), in this order, length e."""
        angles = [int(i) for i in np.flatnonzero(self.is_angle)]
        plain = [(int(i), "id") for i in np.flatnonzero(~self.is_angle)]
        return (*plain, *((i, "cos") for i in angles), *((i, "sin") for i in angles))

    def names(self, observation_names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Name the states after the observation's entries; angles are called `angle`."""
        names = observation_names or [f"y{i}" for i in range(self.n_observations)]
        many = int(self.is_angle.sum()) > 1
        return tuple(
            (f"angle{i}" if many else "angle") if isinstance(entry, tuple) else names[entry]
            for i, entry in enumerate(self.columns)
        )

    def check_circles(self, observation: Array) -> None:
        """Raise a ValueError if an angle's columns of observations (T, p) leave the circle."""
        for cosine, sine in (e for e in self.columns if isinstance(e, tuple)):
            radius = np.hypot(observation[:, cosine], observation[:, sine])
            row = int(np.argmax(np.abs(radius - 1.0)))
            if abs(radius[row] - 1.0) > OFF_CIRCLE:
                raise ValueError(
                    f"angles names columns ({cosine}, {sine}), but in row {row} they lie "
                    f"{radius[row]:.3g} from zero; expected a cosine and a sine, 1 from zero"
                )

    def state(self, observation: Array) -> Array:
        """Read the state from observations, shape (..., p) to (..., d); angles in (-pi, pi]."""
        x = [
            np.arctan2(observation[..., e[1]], observation[..., e[0]])
            if isinstance(e, tuple)
            else observation[..., e]
            for e in self.columns
        ]
        return np.stack(x, axis=-1)

    def bounds(self, observation_bounds: Array) -> Array:
        """Carry observation bounds (2, p) over to states, shape (2, d); angles have none."""
        unbounded = (-np.inf, np.inf)
        columns = [
            unbounded if isinstance(e, tuple) else tuple(observation_bounds[:, e])
            for e in self.columns
        ]
        return np.array(columns, dtype=np.float64).T

    def wrapped_difference(self, x_next: Array, x: Array) -> Array:
        """Return x_next - x with angle differences in [-pi, pi], shape (..., d)."""
        return self.wrap(x_next - x)

    def wrap(self, difference: Array) -> Array:
        """Bring the angle entries of a difference of states into [-pi, pi], shape (..., d)."""
        if not self.has_angles:
            return difference
        return difference - np.where(
            self.is_angle, 2.0 * np.pi * np.round(difference / (2.0 * np.pi)), 0.0
        )
