"""Coordinates: which numbers of an observation the model describes, and how angles are read.

An angle is a pair of columns (cosine, sine), or one column in radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from operator import index

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import check_fields, checked

Angle = int | tuple[int, int]  # a column in radians, or (cosine column, sine column)
Column = int | tuple[int] | tuple[int, int]  # a plain column, or an angle

OFF_CIRCLE = 0.5  # generous, for noisy sensors
ON_CIRCLE = 1e-3  # two columns this near the circle in every row are no two angles


def read(observation: Array, column: Column) -> Array:
    """Read a plain column, or an angle in [-pi, pi], from observations (..., p) to (...)."""
    if not isinstance(column, tuple):
        return observation[..., column]
    if len(column) == 1:
        angle: Array = observation[..., column[0]]
        return angle - whole_turns(angle)
    return np.arctan2(observation[..., column[1]], observation[..., column[0]])


def whole_turns(angle: Array) -> Array:
    """Return the whole turns in an angle, in radians."""
    return 2.0 * np.pi * np.round(angle / (2.0 * np.pi))


@dataclass(frozen=True)
class Coordinates:
    """Map from observations y of shape (..., p) to states x of shape (..., d) and back to features.

    With c(y) of length `n_outputs` for what `columns` says, the state at time t is [c(y_t), the
    last steps c(y_t) - c(y_t-1), ..., c(y_t-memory+1) - c(y_t-memory), u_t-1, ..., u_t-memory].

    Args:
        n_observations: Length p of the observation.
        columns: What the state holds of the present: an observation column c, or an angle, which is
            either a pair (cosine column, sine column) or a single column (c,) in radians.
        memory: Number of past samples and inputs in the state.
        n_inputs: Number of inputs m; needed only with a memory.

    Example:
        >>> Coordinates(3, ((0, 1), 2)).state(np.array([0.0, 1.0, 5.0]))  # Pendulum: angle, speed
        array([1.57079633, 5.        ])
    """

    n_observations: int
    columns: tuple[Column, ...]
    memory: int = 0
    n_inputs: int = 0

    def __post_init__(self) -> None:
        """Reject columns that are missing, repeated or out of range."""
        check_fields(self)
        positive_int("n_observations", self.n_observations)
        positive_int("memory", self.memory, minimum=0)
        positive_int("n_inputs", self.n_inputs, minimum=0)
        used = [c for entry in self.columns for c in np.atleast_1d(entry).tolist()]
        within = bool(used) and 0 <= min(used) and max(used) < self.n_observations
        if not within or len(set(used)) < len(used):
            raise ValueError(
                f"coordinate columns are {self.columns}; expected different numbers between 0 and "
                f"{self.n_observations - 1}, as the observation has {self.n_observations} entries"
            )

    @classmethod
    @checked
    def of(
        cls,
        n_observations: int,
        states: Sequence[int] | None = None,
        angles: Sequence[Angle] = (),
        *,
        memory: int = 0,
        n_inputs: int = 0,
    ) -> Coordinates:
        """Keep the observation columns `states` (None: all), and read some as angles.

        Args:
            n_observations: Length p of the observation.
            states: Columns to keep; None keeps all. Angles are kept in any case.
            angles: A column in radians, or a pair (cosine column, sine column), for each angle.
            memory: Number of past samples and inputs in the state.
            n_inputs: Number of inputs m; needed only with a memory.

        Raises:
            TypeError: If a column is no integer, or an angle neither one nor a pair of them.
            ValueError: If columns are missing, repeated or out of range.
        """
        kept = [index(c) for c in (range(n_observations) if states is None else states)]
        turning: list[tuple[int] | tuple[int, int]] = []
        for angle in angles:
            try:
                turning.append((index(angle),))  # type: ignore[arg-type]  # a pair raises
            except TypeError:
                cosine, sine = angle  # type: ignore[misc]
                turning.append((index(cosine), index(sine)))
        used = {column for angle in turning for column in angle}
        plain = [c for c in kept if c not in used]
        columns = tuple(sorted([*plain, *turning], key=lambda e: np.min(e)))
        return cls(n_observations, columns, memory, n_inputs)

    @property
    def n_outputs(self) -> int:
        """Number of states that describe the present; they come first."""
        return len(self.columns)

    @cached_property
    def dim(self) -> int:
        """Number of states d."""
        return self.n_outputs + self.memory * (self.n_outputs + self.n_inputs)

    @cached_property
    def is_angle(self) -> NDArray[np.bool_]:
        """Which states are angles, shape (d,)."""
        now = [isinstance(entry, tuple) for entry in self.columns]
        return np.array(now + [False] * (self.dim - self.n_outputs))

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

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Observation columns of states without angles, shape (n_outputs,)."""
        return np.array(self.columns, dtype=np.int64)

    def names(self, observation_names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Name the states after the observation's entries; angles from pairs are called `angle`."""
        names = observation_names or [f"y{i}" for i in range(self.n_observations)]
        many = sum(np.size(entry) == 2 for entry in self.columns) > 1
        now = [
            (f"angle{i}" if many else "angle") if np.size(entry) == 2 else names[np.min(entry)]
            for i, entry in enumerate(self.columns)
        ]
        inputs = [f"u{i}" for i in range(self.n_inputs)]
        ago = [f"[-{k}]" for k in range(1, self.memory + 1)]
        past = [f"{name} step{k}" for k in ago for name in now]
        return (*now, *past, *(name + k for k in ago for name in inputs))

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
        """Read the state from observations, shape (..., p) to (..., d); angles in [-pi, pi].

        Raises:
            ValueError: If the state has a memory; `along` fills it.
        """
        if self.memory:
            raise ValueError(
                f"the state remembers {self.memory} steps; one observation does not fill it: give "
                "past observations and actions too"
            )
        return self._now(observation)

    def along(self, observations: Array, actions: Array) -> Array:
        """Read the states of a run, from when its memory is full.

        Args:
            observations: Shape (T + 1, p).
            actions: Shape (T, m).

        Returns:
            Shape (T + 1 - memory, d), or no rows where the run is shorter than that.
        """
        now = self._now(observations)
        if not self.memory:
            return now
        angles = self.is_angle[: self.n_outputs]
        steps = np.diff(now, axis=0)
        steps -= np.where(angles, whole_turns(steps), 0.0)
        end, ago = len(now), range(1, self.memory + 1)
        past = [part[self.memory - k : end - k] for part in (steps, actions) for k in ago]
        return np.concatenate([now[self.memory :], *past], axis=1)

    def bounds(self, observation_bounds: Array) -> Array:
        """Carry observation bounds (2, p) over to states (2, d); angles and the past have none."""
        bounds = np.tile([[-np.inf], [np.inf]], self.dim)
        for i, entry in enumerate(self.columns):
            if not isinstance(entry, tuple):
                bounds[:, i] = observation_bounds[:, entry]
        return bounds

    def wrapped_difference(self, x_next: Array, x: Array) -> Array:
        """Return x_next - x with angle differences in [-pi, pi], shape (..., d)."""
        return self.wrap(x_next - x)

    def wrap(self, difference: Array) -> Array:
        """Bring the angle entries of a difference of states into [-pi, pi], shape (..., d)."""
        if not self.has_angles:
            return difference
        return difference - np.where(self.is_angle, whole_turns(difference), 0.0)

    def _now(self, observation: Array) -> Array:
        """Read what the state holds of the present, shape (..., p) to (..., n_outputs)."""
        if not self.has_angles:  # in the control loop, microseconds count
            return observation.take(self._places, axis=-1)
        return np.stack([read(observation, entry) for entry in self.columns], axis=-1)
