import numpy as np
import pytest

from koopman_control.evaluation import backtest
from koopman_control.evaluation.backtest import _simple
from koopman_control.evaluation.plots import forecast_figure
from koopman_control.forecasting import DirectForecaster, TimeTable

START = np.datetime64("2024-01-01T00:00:00", "ns")


def hourly(n: int) -> TimeTable:
    t = np.arange(n)
    noise = np.random.default_rng(0).normal(size=(n, 2))
    rows = np.sin(2 * np.pi * t / 24)[:, None] * [3.0, 1.0] + 0.1 * noise
    return TimeTable(START + np.timedelta64(1, "h") * t, rows, ("a", "b"), 3600.0, ())


def test_the_forecast_ahead_is_that_of_a_fit_to_all_rows() -> None:
    table = hourly(301)
    result = backtest(table, 1, 6)
    U = table.calendar(6)[1:]
    forecaster = DirectForecaster(6, periods=(24,)).fit(table.rows, inputs=U[:300])
    np.testing.assert_allclose(result.ahead.mean, forecaster.forecast(table.rows, U)[:, :1])


def test_every_part_of_the_last_fifth_is_forecast_by_a_fit_to_what_was_before() -> None:
    table = hourly(300)
    result = backtest(table, 1, 6, refits=2)
    rows = table.rows.copy()
    rows[270:] += 100.0  # after the first part and its horizon
    changed = TimeTable(table.dates, rows, table.names, 3600.0, ())
    other = backtest(changed, 1, 6, refits=2)
    early = result.origins + 6 < 270
    assert 0 < early.sum() < len(early)
    first = result.origins < 266
    np.testing.assert_array_equal(result.forecasts[0, first], other.forecasts[0, first])
    np.testing.assert_array_equal(result.forecasts[:, early], other.forecasts[:, early])


def test_what_is_known_of_the_rows_to_come_is_used() -> None:
    rng = np.random.default_rng(0)
    u = rng.standard_normal(420)
    rows = np.column_stack([3.0 * u + 0.1 * rng.standard_normal(420), u])
    dates = START + np.timedelta64(1, "h") * np.arange(400)
    table = TimeTable(dates, rows[:400], ("load", "wind"), 3600.0, ())
    result = backtest(table, 1, 20, future=rows[400:, 1:])
    assert np.abs(result.ahead.mean[:, 0] - rows[400:, 0]).max() < 1.0
    assert result.scores["mse_model"][0] < 0.1
    with pytest.raises(ValueError, match="future has shape"):
        backtest(table, 1, 20, future=rows[410:, 1:])


def test_each_horizon_has_scores_of_its_own() -> None:
    result = backtest(hourly(300), 2, 6, horizons=(2,))
    scores = result.scores["by_horizon"]
    assert list(scores) == ["2", "6"]
    squares = (result.forecasts[0] - result.truth) ** 2
    np.testing.assert_allclose(scores["2"]["model"], squares[:, :2].mean(axis=(0, 1)))


def test_only_targets_are_scored_and_forecast() -> None:
    result = backtest(hourly(300), 1, 6)
    assert result.scores["targets"] == ["a"]
    assert len(result.scores["crps"]) == 1
    assert result.ahead.mean.shape == (6, 1)
    assert result.ahead.samples().shape[1:] == (6, 1)
    model = result.scores["mse_model"][0]
    assert model == pytest.approx(np.mean(result.errors["model"] ** 2))


def test_yesterday_is_never_taken_from_the_future() -> None:
    table = hourly(200)
    simple = _simple(table, np.array([100]), 60, 1)
    leads = np.arange(1, 61)
    source = np.where(leads <= 24, 100 + leads - 24, 100 + leads - 48)
    source = np.where(leads > 48, 100 + leads - 72, source)
    np.testing.assert_array_equal(simple["same_as_yesterday"][0, :, 0], table.rows[source, 0])
    np.testing.assert_array_equal(simple["persistence"][0, :, 0], np.full(60, table.rows[100, 0]))


def test_rows_a_day_apart_are_compared_with_a_week_ago() -> None:
    dates = START + np.timedelta64(24, "h") * np.arange(200)
    table = TimeTable(dates, hourly(200).rows, ("a", "b"), 86400.0, ())
    simple = _simple(table, np.array([100]), 8, 1)
    assert set(simple) == {"persistence", "same_as_last_season"}
    source = [*range(94, 101), 94]
    np.testing.assert_array_equal(simple["same_as_last_season"][0, :, 0], table.rows[source, 0])


def test_the_calendar_knows_the_day_and_goes_on_after_the_table() -> None:
    calendar = hourly(72).calendar(24)
    phase = 2 * np.pi * np.arange(96) / 24
    np.testing.assert_allclose(calendar, np.column_stack([np.sin(phase), np.cos(phase)]), atol=1e-9)
    assert hourly(40).calendar().shape == (40, 0)  # less than two days


def test_the_figure_states_the_errors_over_all_leads() -> None:
    table, ones = hourly(20), np.ones(5)
    ahead = (table.dates_after(5), ones, 0 * ones, np.full(5, np.inf))
    errors = {"model": [0.3, 0.4], "persistence": [1.0, 7.0]}
    figure = forecast_figure((table.dates, table.rows[:, 0]), ahead, errors, "T", 0.9)
    assert figure.get_suptitle() == "Error of T over 2 steps: model 0.35, persistence 5"
    assert "90 % interval" in figure.axes[0].get_legend_handles_labels()[1]
