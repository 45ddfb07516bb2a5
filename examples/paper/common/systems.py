"""The systems of the comparisons, simulated to tight tolerances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from koopman_control.common import Array

Rate = Callable[[Array], Array]

TOLERANCE = 1e-10


def lorenz(x: Array) -> Array:
    """Lorenz 1963 with sigma = 10, rho = 28, beta = 8/3; states (..., 3)."""
    a, b, c = x[..., 0], x[..., 1], x[..., 2]
    return np.stack([10.0 * (b - a), a * (28.0 - c) - b, a * b - 8.0 / 3.0 * c], axis=-1)


def roessler(x: Array) -> Array:
    """Rössler 1976 with a = b = 0.2, c = 5.7; states (..., 3)."""
    a, b, c = x[..., 0], x[..., 1], x[..., 2]
    return np.stack([-b - c, a + 0.2 * b, 0.2 + c * (a - 5.7)], axis=-1)


def van_der_pol(x: Array) -> Array:
    """Van der Pol's oscillator with mu = 1; states (..., 2)."""
    a, b = x[..., 0], x[..., 1]
    return np.stack([b, (1.0 - a**2) * b - a], axis=-1)


def solved(rate: Rate, x0: Array, dt: float, n_steps: int, tolerance: float = TOLERANCE) -> Array:
    """Integrate from states x0 (S, d) side by side; returns (S, n_steps + 1, d)."""
    S, d = x0.shape

    def flat(_: float, x: Array) -> Array:
        return rate(x.reshape(S, d)).ravel()

    times = dt * np.arange(n_steps + 1)
    solution = solve_ivp(
        flat,
        (0.0, times[-1]),
        x0.ravel(),
        method="DOP853",
        t_eval=times,
        rtol=tolerance,
        atol=tolerance,
    )
    return np.asarray(solution.y.reshape(S, d, n_steps + 1).transpose(0, 2, 1))


def on_attractor(rate: Rate, x0: Array, dt: float, settle: int, every: int, count: int) -> Array:
    """Return states (count, d) of one run, spaced by `every` steps after `settle` steps."""
    rough = solved(rate, x0[None], dt, settle + every * (count - 1), tolerance=1e-6)[0]
    return np.asarray(rough[settle::every])
