"""Plain arithmetic on the components of states, so that one formula serves floats, arrays, symbols.

A right-hand side here takes the components of x and u and returns those of dx/dt; a component may
be a Python float, a NumPy array with one entry per copy, or a CasADi symbol.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Components = Sequence[Any] | NDArray[Any]
Rates = Callable[[Components, Components], Components]


def runge_kutta(rates: Rates, x: Components, u: Components, dt: float) -> list[Any]:
    """One classical fourth-order Runge–Kutta step of x' = rates(x, u) with u held.

    Args:
        rates: Right-hand side on components, n and m of them -> n.
        x: Components of the state.
        u: Components of the input.
        dt: Length of the step in seconds.

    Returns:
        The components of the state dt later.
    """
    half = 0.5 * dt
    k1 = rates(x, u)
    k2 = rates([a + half * k for a, k in zip(x, k1, strict=True)], u)
    k3 = rates([a + half * k for a, k in zip(x, k2, strict=True)], u)
    k4 = rates([a + dt * k for a, k in zip(x, k3, strict=True)], u)
    sixth = dt / 6.0
    return [
        a + sixth * (a1 + 2.0 * (a2 + a3) + a4)
        for a, a1, a2, a3, a4 in zip(x, k1, k2, k3, k4, strict=True)
    ]


def components(x: Array) -> Array:
    """View states (..., n) by component, (n, ...)."""
    return np.moveaxis(x, -1, 0)


def stacked(parts: Components) -> Array:
    """Join components that broadcast to one shape (...) to float64 states (..., n)."""
    return np.stack(np.broadcast_arrays(*parts), axis=-1).astype(np.float64, copy=False)
