"""Settings of a controller, checked once: a number, a vector or a matrix become what is needed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array, positive_float, real_array

Mask = NDArray[np.bool_]


def seconds_until(deadline: float | None, solver: str) -> float:
    """Turn a deadline in microseconds into seconds, infinite for none."""
    if deadline is None:
        return math.inf
    seconds = 1e-6 * positive_float("deadline", deadline)
    if solver == "piqp":
        raise ValueError(
            f'deadline is {deadline}, but PIQP knows no time limit; choose solver="auto" or '
            '"clarabel"'
        )
    return seconds


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


def stage_weights(name: str, value: ArrayLike, size: int, horizon: int) -> Array:
    """Expand a weight, or one for each step, to shape (horizon, size, size).

    Where a shape can be read both ways, it is one weight for all steps.
    """
    given = finite_array(name, value)
    if given.shape in ((), (size,), (size, size)):
        return np.stack([weight_matrix(name, given, size)] * horizon)
    if given.shape in ((horizon,), (horizon, size), (horizon, size, size)):
        return np.stack([weight_matrix(name, of_step, size) for of_step in given])
    raise ValueError(
        f"{name} has shape {given.shape}; expected a number, a diagonal ({size},), a matrix "
        f"({size}, {size}), or one of these for each of the {horizon} steps, {horizon} rows first"
    )


def widened(array: Array, size: int, axes: int = 1) -> Array:
    """Fill the last axes of an array up with zeros to the given size."""
    padding = [(0, 0)] * (array.ndim - axes) + [(0, size - n) for n in array.shape[-axes:]]
    return np.pad(array, padding)


def stage_rows(name: str, value: ArrayLike, size: int, horizon: int) -> Array:
    """Expand a number, a row (size,) or rows (horizon, size) to shape (horizon, size)."""
    given, rows = finite_array(name, value), np.empty((horizon, size))
    try:
        rows[...] = given
    except ValueError:
        raise ValueError(
            f"{name} has shape {given.shape}; expected a number, shape ({size},) or shape "
            f"{rows.shape}"
        ) from None
    return rows


def box(
    name: str, value: ArrayLike | None, size: int, horizon: int, default: Array | None = None
) -> Array:
    """Expand bounds to shape (2, horizon, size): lows and highs; infinite where there is none."""
    if value is None:
        value = (-np.inf, np.inf) if default is None else default
    given = real_array(name, value)
    if given.shape == (2,):
        given = np.repeat(given[:, None], size, axis=1)
    if given.shape == (2, size):
        given = np.repeat(given[:, None], horizon, axis=1)
    if given.shape != (2, horizon, size):
        raise ValueError(
            f"{name} has shape {given.shape}; expected (low, high), shape (2, {size}) or, for each "
            f"step, (2, {horizon}, {size})"
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


def slack_weights(value: ArrayLike, size: int) -> Array:
    """Expand prices of a violation to shape (2, size): per unit, and per unit squared."""
    given = finite_array("slack_weight", value)
    if given.shape not in ((), (2,), (2, size)):
        raise ValueError(
            f"slack_weight has shape {given.shape}; expected a number, (linear, quadratic) or "
            f"shape (2, {size})"
        )
    if given.shape == (2,):
        given = given[:, None]
    given = np.broadcast_to(given, (2, size)).copy()
    if np.any(given[0] < 0.0) or np.any(given[1] <= 0.0):
        raise ValueError(
            f"slack_weight is {np.asarray(value).tolist()}; expected a linear price of at least 0 "
            "and a quadratic one above 0"
        )
    return given


def soft_mask(value: Any, size: int) -> Mask:
    """Expand True, False or one of them for each output to shape (size,)."""
    given = np.asarray(value)
    if given.dtype != np.bool_ or given.shape not in ((), (size,)):
        raise ValueError(f"soft is {value!r}; expected True, False or {size} of them, per output")
    return np.broadcast_to(given, (size,)).copy()


def polytope_rows(value: Any, sizes: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Check (G_y, G_u, g) with shapes (k, d), (k, m) and (k,); (d, m) are the sizes."""
    g = finite_array("polytope's g", value[2], ndim=1)
    G_y = finite_array("polytope's G_y", value[0], shape=(len(g), sizes[0]))
    return G_y, finite_array("polytope's G_u", value[1], shape=(len(g), sizes[1])), g
