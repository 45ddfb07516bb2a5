"""Checks at the public boundary: what is wrong with an argument, and what to do about it."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Index = np.ndarray[Any, np.dtype[np.int64]]
SPACING = 6  # of the exponents of scales; even, so that the square roots are exact as well
LARGEST_SCALE = 900  # exponent; products of a scale and what it scales stay numbers
LARGEST_SEED = 2**32 - 1  # scikit-learn takes no larger one


def finite_array(
    name: str,
    value: ArrayLike,
    *,
    ndim: int | None = None,
    shape: Sequence[int | None] | None = None,
) -> Array:
    """Return value as a contiguous float64 array, or say what is wrong with it.

    Args:
        name: What the user calls the argument.
        value: Anything numpy makes a numeric array of; not copied when it already fits.
        ndim: Required number of dimensions.
        shape: Required shape; None stands for any length.

    Raises:
        TypeError: It does not hold real numbers.
        ValueError: Wrong dimensions, or NaN or infinity in it; the message gives the first row.

    Example:
        >>> finite_array("x0", [0.0, 1.0], shape=(2,))
        array([0., 1.])
    """
    array = real_array(name, value, ndim=ndim, shape=shape)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name} holds {array[where]} at index {where}, first in row {where[0] if where else 0}"
            "; expected finite numbers only: drop or repair the rows concerned"
        )
    return array


def real_array(
    name: str,
    value: ArrayLike,
    *,
    ndim: int | None = None,
    shape: Sequence[int | None] | None = None,
) -> Array:
    """As :func:`finite_array`, but NaN and infinity may pass."""
    try:
        raw = as_array(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}; give rows of equal length") from error
    if raw.dtype.kind not in "fiub":
        raise TypeError(f"{name} holds values of type {raw.dtype}; expected real numbers")
    array = np.asarray(raw, dtype=np.float64, order="C")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(
            f"{name} has {array.ndim} dimensions, shape {array.shape}; expected {ndim} of them"
        )
    if shape is not None and not _fits(array.shape, shape):
        expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    return array


def as_array(value: Any) -> NDArray[Any]:
    """As `np.asarray`, but what is masked becomes NaN, and not what lies under the mask."""
    if hasattr(value, "filled") and np.ma.isMaskedArray(value) and value.dtype.kind in "fiub":
        numbers: Any = value.astype(np.float64)
        return np.asarray(numbers.filled(np.nan))
    return np.asarray(value)


def only_numbers(vector: Array) -> bool:
    """Whether a short vector holds numbers only; a fraction of numpy's time for its few entries."""
    return all(map(isfinite, vector.tolist()))


def all_finite(vector: Array) -> bool:
    """Whether a vector holds no NaN and nothing beyond 1e154, the cheapest way."""
    return isfinite(vector.dot(vector))


def product(X: Array, M: NDArray[np.floating]) -> Array:
    """X @ M for a matrix M; in half of numpy's time for the single vectors of a control loop."""
    return np.asarray(X.dot(M) if X.ndim == 1 else X @ M)


def read_only(array: Array) -> Array:
    """Return a copy that nobody can change, for the fields of frozen dataclasses."""
    copy = np.array(array, dtype=np.float64, order="C")
    copy.setflags(write=False)
    return copy


def bounds_array(name: str, value: ArrayLike, size: int) -> Array:
    """Return bounds as (2, size), lows then highs; infinity means unknown or unbounded.

    Raises:
        ValueError: Wrong shape, NaN, or a low above its high.
    """
    bounds = real_array(name, value, shape=(2, size))
    low, high = bounds
    if np.isnan(bounds).any():
        raise ValueError(f"{name} holds NaN; write -inf and inf where there is no bound")
    if (low > high).any():
        i = int(np.argmax(low > high))
        raise ValueError(
            f"{name} has low {low[i]} above high {high[i]} in column {i}; row 0 holds the lows, "
            "row 1 the highs"
        )
    return bounds


SINGLE = 1e-6  # relative; what went through float32 is no more precise, some steps of rounding on


def rounding_at(bounds: Array) -> Array:
    """How far what sits on bounds (2, k) may lie from them, by single precision, (k,).

    Relative to the larger of the two, so in any units; none about a zero that stands alone, which
    has no rounding.
    """
    return np.asarray(SINGLE * np.where(np.isfinite(bounds), np.abs(bounds), 0.0).max(axis=0))


def positive_int(name: str, value: Any, minimum: int = 1) -> int:
    """Return value as an int that is at least minimum.

    Raises:
        TypeError: It is no integer (booleans and whole floats are none either).
        ValueError: It is below the minimum.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}; expected an integer of at least {minimum}")
    if value < minimum:
        raise ValueError(f"{name} is {value}; expected at least {minimum}")
    return int(value)


def seed_number(name: str, value: Any) -> int:
    """Return value as a seed, an int of at least 0 that fits in 32 bits; see `positive_int`."""
    seed = positive_int(name, value, minimum=0)
    if seed > LARGEST_SEED:
        raise ValueError(f"{name} is {seed}; expected a seed from 0 to {LARGEST_SEED}")
    return seed


def positive_float(name: str, value: Any) -> float:
    """Return value as a finite float above zero.

    Raises:
        TypeError: It is no real number.
        ValueError: It is zero, negative, infinite or NaN.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} is {value!r}; expected a number above 0")
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}; expected a finite number above 0")
    return float(value)


def _fits(shape: tuple[int, ...], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(
        want is None or want == got for got, want in zip(shape, expected, strict=True)
    )


def power_near(values: Any) -> Array:
    """Return the power of 64 nearest to each positive number; one for zero and what is no number.

    Dividing by it is exact and leaves values between 1/8 and 8, where it is one itself. So what is
    scaled by it comes out the same in any units, and bit for bit where scales are near one.

    Example:
        >>> power_near([0.0, 0.2, 1.0, 5.0, 100.0])
        array([ 1.,  1.,  1.,  1., 64.])
    """
    with np.errstate(all="ignore"):
        exponents = np.rint(np.log2(np.asarray(values, dtype=np.float64)) / SPACING) * SPACING
    usable = np.abs(exponents) <= LARGEST_SCALE
    return np.asarray(np.exp2(np.where(usable, exponents, 0.0)))


def balanced(M: Array) -> tuple[Array, Array]:
    """Bring the diagonals of symmetric matrices near one by powers of two, row and column alike.

    Args:
        M: Shape (..., n, n).

    Returns:
        The matrices S M S and the diagonal of 1 / S, shape (..., n).

    Example:
        >>> balanced(np.array([[1e6, 1e3], [1e3, 2.0]]))[1].tolist()
        [4096.0, 1.0]
    """
    unit = power_near(np.sqrt(np.abs(np.diagonal(M, axis1=-2, axis2=-1))))
    return np.asarray(M / unit[..., None] / unit[..., None, :]), unit
