import numpy as np
import pytest

from koopman_control.evaluation import backtest
from koopman_control.evaluation.forecasts import _simple
from koopman_control.evaluation.plots import forecast_figure
from koopman_control.forecasting import TimeTable

START = np.datetime64("2024-01-01T00:00:00", "ns")


def hourly(n: int) -> TimeTable:
    t = np.arange(n)
    noise = np.random.default_rng(0).normal(size=(n, 2))
    rows = np.sin(2 * np.pi * t / 24)[:, None] * [3.0, 1.0] + 0.1 * noise
    return TimeTable(START + np.timedelta64(1, "h") * t, rows, ("a", "b"), 3600.0, ())


def test_the_refit_counts_every_pair_of_rows_once() -> None:
    result = backtest(hourly(301), 1, 6, memory=4, n_draws=1)
    total = result.forecaster._ensemble.members[0].total.factor()
    assert total.n_samples == 300 - 4


def test_only_targets_are_scored_and_forecast() -> None:
    result = backtest(hourly(300), 1, 6, memory=2, n_draws=2)
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


def test_rows_a_day_apart_have_no_yesterday_beside_the_last_value() -> None:
    hours = hourly(200)
    table = TimeTable(
        START + np.timedelta64(24, "h") * np.arange(200), hours.rows, ("a", "b"), 86400.0, ()
    )
    assert set(_simple(table, np.array([100]), 3, 1)) == {"persistence"}


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
