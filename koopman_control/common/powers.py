"""Powers of two by which numbers are brought near one, without rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from koopman_control.common.arrays import Array

SPACING = 6  # between the exponents; even, so that the square roots are exact as well
LARGEST = 900  # exponent; products of a scale and what it scales stay numbers


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
    usable = np.abs(exponents) <= LARGEST
    return np.asarray(np.exp2(np.where(usable, exponents, 0.0)))
