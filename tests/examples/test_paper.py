"""The comparisons run, and their shared parts are right."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from examples.paper import forced_van_der_pol, motor
from examples.paper.common import korda
from examples.paper.common.forecasters import windows_of
from examples.paper.common.nextgen import NGRC, monomials
from koopman_control.common import Array


def test_ngrc_continues_a_quadratic_map_exactly() -> None:
    x = [np.array([0.3])]
    for _ in range(300):
        x.append(0.9 + 0.2 * x[-1] - 0.8 * x[-1] ** 2)
    rows = np.array(x)
    settings = {"taps": 1, "degree": 2, "ridge": 1e-14}
    model = NGRC().fit(rows[:250], settings, seed=0)
    forecast = model.forecast(rows[None, :260], 20)
    np.testing.assert_allclose(forecast[0], rows[260:280], atol=1e-6)


def test_monomials_of_two_columns_up_to_degree_two() -> None:
    found = monomials(np.array([[2.0, 3.0]]), 2)
    np.testing.assert_array_equal(found, [[1.0, 2.0, 3.0, 4.0, 6.0, 9.0]])


def test_windows_reach_from_the_first_to_the_last_row() -> None:
    rows = np.arange(10.0)[:, None]
    found = windows_of(rows, n_history=2, horizon=3, count=2)
    np.testing.assert_array_equal(found[..., 0], [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])


def test_simulated_runs_agree_with_an_adaptive_solver() -> None:
    x0, U = np.array([[0.4, -0.3]]), np.ones((1, 20))

    def rate(_: float, x: Array) -> Array:
        return np.asarray(korda.motor(x[None], np.ones(1))[0])

    exact = solve_ivp(rate, (0.0, 0.2), x0[0], rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(korda.simulated(korda.motor, x0, U)[0, -1], exact, atol=2e-5)


def test_the_linearisation_at_the_origin_is_that_of_the_oscillator() -> None:
    A, b, c = korda.linearised(korda.van_der_pol, np.zeros((1, 2)))
    exact = expm(np.array([[0.0, 2.0, 0.0], [-0.8, 2.0, 1.0], [0.0, 0.0, 0.0]]) * korda.DT)
    np.testing.assert_allclose(A[0], exact[:2, :2], atol=1e-8)
    np.testing.assert_allclose(b[0], exact[:2, 2], atol=1e-8)
    np.testing.assert_allclose(c[0], 0.0, atol=1e-12)


def test_errors_are_in_percent_of_the_true_run() -> None:
    true = np.array([[[3.0], [4.0]]])
    np.testing.assert_allclose(korda.percent(true * 1.1, true), [10.0])
    assert np.isinf(korda.percent(true * np.nan, true)).all()


@pytest.mark.slow
def test_the_comparison_on_the_forced_oscillator_runs(tmp_path: Path) -> None:
    forced_van_der_pol.main(seeds=1, quick=True, baselines=False, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "forced_van_der_pol.json",
        "forced_van_der_pol.png",
    }


@pytest.mark.slow
def test_the_comparison_on_the_motor_runs(tmp_path: Path) -> None:
    motor.main(seeds=1, quick=True, baselines=False, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"motor.json", "motor.png"}
