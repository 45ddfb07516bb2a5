from typing import Any

import numpy as np
import pytest

from koopman_control.common import optional_package
from koopman_control.forecasting import TimeTable, time_table
from koopman_control.forecasting.calendars import Steps

pandas = pytest.importorskip("pandas", reason="needs pip install pandas")


def read(dates: Any, fill: Any = None) -> TimeTable:
    frame = pandas.DataFrame({"date": dates, "a": np.arange(float(len(dates)))})
    return time_table(frame, ["a"], fill=fill)


def after(table: TimeTable, n: int) -> list[str]:
    return [text.removesuffix(" 00:00:00") for text in table.written(table.dates_after(n))]


def days(*texts: str) -> Any:
    return np.array(texts, "datetime64[D]")


def test_month_ends_go_on_to_the_end_of_each_month() -> None:
    months = np.arange("2023-02", "2024-03", dtype="datetime64[M]")
    ends = months.astype("datetime64[D]") - np.timedelta64(1, "D")
    table = read([str(day) for day in ends])
    assert table.steps == Steps("month end", 1)
    assert after(table, 3) == ["2024-02-29", "2024-03-31", "2024-04-30"]


def test_months_quarters_and_years_keep_their_day() -> None:
    months = np.arange("2020-01", "2023-01", dtype="datetime64[M]")
    fifteenth = [f"{month}-15" for month in months]
    assert read(fifteenth).steps == Steps("month", 1)
    assert after(read(fifteenth), 2) == ["2023-01-15", "2023-02-15"]
    assert after(read(fifteenth[::3]), 2) == ["2023-01-15", "2023-04-15"]
    assert after(read([f"{year}-01-01" for year in range(1990, 2021)]), 2) == [
        "2021-01-01",
        "2022-01-01",
    ]


def test_business_days_leave_weekends_out() -> None:
    every = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")  # a Monday to a Thursday
    table = read([str(day) for day in every[np.is_busday(every)]])
    assert table.steps == Steps("business day", 1)
    assert after(table, 3) == ["2024-03-01", "2024-03-04", "2024-03-05"]
    assert read([str(day) for day in every]).steps is None


def test_a_holiday_is_a_missing_row_among_business_days() -> None:
    every = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
    kept = np.delete(every[np.is_busday(every)], 20)
    with pytest.raises(ValueError, match="1 rows are missing from the table, first after row 19"):
        read([str(day) for day in kept])
    filled = read([str(day) for day in kept], fill="previous")
    np.testing.assert_array_equal(filled.dates.astype("datetime64[D]"), every[np.is_busday(every)])
    assert filled.rows[20, 0] == 19.0


def test_a_month_left_out_is_filled_at_its_end() -> None:
    kept = days("2024-01-31", "2024-03-31", "2024-04-30", "2024-05-31", "2024-06-30", "2024-07-31")
    filled = read([str(day) for day in kept], fill="linear")
    assert str(filled.dates[1].astype("datetime64[D]")) == "2024-02-29"
    np.testing.assert_allclose(filled.rows[:3, 0], [0.0, 0.5, 1.0])


def test_midnights_of_a_clock_that_is_put_forward_are_a_day_apart() -> None:
    dates = pandas.date_range("2024-03-20", periods=20, freq="D", tz="Europe/Berlin")
    table = read(dates)
    assert table.steps == Steps("day", 1)
    assert table.written(table.dates_after(1)) == ["2024-04-09 00:00:00+02:00"]
    texts = [date.isoformat() for date in dates]
    assert read(texts).written(read(texts).dates_after(2))[-1] == "2024-04-10 00:00:00+02:00"


def test_hours_of_a_zone_stay_hours_over_a_change_of_the_clock() -> None:
    dates = optional_package("pandas", "forecast").date_range(
        "2024-10-26", periods=60, freq="h", tz="Europe/Berlin"
    )
    table = read(dates)
    assert table.steps is None and table.dt == 3600.0
    assert table.written(table.dates_after(1)) == ["2024-10-28 11:00:00+01:00"]


def test_seasons_are_counted_in_rows() -> None:
    hours = np.datetime64("2024-01-01", "ns") + np.timedelta64(1, "h") * np.arange(2000)
    rows = np.arange(2000.0)[:, None]
    assert TimeTable(hours, rows, ("a",), 3600.0, ()).seasons() == (24, 168)
    months = np.arange("2000-01", "2010-01", dtype="datetime64[M]")
    assert read([f"{month}-01" for month in months]).seasons() == (12,)
    assert read([f"{month}-01" for month in months[::3]]).seasons() == (4,)


def test_rows_that_no_calendar_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="mixes sampling rates"):
        read(["2024-01-01", "2024-02-03", "2024-03-01", "2024-04-09", "2024-05-01"])
