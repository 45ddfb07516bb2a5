import numpy as np
import pytest
from numpy.typing import NDArray

from koopman_envs.ring import DERIVATIVE, MESH, bump, flow, lawson_step, matrix

Array = NDArray[np.float64]


def advanced(y: Array, force: Array, advection: float, time: float, steps: int) -> Array:
    wave, exact = np.fft.rfft(y), flow(1.0, time / steps)
    for _ in range(steps):
        wave = lawson_step(wave, np.fft.rfft(force), advection, exact)
    return np.fft.irfft(wave)


def test_derivatives_of_waves_are_exact() -> None:
    first, third = matrix(DERIVATIVE), matrix(DERIVATIVE**3)
    np.testing.assert_allclose(first @ np.sin(7 * MESH), 7 * np.cos(7 * MESH), atol=1e-12)
    np.testing.assert_allclose(third @ np.sin(7 * MESH), -343 * np.cos(7 * MESH), atol=1e-9)


def test_a_bump_goes_on_where_the_ring_closes() -> None:
    np.testing.assert_allclose(bump(-np.pi, 1.0), np.roll(bump(0.0, 1.0), 64), rtol=1e-13)


def test_without_the_product_one_step_of_any_length_is_exact() -> None:
    # y_t = -y_xxx + 1 + cos 2x from sin 3x.
    t = 0.7
    at_rest = np.sin(2 * MESH) / 8
    expected = np.sin(3 * MESH + 27 * t) + t + np.sin(2 * MESH + 8 * t) / 8 - at_rest
    result = advanced(np.sin(3 * MESH), 1.0 + np.cos(2 * MESH), 0.0, t, 1)
    np.testing.assert_allclose(result, expected, atol=1e-13)


def test_errors_fall_with_the_fourth_power_of_the_step() -> None:
    start, force = np.cos(MESH), 0.5 * np.sin(2 * MESH)
    exact = advanced(start, force, 1.0, 0.2, 1024)
    coarse, fine = (
        np.abs(advanced(start, force, 1.0, 0.2, steps) - exact).max() for steps in (64, 128)
    )
    assert coarse / fine == pytest.approx(16.0, rel=0.15)
