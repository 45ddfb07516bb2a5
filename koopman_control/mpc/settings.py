"""Settings of a controller, checked once: a number, a vector or a matrix become what is needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, real_array

Target = ArrayLike | Callable[[Array], ArrayLike]


def weight_matrix(name: str, value: ArrayLike, size: int) -> Array:
    """Expand a number, a diagonal (size,) or a matrix (size, size) to a checked weight."""
    given = finite_array(name, value)
    if given.ndim == 0:
        matrix = float(given) * np.eye(size)
    elif given.shape == (size,):
        matrix = np.diag(given)
    elif given.shape == (size, size):
        matrix = 0.5 * (given + given.T)
    else:
        raise ValueError(
            f"{name} has shape {given.shape}; expected a number, a diagonal ({size},) or a matrix "
            f"({size}, {size})"
        )
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if lowest < -1e-12 * max(1.0, float(np.abs(matrix).max())):
        raise ValueError(
            f"{name} has eigenvalue {lowest:.3g}; expected a positive semidefinite weight, so that "
            "the cost is convex"
        )
    return matrix


def widened(matrix: Array, size: int) -> Array:
    """Fill a weight up with zeros to shape (size, size)."""
    return np.pad(matrix, (0, size - len(matrix)))


def box(name: str, value: ArrayLike | None, size: int, default: Array | None = None) -> Array:
    """Expand bounds to shape (2, size): lows and highs; infinite where there is no bound."""
    if value is None:
        unbounded = np.stack([np.full(size, -np.inf), np.full(size, np.inf)])
        return unbounded if default is None else np.array(default)
    given = real_array(name, value)
    if given.shape == (2,):
        given = np.repeat(given[:, None], size, axis=1)
    if given.shape != (2, size):
        raise ValueError(
            f"{name} has shape {given.shape}; expected (low, high) or shape (2, {size})"
        )
    if np.isnan(given).any() or np.any(given[0] > given[1]):
        raise ValueError(f"{name} is {given.tolist()}; expected each low at or below its high")
    return given


def rates(value: ArrayLike | None, size: int) -> Array:
    """Expand the largest input change to shape (size,); infinite where there is no bound."""
    if value is None:
        return np.full(size, np.inf)
    given = real_array("rate_bounds", value)
    if given.shape not in ((), (1,), (size,)):
        raise ValueError(
            f"rate_bounds has shape {given.shape}; expected a number or one per input, ({size},)"
        )
    given = np.broadcast_to(given, (size,)).copy()
    if np.isnan(given).any() or np.any(given <= 0.0):
        raise ValueError(f"rate_bounds is {given.tolist()}; expected positive changes per step")
    return given


class TargetRows:
    """A target spread over a shape: constant, or a function of the observation.

    Args:
        name: What the user calls it.
        target: A number, an array or a function that returns one of these.
        shape: Shape to be filled, rows last.
        width: Length to which rows are filled up with zeros; None: they are complete.

    Attributes:
        constant: Its value, or None where it is a function.

    Raises:
        ValueError: If a constant target has the wrong shape.
    """

    def __init__(
        self, name: str, target: Target, shape: tuple[int, ...], width: int | None = None
    ) -> None:
        self._name, self._target, self._shape = name, target, shape
        self._width = width or shape[-1]
        self.constant = None if callable(target) else self._spread(target)

    def __call__(self, observation: Array) -> Array:
        """Evaluate for an observation of shape (p,)."""
        if self.constant is not None:
            return self.constant
        return self._spread(self._target(observation) if callable(self._target) else self._target)

    @property
    def rest(self) -> Array:
        """Last row of a constant target, zero for a function; shape (d,)."""
        rows = np.zeros((1, self._width)) if self.constant is None else self.constant
        return np.asarray(rows.reshape(-1, self._width)[-1])

    def _spread(self, value: ArrayLike) -> Array:
        given, rows = finite_array(self._name, value), np.empty(self._shape)
        try:
            rows[...] = given
        except ValueError:
            last = "" if len(self._shape) == 1 else f", shape {self._shape[-1:]}"
            raise ValueError(
                f"{self._name} has shape {given.shape}; expected a number{last} or shape "
                f"{self._shape}"
            ) from None
        missing = self._width - self._shape[-1]
        return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)]) if missing else rows
