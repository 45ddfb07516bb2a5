"""The Kuramoto–Sivashinsky equation u_t = -u u_x - u_xx - u_xxxx on a ring.

Fourth-order exponential time differencing as in Kassam & Trefethen (SIAM J. Sci. Comput. 26, 2005):
the linear part is integrated exactly, and the coefficients, which lose all digits for small waves,
are means over a circle in the complex plane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import Array

CIRCLE = 32  # points of a mean


def kuramoto_sivashinsky(u0: Array, length: float, dt: float, n_steps: int) -> Array:
    """Integrate from heights u0 (S, n) at even spacing; returns (S, n_steps + 1, n)."""
    n = u0.shape[1]
    wave_numbers = 2.0 * np.pi / length * np.arange(n // 2 + 1)
    linear = wave_numbers**2 - wave_numbers**4
    half, full = np.exp(0.5 * dt * linear), np.exp(dt * linear)
    push, first, middle, last = _coefficients(dt * linear)
    # The derivative of the sawtooth between the points is zero on them.
    slope = -0.5j * dt * np.where(np.arange(len(linear)) < n // 2, wave_numbers, 0.0)

    def rate(wave: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return slope * np.fft.rfft(np.fft.irfft(wave, n) ** 2)

    runs = np.empty((len(u0), n_steps + 1, n))
    runs[:, 0] = u0
    v = np.fft.rfft(u0)
    for k in range(n_steps):
        at_v = rate(v)
        a = half * v + push * at_v
        at_a = rate(a)
        b = half * v + push * at_a
        at_b = rate(b)
        c = half * a + push * (2.0 * at_b - at_v)
        v = full * v + first * at_v + 2.0 * middle * (at_a + at_b) + last * rate(c)
        runs[:, k + 1] = np.fft.irfft(v, n)
    return runs


def _coefficients(z: Array) -> tuple[Array, Array, Array, Array]:
    """Return the four weights of the nonlinear part, each of shape z, by contour means."""
    circle = np.exp(1j * np.pi * (np.arange(CIRCLE) + 0.5) / CIRCLE)
    r = z[:, None] + circle
    e = np.exp(r)
    push = (np.exp(0.5 * r) - 1.0) / r
    first = (-4.0 - r + e * (4.0 - 3.0 * r + r**2)) / r**3
    middle = (2.0 + r + e * (r - 2.0)) / r**3
    last = (-4.0 - 3.0 * r - r**2 + e * (4.0 - r)) / r**3
    weights = [part.mean(axis=1).real for part in (push, first, middle, last)]
    return weights[0], weights[1], weights[2], weights[3]
