"""Time zones, clock changes, and dates in two columns.

After darts #1709 and #1052 (offsets lost, clock changes), and tables as loggers write them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from koopman_control.cli import app
from koopman_control.common import optional_package
from koopman_control.forecasting import TimeTable, time_table

pytest.importorskip("pandas", reason="needs pip install pandas")
pandas = optional_package("pandas", "forecast")

ZONES = ("Europe/Amsterdam", "America/New_York", "Australia/Sydney", "Europe/London")


def frame(dates: Any, **columns: Any) -> Any:
    """Make a table with a wave beside its dates."""
    values = np.arange(len(dates)) + 0.25 * np.sin(np.arange(len(dates)))
    return pandas.DataFrame({"date": list(dates), "y": values} | columns)


def through_clock_changes(zone: str, step: str) -> Any:
    return pandas.date_range("2021-08-01", "2022-12-01", freq=step, tz=zone)


def same_rows(table: TimeTable, given: Any, step: str) -> None:
    """Check that every row is there, once, at its place."""
    np.testing.assert_array_equal(table.rows[:, 0], given["y"].to_numpy())
    seconds = pandas.Timedelta(step).total_seconds()
    assert table.dt == seconds
    assert np.all(np.diff(table.dates) == np.timedelta64(round(seconds * 1e9), "ns"))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("step", ["20min", "1h", "2h"])
def test_a_clock_that_is_changed_loses_no_row_with_or_without_offsets(zone: str, step: str) -> None:
    dates = through_clock_changes(zone, step)
    told = frame([date.isoformat() for date in dates])
    table = time_table(told, ["y"])
    same_rows(table, told, step)
    assert any("changes its offset from UTC in 3 rows" in text for text in table.repairs)
    untold = frame([date.strftime("%Y-%m-%d %H:%M:%S") for date in dates])
    for fill in (None, "linear"):
        table = time_table(untold, ["y"], fill=fill)
        same_rows(table, untold, step)
        assert str(table.dates[-1])[:19] == dates[-1].strftime("%Y-%m-%dT%H:%M:%S")
        assert any("the clock was put back an hour before" in text for text in table.repairs)


def test_forecasts_carry_the_offset_of_the_last_row() -> None:
    dates = pandas.date_range("2022-10-20", periods=400, freq="h", tz="Europe/Amsterdam")
    table = time_table(frame([date.isoformat() for date in dates]), ["y"])
    assert table.written(table.dates_after(2)) == [
        "2022-11-05 15:00:00+01:00",
        "2022-11-05 16:00:00+01:00",
    ]
    assert table.written(table.dates[-1:]) == ["2022-11-05 14:00:00+01:00"]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [("Z", "+00:00"), ("+05:30", "+05:30"), ("-0330", "-03:30"), ("+02", "+02:00")],
)
def test_offsets_of_every_spelling_are_kept(offset: str, expected: str) -> None:
    table = time_table(frame([f"2022-05-01T{h:02d}:00:00{offset}" for h in range(20)]), ["y"])
    assert table.written(table.dates)[3] == f"2022-05-01 03:00:00{expected}"
    shown = np.datetime64("2022-05-01T03:00:00", "ns")
    assert table.clock(table.dates)[3] == shown
    assert not table.repairs


def test_a_zone_that_pandas_knows_is_kept_over_the_next_clock_change() -> None:
    dates = pandas.date_range("2022-10-25", "2022-10-30 01:00", freq="h", tz="Europe/Amsterdam")
    table = time_table(frame(dates), ["y"])
    assert [text[11:] for text in table.written(table.dates_after(3))] == [
        "02:00:00+02:00",
        "02:00:00+01:00",
        "03:00:00+01:00",
    ]


def test_hours_of_the_day_are_those_of_the_wall_clock() -> None:
    wall = pandas.date_range("2022-05-01", periods=24 * 5, freq="h")
    plain, east = (
        time_table(frame([f"{date.isoformat()}{end}" for date in wall]), ["y"])
        for end in ("", "+05:00")
    )
    np.testing.assert_array_equal(plain.calendar(3), east.calendar(3))
    assert plain.written(plain.dates_after(1)) == ["2022-05-06 00:00:00"]


def test_an_hour_that_may_be_a_clock_put_forward_is_said_to_be_one() -> None:
    dates = pandas.date_range("2022-03-20", "2022-04-02", freq="h", tz="Europe/Amsterdam")
    given = frame([date.strftime("%Y-%m-%d %H:%M:%S") for date in dates])
    with pytest.raises(ValueError, match=r"1 rows are missing .* the clock was put forward here"):
        time_table(given, ["y"])


def test_rows_that_repeat_a_date_by_mistake_are_still_refused() -> None:
    dates = [str(d) for d in pandas.date_range("2022-10-29", periods=60, freq="h")]  # over a Sunday
    dates[27] = dates[26]  # 02:00 twice, but the row after it comes two hours later
    with pytest.raises(ValueError, match="repeats the date before in row 27"):
        time_table(frame(dates), ["y"])
    swapped = [str(d) for d in pandas.date_range("2022-10-29", periods=60, freq="30min")]
    swapped[30], swapped[31] = swapped[31], swapped[30]
    with pytest.raises(ValueError, match="goes back in time in row 31; sort the table by date"):
        time_table(frame(swapped), ["y"])


def test_offsets_in_some_rows_only_are_refused() -> None:
    dates = [f"2022-05-01T{h:02d}:00:00{'+01:00' if h > 3 else ''}" for h in range(20)]
    with pytest.raises(ValueError, match=r"no offset from UTC in 4 rows \(0, 1, 2, 3\)"):
        time_table(frame(dates), ["y"])


def in_two_columns(days: str, times: str, n: int = 60) -> Any:
    dates = pandas.date_range("2022-05-01", periods=n, freq="30min")
    return frame(dates.strftime(days), clock=list(dates.strftime(times)))


@pytest.mark.parametrize("days", ["%Y-%m-%d", "%d.%m.%Y", "%Y%m%d"])
@pytest.mark.parametrize("times", ["%H:%M", "%H:%M:%S", "%I:%M %p"])
@pytest.mark.parametrize("asked", [None, "date", ["date", "clock"]])
def test_days_and_times_in_two_columns_are_put_together(
    days: str, times: str, asked: str | list[str] | None
) -> None:
    given = in_two_columns(days, times)
    for fill in (None, "linear"):
        table = time_table(given, ["y"], asked, fill)
        same_rows(table, given, "30min")
        assert str(table.dates[1]) == "2022-05-01T00:30:00.000000000"
        took = [
            text for text in table.repairs if "took the time of day from column 'clock'" in text
        ]
        assert len(took) == (not isinstance(asked, list))


@pytest.mark.parametrize("order", [["date", "time", "y"], ["time", "date", "y"]])
def test_columns_called_date_and_time_are_told_apart(order: list[str]) -> None:
    given = in_two_columns("%Y-%m-%d", "%H:%M").rename(columns={"clock": "time"})[order]
    same_rows(time_table(given, ["y"]), given, "30min")


def test_hours_counted_from_one_to_twenty_four_end_a_day() -> None:
    hours = np.arange(1, 25)
    days = np.repeat(["2022-05-01", "2022-05-02"], 24)
    given = frame(days, hr=np.tile(hours, 2))
    table = time_table(given, ["y"], ["date", "hr"])
    same_rows(table, given, "1h")
    assert str(table.dates[23])[:13] == "2022-05-02T00"


def test_days_whose_times_are_nowhere_are_refused_and_never_dropped() -> None:
    given = in_two_columns("%Y-%m-%d", "%H:%M").rename(columns={"clock": "elsewhere"})
    for fill in (None, "linear"):
        with pytest.raises(ValueError, match="days without the time of day; name the column"):
            time_table(given, ["y"], None, fill)
    same_rows(time_table(given, ["y"], ["date", "elsewhere"]), given, "30min")
    with pytest.raises(ValueError, match="holds 'never', no time of day, in row 7"):
        given.loc[7, "elsewhere"] = "never"
        time_table(given, ["y"], ["date", "elsewhere"])
    with pytest.raises(ValueError, match="date names 3 columns"):
        time_table(given, ["y"], ["date", "elsewhere", "y"])


def test_the_command_takes_two_columns_and_writes_the_offset(tmp_path: Path) -> None:
    given = in_two_columns("%Y-%m-%d", "%H:%M", n=300).rename(columns={"date": "day"})
    given["y"] = np.sin(np.arange(300) / 7.6)
    path = tmp_path / "table.csv"
    given.to_csv(path, index=False)
    quick = [
        "--target",
        "y",
        "--horizon",
        "2",
        "--lookback",
        "8",
        "--output",
        str(tmp_path / "out"),
    ]
    asked = ["--date", "day", "--date", "clock"]
    result = CliRunner().invoke(app, ["forecast", str(path), *quick, *asked])
    assert result.exit_code == 0, result.output
    (made,) = (tmp_path / "out").iterdir()
    assert (made / "forecast.csv").read_text("utf-8").splitlines()[1].startswith("2022-05-07 06:00")
