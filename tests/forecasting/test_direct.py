from pathlib import Path

import numpy as np
import pytest

from koopman_control.common import FileFormatError
from koopman_control.forecasting import DirectForecaster
from koopman_control.forecasting.blending import (
    Folds,
    Rows,
    Scales,
    averaged,
    groups_of,
    weighed_parts,
)
from koopman_control.forecasting.series import checked_series
from koopman_control.forecasting.trunk import Trunk

NOW = 400


def recursion(n: int) -> np.ndarray:
    """Two coupled columns of a linear recursion that neither grows nor dies."""
    angle = 0.37
    A = np.array([[np.cos(angle), -2.0 * np.sin(angle)], [0.5 * np.sin(angle), np.cos(angle)]])
    rows = np.empty((n, 2))
    rows[0] = [1.0, 0.3]
    for t in range(n - 1):
        rows[t + 1] = A @ rows[t]
    return rows


def test_a_linear_recursion_is_continued_exactly() -> None:
    rows = recursion(NOW + 40)
    forecaster = DirectForecaster(40, n_features=(0,)).fit(rows[:NOW])
    np.testing.assert_allclose(forecaster.forecast(rows[:NOW]), rows[NOW:], atol=1e-8)
    assert forecaster.cv_error_.max() < 1e-8


def test_a_trend_with_a_season_is_continued_exactly() -> None:
    t = np.arange(NOW + 30)
    season = np.array([3.0, -1.0, 0.5, 7.0, 0.0, 2.0, 1.0])
    rows = 0.2 * t + season[t % 7]
    forecaster = DirectForecaster(30, periods=(7,), n_features=(0,)).fit(rows[:NOW])
    np.testing.assert_allclose(forecaster.forecast(rows[:NOW])[:, 0], rows[NOW:], atol=1e-7)


def test_one_step_of_a_noisy_first_order_process_is_its_coefficient_times_the_last_value() -> None:
    rng = np.random.default_rng(0)
    noise, rows = rng.standard_normal(8_000), np.zeros(8_000)
    for t in range(1, len(rows)):
        rows[t] = 0.6 * rows[t - 1] + noise[t]
    forecaster = DirectForecaster(3, lookback=200, n_features=(0,)).fit(rows)
    history = np.lib.stride_tricks.sliding_window_view(rows, 200)[::20, :, None]
    ahead = forecaster.forecast(history)
    for lead in (1, 2, 3):
        best = 0.6**lead * history[:, -1, 0]
        missed = np.sqrt(np.mean((ahead[:, lead - 1, 0] - best) ** 2))
        level = 2.5 / np.sqrt(200)  # what the mean of 200 such rows is off
        assert missed < level * (1.0 - 0.6**lead) + 0.05
    assert forecaster.cv_error_[0] * rows.std() == pytest.approx(1.0, abs=0.05)


def test_intervals_hold_as_often_as_promised_on_rows_to_come() -> None:
    rng = np.random.default_rng(1)
    rows = np.cumsum(0.1 * rng.standard_normal(6_000)) + rng.standard_normal(6_000)
    forecaster = DirectForecaster(5, lookback=30, n_features=(0,)).fit(rows[:4_000])
    cut = np.lib.stride_tricks.sliding_window_view(rows[4_000:], 35)
    low, high = forecaster.forecast_with_intervals(cut[:, :30, None]).interval(0.9)
    inside = (low[..., 0] <= cut[:, 30:]) & (cut[:, 30:] <= high[..., 0])
    assert 0.86 < inside.mean() < 0.94


def test_what_an_average_misses_is_measured_where_its_weights_saw_nothing() -> None:
    rng = np.random.default_rng(4)
    candidates = rng.standard_normal((30, 2, 20))  # as good as each other: any weights are luck
    parts = [slice(0, 10), slice(10, 20), slice(20, 30)]
    weights, errors = weighed_parts(candidates, parts)
    np.testing.assert_allclose(weights, averaged(candidates.reshape(-1, 20)), atol=1e-9)
    seen = np.sqrt(np.mean((candidates @ weights) ** 2))
    fresh = np.sqrt(np.mean((rng.standard_normal((5_000, 20)) @ weights) ** 2))
    missed = np.sqrt(np.mean(errors**2))
    assert seen < 0.9 * fresh  # the weights flatter the windows they were chosen on
    assert missed > 0.98 * fresh
    others = averaged(candidates[10:].reshape(-1, 20))
    np.testing.assert_allclose(errors[:10], candidates[:10] @ others, atol=1e-9)


def test_units_change_nothing_but_the_units() -> None:
    rng = np.random.default_rng(2)
    rows = np.cumsum(rng.standard_normal((300, 2)), axis=0)
    units, offsets = np.array([1e6, 1e-3]), np.array([-7e6, 20.0])
    plain = DirectForecaster(4, n_features=(0, 10)).fit(rows).forecast(rows)
    other = rows * units + offsets
    scaled = DirectForecaster(4, n_features=(0, 10)).fit(other).forecast(other)
    np.testing.assert_allclose((scaled - offsets) / units, plain, rtol=1e-6, atol=1e-7)


