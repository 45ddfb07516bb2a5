import numpy as np
import pytest

from koopman_control.common import Array
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import Forecast, SampledRNN
from koopman_control.forecasting.intervals import Calibration, tracked


def walk(n: int, seed: int) -> Array:
    """Simulate y+ = 0.9 y + noise."""
    noise = np.random.default_rng(seed).normal(size=n)
    y = np.zeros(n)
    for t in range(1, n):
        y[t] = 0.9 * y[t - 1] + noise[t]
    return y[:, None]


def test_intervals_cover_new_data_as_often_as_promised_at_every_lead() -> None:
    features = SampledFeatures(10, steepness=0.25, random_state=0)
    fit = SampledRNN(features, horizon=8, n_draws=2).fit(walk(6000, seed=0))
    series = walk(8000, seed=1)
    starts = np.arange(0, 7990, 10)
    forecast = fit.forecast_with_intervals(series[starts][:, None], 8)
    truth = np.stack([series[s + 1 : s + 9] for s in starts])
    for level in (0.5, 0.9):
        low, high = forecast.interval(level)
        covered = ((low <= truth) & (truth <= high)).mean(axis=(0, 2))
        # 200 windows of calibration and 799 of test leave a standard deviation below 0.04.
        assert np.abs(covered - level).max() < 0.12
    width = (high - low)[..., 0].mean(axis=0) / 2.0
    steps = np.arange(1, 9)
    sigma = np.sqrt((1.0 - 0.81**steps) / (1.0 - 0.81))  # of the walk, given its start
    np.testing.assert_allclose(width, 1.645 * sigma, rtol=0.2)


def test_the_interval_is_the_conformal_rank_of_the_ratios() -> None:
    ratios = np.array([3.0, -1.0, 2.0, -5.0, 4.0, 0.5, 0.0, 1.5, -2.5])[:, None, None]
    forecast = Forecast(np.array([[10.0]]), np.array([[2.0]]), ratios)
    low, high = forecast.interval(0.5)  # the 5th smallest of 9: ceil(0.5 * 10)
    assert (low[0, 0], high[0, 0]) == (10.0 - 4.0, 10.0 + 4.0)
    assert forecast.interval(0.95)[1][0, 0] == np.inf  # needs 19 windows
    np.testing.assert_allclose(forecast.samples()[:, 0, 0], 10.0 + 2.0 * ratios[:, 0, 0])


def test_calibration_divides_errors_by_spread_and_usual_error() -> None:
    members = np.array([[[[1.0]], [[2.0]]], [[[3.0]], [[2.0]]]])  # two members, two windows
    calibration = Calibration.of(members, np.array([[[5.0]], [[-2.0]]]))
    usual = np.sqrt((3.0**2 + 4.0**2) / 2.0)
    assert calibration.usual[0, 0] == pytest.approx(usual)
    np.testing.assert_allclose(calibration.ratios[:, 0, 0], [3.0 / (1.0 + usual), -4.0 / usual])


def test_steps_beyond_a_window_do_not_count() -> None:
    members = np.zeros((1, 2, 2, 1))
    truth = np.array([[[1.0], [2.0]], [[3.0], [np.nan]]])
    calibration = Calibration.of(members, truth)
    np.testing.assert_allclose(calibration.usual[:, 0], [np.sqrt(5.0), 2.0])
    assert np.isnan(calibration.ratios[1, 1, 0])


def test_a_level_is_a_probability() -> None:
    one = np.ones((1, 1))
    with pytest.raises(ValueError, match="between 0 and 1"):
        Forecast(one, one, one[None]).interval(90)


def test_widths_follow_what_was_missed_so_that_intervals_hold_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    ratios = 3.0 * rng.standard_normal((4_000, 2, 1))  # three times as wide as was measured before
    factors = tracked(ratios, np.full((2, 1), 1.645), np.arange(4_000), 0.9)
    inside = np.abs(ratios) <= 1.645 * factors[:-1]
    np.testing.assert_allclose(inside[500:].mean(axis=0), 0.9, atol=0.01)
    np.testing.assert_allclose(np.median(factors[500:], axis=0), 3.0, rtol=0.1)


def test_a_width_knows_nothing_before_its_rows_have_come() -> None:
    origins = np.array([10, 12, 14])
    ratios = np.full((3, 3, 1), 5.0)
    factors = tracked(ratios, np.ones((3, 1)), origins, 0.9)
    first = factors[1, 0, 0]
    assert first > 1.0
    np.testing.assert_allclose(factors[0, :, 0], 1.0)
    np.testing.assert_allclose(factors[1, :, 0], [first, first, 1.0])  # row 13 has not come
    second = factors[2, 0, 0]
    assert first < second < first**2  # the more is known, the less an outcome tells
    np.testing.assert_allclose(factors[2, :, 0], [second, second, first])
    assert np.ptp(factors[3]) == 0.0  # at the end all have


def test_a_width_that_was_far_off_is_found_soon_and_then_kept() -> None:
    rng = np.random.default_rng(1)
    for size in (0.5, 2.0):
        ratios = size * rng.standard_normal((200, 1, 400))
        factors = tracked(ratios, np.full((1, 400), 1.645), np.arange(200), 0.9)
        inside = (np.abs(ratios) <= 1.645 * factors[:-1]).mean(axis=2)[:, 0]
        assert abs(inside[30:60].mean() - 0.9) < 0.025
        assert abs(inside[100:].mean() - 0.9) < 0.015
        late = np.log(factors[-1, 0])
        assert late.std() < 0.25  # chance alone


def test_an_outcome_that_is_not_known_moves_no_width() -> None:
    ratios = np.array([5.0, np.nan, 0.1])[:, None, None]
    there = tracked(ratios, np.ones((1, 1)), np.arange(3), 0.9)
    known = tracked(ratios[[0, 2]], np.ones((1, 1)), np.array([0, 2]), 0.9)
    np.testing.assert_array_equal(there[-1], known[-1])
