"""Targets of outputs and inputs: constant, a trajectory that moves on, or a function."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, Index, all_finite, finite_array
from koopman_control.common.pickling import portable
from koopman_control.mpc.weights import stage_rows, widened

Target = ArrayLike | Callable[[Array], ArrayLike | None]


class NothingAskedError(Exception):
    """A target's function returned None: the plant is to be left alone."""


class TargetRows:
    """A target over the horizon, one row for each of the N steps ahead.

    Args:
        name: What the user calls it.
        target: A number, a row (d,), rows (N, d), a whole trajectory (T, d) with T > N, or a
            function of the observation that returns one of the first three, or None where the
            plant is to be left alone.
        horizon: Number of rows N.
        size: Length d of a row.
        width: Length to which rows are filled up with zeros; None: they are complete.
        copies: How often each row is then repeated, side by side.

    Raises:
        ValueError: If a target that is no function has the wrong shape.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        horizon: int,
        size: int,
        width: int | None = None,
        copies: int = 1,
    ) -> None:
        self._name, self._horizon, self._size = name, horizon, size
        self._width, self._copies = width or size, copies
        self._function = target if callable(target) else None
        self._rows = np.zeros((horizon, self._width * copies))
        self._last_start = 0  # window from which on nothing changes any more
        if not callable(target):
            self._rows = self._trajectory(target)
            self._last_start = len(self._rows) - horizon

    def __getstate__(self) -> dict[str, Any]:
        """Let a lambda travel to another process, too."""
        return {**vars(self), "_function": portable(self._function)}

    def __call__(self, observation: Array, step: int) -> Array:
        """Evaluate for an observation (p,), `step` steps into the episode; a row per step.

        Raises:
            NothingAskedError: If the target is a function that returned None.
        """
        if self._function is not None:
            value = self._function(observation.copy())  # it may do with it what it likes
            if value is None:
                raise NothingAskedError(f"{self._name} is None")
            return value if self._is_filled(value) else self._filled(value, self._horizon)
        start = min(step, self._last_start)
        return self._rows[start : start + self._horizon]

    def each(self, observations: Array, steps: Index) -> tuple[Array, NDArray[np.bool_]]:
        """Evaluate for observations (S, p), each at its step (S,); shape (S, N, width).

        Also returns for which of them anything is asked at all, shape (S,).
        """
        asked = np.ones(len(steps), dtype=bool)
        if self._function is None:
            starts = np.minimum(steps, self._last_start)
            return self._rows[starts[:, None] + np.arange(self._horizon)], asked
        rows = np.zeros((len(steps), *self._rows.shape))
        for i, (y, step) in enumerate(zip(observations, steps.tolist(), strict=True)):
            try:
                rows[i] = self(y, step)
            except NothingAskedError:
                asked[i] = False
        return rows, asked

    def at_rest(self) -> TargetRows:
        """Return a target of the same shape that calls no function, but is zero in its place."""
        resting = copy.copy(self)
        resting._function = None
        return resting

    @property
    def rest(self) -> Array:
        """Last row once, zero for a function; shape (width,)."""
        return np.asarray(self._rows[-1, : self._width])

    @property
    def values(self) -> Array:
        """All rows, zero for a function; shape (T, width * copies)."""
        return self._rows

    @property
    def constant(self) -> bool:
        """Whether it is the same at every step, whatever is observed."""
        return self._function is None and bool((self._rows == self._rows[-1]).all())

    def _trajectory(self, value: ArrayLike) -> Array:
        """Spread over the horizon; beyond its end, a trajectory's last row is held."""
        given = finite_array(self._name, value)
        if given.ndim != 2 or len(given) <= self._horizon:
            return self._filled(given, self._horizon)
        rows = self._filled(given, len(given))
        return np.concatenate([rows, np.repeat(rows[-1:], self._horizon - 1, axis=0)])

    def _is_filled(self, value: ArrayLike) -> TypeGuard[Array]:
        """Whether a value is what `_filled` would make of it; most are, and checking is slow."""
        if not isinstance(value, np.ndarray) or value.dtype != np.float64:
            return False
        return value.shape == self._rows.shape and all_finite(value.ravel())

    def _filled(self, value: ArrayLike, length: int) -> Array:
        rows = stage_rows(self._name, value, self._size, length)
        rows = rows if self._width == self._size else widened(rows, self._width)
        return rows if self._copies == 1 else np.tile(rows, self._copies)
