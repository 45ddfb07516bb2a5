"""The comparisons run, and their shared parts are right."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from examples.paper import forced_van_der_pol, kuramoto_sivashinsky, motor, roessler, weather
from examples.paper.common import korda
from examples.paper.common.columns import Columns
from examples.paper.common.direct import Direct
from examples.paper.common.forecasters import Model, Settings, tuned, windows_of
from examples.paper.common.local import LocalSampled, convolution
from examples.paper.common.nextgen import NGRC, monomials
from examples.paper.common.station import hourly
from examples.paper.common.waves import kuramoto_sivashinsky as waves_on_a_ring
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


class Constant:
    """Forecasts a number plus the sum of what is known ahead; fits nothing."""

    name = "constant"

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def searched(self, train: Array) -> Iterator[tuple[Settings, Model]]:
        for value in (1.0, 2.0, 3.0):
            yield {"value": value}, Constant(value)

    def fit(self, train: Array, settings: Settings, seed: int) -> Model:
        return Constant(settings["value"])

    def forecast(self, history: Array, horizon: int, known: Any = None) -> Array:
        sums = 0.0 if known is None else known.sum(axis=2, keepdims=True)
        return np.full((len(history), horizon, 1), self.value) + sums


def test_the_setting_that_is_best_on_average_over_the_folds_is_kept() -> None:
    folds = [(np.zeros((9, 1)), np.full((4, 5, 1), level)) for level in (1.0, 1.0, 4.0)]
    found = tuned(Constant(), folds, 2, lambda y, truth: -float(((y - truth) ** 2).mean()))
    assert found == {"value": 2.0}  # the mean; the median would be 1


def test_a_forecaster_sees_no_columns_but_those_it_was_given() -> None:
    forecaster = Columns(Constant(), [(0, 2), (0, 1, 2)])
    settings = [found for found, _ in forecaster.searched(np.zeros((9, 3)))]
    assert [found["columns"] for found in settings] == [(0, 2)] * 3 + [(0, 1, 2)] * 3
    known = np.tile([10.0, 100.0], (2, 4, 1))  # columns 1 and 2
    for chosen, expected in ((settings[1], 102.0), (settings[4], 112.0)):
        model = forecaster.fit(np.zeros((9, 3)), chosen, seed=0)
        np.testing.assert_array_equal(model.forecast(np.zeros((2, 3, 3)), 4, known), expected)


def test_a_damped_swing_about_the_mean_day_is_forecast_at_all_leads() -> None:
    t = np.arange(1_000)
    known = np.cos(2.0 * np.pi * t / 24)
    swing = 3.0 * np.sin(2.0 * np.pi * t / 24) + 0.998**t * np.cos(2.0 * np.pi * t / 60)
    rows = np.column_stack([swing, known])
    model = Direct([48], lookback=60, n_known=1).fit(rows[:800], {"leads": 48}, seed=0)
    found = model.forecast(rows[None, :900], 48, rows[None, 900:948, 1:])
    np.testing.assert_allclose(found[0, :, 0], swing[900:948], atol=1e-5)


def test_beyond_the_leads_that_were_fitted_the_last_day_is_repeated() -> None:
    t = np.arange(600)
    rows = np.column_stack([np.sin(2.0 * np.pi * t / 24), np.cos(2.0 * np.pi * t / 24)])
    model = Direct([30], lookback=48, n_known=1).fit(rows, {"leads": 30}, seed=0)
    ahead = model.forecast(rows[None], 72, rows[None, :72, 1:])
    np.testing.assert_allclose(ahead[0, :, 0], rows[:72, 0], atol=1e-6)


def test_waves_on_a_ring_agree_with_an_adaptive_solver() -> None:
    n, length, dt = 32, 22.0, 0.05
    x = 2.0 * np.pi * np.arange(n) / n
    numbers = 2.0 * np.pi / length * np.arange(n // 2 + 1)
    slope = 1j * np.where(np.arange(n // 2 + 1) < n // 2, numbers, 0.0)

    def rate(_: float, u: Array) -> Array:
        linear = (numbers**2 - numbers**4) * np.fft.rfft(u)
        return np.fft.irfft(linear - 0.5 * slope * np.fft.rfft(u * u), n)

    start = np.stack([np.cos(x) + np.sin(2.0 * x), 2.0 * np.sin(3.0 * x)])
    found = waves_on_a_ring(start, length, dt, 60)
    for first, run in zip(start, found, strict=True):
        exact = solve_ivp(rate, (0.0, 3.0), first, method="Radau", rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(run[-1], exact.y[:, -1], atol=2e-6)


def test_a_convolution_along_the_ring_is_recovered() -> None:
    rng = np.random.default_rng(0)
    columns, n_waves = rng.standard_normal((50, 8, 2)), 3
    kernel = np.fft.irfft(np.eye(5)[:, [2, 3]] * (1.0 + 0.5j), 8, axis=0)
    shifted = np.stack([np.roll(kernel[::-1], i + 1, axis=0) for i in range(8)])  # k[i - j]
    targets = np.einsum("ijk,tjk->ti", shifted, columns)
    K = convolution(columns, targets, n_waves, cut=1e-12)
    np.testing.assert_allclose(columns.reshape(50, -1) @ K, targets, atol=1e-12)


def test_a_shared_layer_continues_a_travelling_and_damped_wave() -> None:
    phase, t = 2.0 * np.pi * np.arange(16) / 16, np.arange(400)[:, None]
    rows = np.sin(phase - 0.3 * t) + 0.5 * np.exp(-0.01 * t) * np.cos(2.0 * phase)
    settings = {"reach": 2, "steepness": 0.3, "waves": 3, "cut": 1e-10}
    model = LocalSampled(5, []).fit(rows[:300], settings, seed=0)
    np.testing.assert_allclose(model.forecast(rows[None, :300], 100)[0], rows[300:], atol=1e-6)


@pytest.mark.slow
def test_the_comparison_on_waves_runs(tmp_path: Path) -> None:
    kuramoto_sivashinsky.main(seeds=1, width=20, quick=True, baselines=False, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "kuramoto_sivashinsky.json",
        "kuramoto_sivashinsky.png",
    }


def test_the_station_is_read_as_hourly_means_with_gaps_filled(tmp_path: Path) -> None:
    data = tmp_path / "station.csv"
    rows = ["00:10,1.0,2.0,90", "00:20,3.0,2.0,90", "01:10,-9999,2.0,0", "02:10,6.0,-9999,0"]
    text = [f"01.01.2021 {row}" for row in rows]
    data.write_text("\n".join(["Date Time,T (degC),wv (m/s),wd (deg)", *text]), "utf-8")
    found = hourly(data)
    expected = [[2.0, 2.0, 0.0], [4.0, 0.0, 2.0], [6.0, 0.0, 2.0]]
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-12)
    day = 2.0 * np.pi * np.arange(3) / 24
    np.testing.assert_allclose(found[:, 3:5], np.column_stack([np.sin(day), np.cos(day)]))


@pytest.mark.slow
def test_the_comparison_on_the_weather_runs(tmp_path: Path) -> None:
    t = np.arange(100 * 24)
    noise = np.random.default_rng(0).standard_normal(len(t))
    values = 5.0 * np.sin(2.0 * np.pi * t / 24) + np.convolve(noise, 0.97**t)[: len(t)]
    dates = np.datetime64("2021-01-01T00:00:00") + t.astype("timedelta64[h]")
    lines = [
        f"{date},{value},2.0,{i % 360}"
        for i, (date, value) in enumerate(zip(dates, values, strict=True))
    ]
    data = tmp_path / "weather.csv"
    data.write_text("\n".join(["date,T (degC),wv (m/s),wd (deg)", *lines]), "utf-8")
    weather.main(data=data, seeds=1, quick=True, baselines=False, out=tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"weather.json", "weather.png"}


@pytest.mark.slow
def test_the_comparison_on_roesslers_system_runs(tmp_path: Path) -> None:
    roessler.main(seeds=1, quick=True, baselines=False, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"roessler.json", "roessler.png"}


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
