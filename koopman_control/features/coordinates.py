"""Coordinates: which numbers of an observation the model describes, and how angles are read.

Sensors often report an angle as (cos, sin). Two numbers for one degree of freedom let a model leave
the circle; so the pair becomes one angle in the state, and features see its cosine and sine again.
An angle reported in radians, in turns past each other or jumping at pi, is treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array

Angle = int | tuple[int, int]  # a column in radians, or (cosine column, sine column)

OFF_CIRCLE = 0.5  # generous, for noisy sensors
ON_CIRCLE = 1e-3  # two columns this near the circle in every row are no two angles


@dataclass(frozen=True)
class Coordinates:
    """Map from observations y of shape (..., p) to states x of shape (..., d) and back to features.

    Args:
        n_observations: Length p of the observation.
        columns: One entry per state: an observation column c, or an angle, which is either a pair
            (cosine column, sine column) or a single column (c,) in radians.

    Example:
        >>> Coordinates(3, ((0, 1), 2)).state(np.array([0.0, 1.0, 5.0]))  # Pendulum: angle, speed
        array([1.57079633, 5.        ])
    """

    n_observations: int
    columns: tuple[int | tuple[int] | tuple[int, int], ...]

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
        angles: Sequence[Angle] = (),
    ) -> Coordinates:
        """Keep the observation columns `states` (None: all), and read some as angles.

        Args:
            n_observations: Length p of the observation.
            states: Columns to keep; None keeps all. Angles are kept in any case.
            angles: A column in radians, or a pair (cosine column, sine column), for each angle.

        Raises:
            TypeError: If a column is no integer, or an angle neither one nor a pair of them.
            ValueError: If columns are missing, repeated or out of range.
        """
        try:
            kept = [index(c) for c in (range(n_observations) if states is None else states)]
        except TypeError as error:
            raise TypeError(
                f"states is {states!r}; expected observation columns: [0, 2]"
            ) from error
        try:
            turning = [_angle(angle) for angle in angles]
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"angles is {angles!r}; expected columns in radians, or (cosine column, sine "
                "column) pairs: [2, (0, 1)]"
            ) from error
        used = {column for angle in turning for column in angle}
        plain = [c for c in kept if c not in used]
        return cls(n_observations, tuple(sorted([*plain, *turning], key=lambda e: np.min(e))))

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
        """Name the states after the observation's entries; angles from pairs are called `angle`."""
        names = observation_names or [f"y{i}" for i in range(self.n_observations)]
        many = sum(np.size(entry) == 2 for entry in self.columns) > 1
        return tuple(
            (f"angle{i}" if many else "angle") if np.size(entry) == 2 else names[np.min(entry)]
            for i, entry in enumerate(self.columns)
        )

    def check_circles(self, observation: Array) -> None:
        """Raise a ValueError if columns of observations (T, p) are no angles of the kind named."""
        singles = [e[0] for e in self.columns if isinstance(e, tuple) and len(e) == 1]
        for a, b in combinations(singles, 2):
            radius = np.hypot(observation[:, a], observation[:, b])
            moves = np.ptp(observation[:, a]) > ON_CIRCLE
            if moves and (np.abs(radius - 1.0) < ON_CIRCLE).all():
                raise ValueError(
                    f"angles names columns {a} and {b} as radians, but they are the cosine and "
                    f"sine of one angle; write the pair: [({a}, {b})]"
                )
        for cosine, sine in (e for e in self.columns if isinstance(e, tuple) and len(e) == 2):
            radius = np.hypot(observation[:, cosine], observation[:, sine])
            row = int(np.argmax(np.abs(radius - 1.0)))
            if abs(radius[row] - 1.0) > OFF_CIRCLE:
                raise ValueError(
                    f"angles names columns ({cosine}, {sine}), but in row {row} they lie "
                    f"{radius[row]:.3g} from zero; expected a cosine and a sine, 1 from zero"
                )

    def state(self, observation: Array) -> Array:
        """Read the state from observations, shape (..., p) to (..., d); angles in [-pi, pi]."""
        return np.stack([_read(observation, entry) for entry in self.columns], axis=-1)

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
        return difference - np.where(self.is_angle, _turns(difference), 0.0)


def _angle(entry: Any) -> tuple[int] | tuple[int, int]:
    """Return the column or columns of an angle as a tuple."""
    try:
        return (index(entry),)
    except TypeError:
        cosine, sine = entry
        return (index(cosine), index(sine))


def _read(observation: Array, entry: int | tuple[int] | tuple[int, int]) -> Array:
    """Read one state from observations, shape (..., p) to (...)."""
    if not isinstance(entry, tuple):
        return observation[..., entry]
    if len(entry) == 1:
        angle: Array = observation[..., entry[0]]
        return angle - _turns(angle)
    return np.arctan2(observation[..., entry[1]], observation[..., entry[0]])


def _turns(angle: Array) -> Array:
    """Return the whole turns in an angle, in radians."""
    return 2.0 * np.pi * np.round(angle / (2.0 * np.pi))