def test_a_known_input_ahead_is_used() -> None:
    rng = np.random.default_rng(3)
    u = rng.standard_normal((800, 1))
    wave = np.sin(0.3 * np.arange(801))
    rows = wave.copy()
    rows[1:] += 2.0 * u[:, 0]
    forecaster = DirectForecaster(10, n_features=(0,)).fit(rows[:701], inputs=u[:700])
    ahead = forecaster.forecast(rows[:701], u[:710])
    without = DirectForecaster(10, n_features=(0,)).fit(rows[:701]).forecast(rows[:701])
    truth = rows[701:711]
    assert np.abs(ahead[:, 0] - truth).max() < 0.1
    assert np.abs(without[:, 0] - truth).max() > 2.0


def test_no_regression_sees_what_it_is_judged_on() -> None:
    series = checked_series(recursion(200))
    scales = Scales.of(series)
    folds = Folds([Rows.of(s, scales) for s in series], scales, 7, [10, 5], (), (0,), 3, 1, 0)
    seen = [part[0] for part in folds._parts]
    assert np.array_equal(np.concatenate(seen), np.arange(9, 200 - 7))
    for i, (judged,) in enumerate(folds.judged):
        assert np.concatenate(seen[: i + 1]).max() + 7 <= judged.min()


def test_the_average_is_the_best_of_all_convex_ones() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2, 50_000))
    # independent errors of sizes 1 and 2 are averaged by their inverse squares
    np.testing.assert_allclose(averaged(np.stack([a, 2.0 * b], axis=1)), [0.8, 0.2], atol=0.01)
    np.testing.assert_allclose(averaged(np.stack([a, a + 2.0 * b], axis=1)), [1.0, 0.0], atol=0.01)
    np.testing.assert_allclose(averaged(np.zeros((9, 2))).sum(), 1.0)


def test_ranges_of_leads_cover_every_lead_once() -> None:
    for horizon in (1, 2, 3, 7, 24, 720):
        groups = groups_of(horizon)
        assert [a for a, _ in groups] == [0, *(b for _, b in groups[:-1])]
        assert groups[-1][1] == horizon


def test_a_naive_forecast_repeats_the_mean_season() -> None:
    x = np.arange(6.0)  # newest first: the series was 5, 4, 3, 2, 1, 0
    prior = Trunk(True, 6, 6, 3).prior(np.array([1, 2, 3, 4]))
    np.testing.assert_allclose(x @ prior, [3.5, 2.5, 1.5, 3.5])
    np.testing.assert_allclose(x @ Trunk(True, 6, 2).prior(np.array([1, 9])), [0.5, 0.5])


def test_several_series_are_learned_together_and_none_runs_into_the_next() -> None:
    rows = recursion(NOW + 20)
    pieces = [rows[:150], 3.0 * rows[150:NOW]]
    forecaster = DirectForecaster(20, lookback=10, n_features=(0,)).fit(pieces)
    np.testing.assert_allclose(forecaster.forecast(rows[:NOW]), rows[NOW:], atol=1e-8)


def test_too_few_rows_or_too_long_a_look_back_are_refused() -> None:
    with pytest.raises(ValueError, match="20 rows; expected at least 50"):
        DirectForecaster(20).fit(recursion(20))
    with pytest.raises(ValueError, match="lookback is 90; expected at most 76"):
        DirectForecaster(20, lookback=90).fit(recursion(200))
    forecaster = DirectForecaster(5, n_features=(0,)).fit(recursion(100))
    with pytest.raises(ValueError, match="history 0 has 3 rows"):
        forecaster.forecast(recursion(3))
    with pytest.raises(ValueError, match="no series has 17 rows"):
        forecaster.score(recursion(12))


def test_the_score_is_minus_the_error_over_all_windows() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((400, 1))
    forecaster = DirectForecaster(2, lookback=8, n_features=(0,)).fit(rows)
    windows = np.lib.stride_tricks.sliding_window_view(rows[:, 0], 10)[..., None]
    errors = forecaster.forecast(windows[:, :8]) - windows[:, 8:]
    assert forecaster.score(rows) == pytest.approx(-np.sqrt(np.mean(errors**2)) / rows.std())


def test_a_saved_forecaster_is_the_same_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    rows, u = np.cumsum(rng.standard_normal((300, 2)), axis=0), rng.standard_normal((304, 1))
    fitted = DirectForecaster(4, periods=(5,), n_features=(0, 10), n_draws=2).fit(
        rows, inputs=u[:299]
    )
    fitted.save(tmp_path / "walk.npz")
    again = DirectForecaster.load(tmp_path / "walk.npz")
    one, two = (f.forecast_with_intervals(rows, u[:303]) for f in (fitted, again))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.interval(0.8), two.interval(0.8))
    assert again.weights_ == fitted.weights_
    assert again.get_params() == fitted.get_params()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.npz"
    DirectForecaster(4, n_features=(0,)).fit(recursion(100)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(FileFormatError):
        DirectForecaster.load(path)


def test_draws_of_the_features_are_all_averaged() -> None:
    rows = np.cumsum(np.random.default_rng(7).standard_normal((300, 2)), axis=0)

    def ahead(seed: int, n_draws: int) -> np.ndarray:
        forecaster = DirectForecaster(4, n_features=(10,), n_draws=n_draws, random_state=seed)
        return forecaster.fit(rows).forecast(rows)

    both = ahead(0, 2)
    assert (both != ahead(0, 1)).any() and (both != ahead(1, 1)).any()
    np.testing.assert_array_equal(both, ahead(0, 2))
