"""Tables with a column of dates: checked, and brought onto a regular grid where that is asked for.

Rows are counted from 0 for the first one below the header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import (
    Array,
    finite_array,
    optional_package,
    positive_float,
    positive_int,
)
from koopman_control.common.border import CheckedFields, checked, shown
from koopman_control.forecasting.series import Filling, fill_gaps, refuse_gaps, rows_named

Dates = NDArray[np.datetime64]
DATE_NAMES = ("date", "datetime", "time", "timestamp")
GERMAN = "%d.%m.%Y %H:%M:%S"  # as weather stations there write it
YEARS = 1678, 2261  # that dates in ns reach
DAY, YEAR = 86_400.0, 365.2425 * 86_400.0
SAME_INTERVAL = 1e-3  # relative
MOST_FILLED = 10  # times as many rows as there were, for a date far off would ask for any memory


@dataclass(frozen=True)
class TimeTable(CheckedFields):
    """Regular rows.

    Args:
        dates: Shape (T,).
        rows: Values, shape (T, p).
        names: Names of the p columns.
        dt: Time between rows in seconds.
        repairs: What was filled or dropped, in words.
    """

    dates: Dates
    rows: Array
    names: tuple[str, ...]
    dt: float
    repairs: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that there are finite rows, one for each date, with a name for each column."""
        super().__post_init__()
        finite_array("rows", self.rows, shape=(np.size(self.dates), len(self.names)))
        if np.ndim(self.dates) != 1 or not np.size(self.rows):
            raise ValueError(
                f"dates has shape {np.shape(self.dates)} beside rows of shape "
                f"{np.shape(self.rows)}; expected a date for each row, and at least one column"
            )
        positive_float("dt", self.dt)

    @checked
    def dates_after(self, n_steps: int) -> Dates:
        """Return the dates of the rows that follow, shape (n_steps,)."""
        positive_int("n_steps", n_steps, minimum=0)
        step = np.timedelta64(round(self.dt * 1e9), "ns")
        return np.asarray(self.dates[-1] + step * np.arange(1, n_steps + 1))

    @checked
    def calendar(self, n_more: int = 0) -> Array:
        """Return what dates tell in advance: sine and cosine of the day, and of the year.

        A period is left out where the table covers less than two of it, or has fewer than four
        rows in it.

        Args:
            n_more: Number of further rows after the last.

        Returns:
            Shape (T + n_more, m).
        """
        positive_int("n_more", n_more, minimum=0)
        dates = np.concatenate([self.dates, self.dates_after(n_more)])
        seconds = (dates - np.datetime64("1970-01-01", "ns")) / np.timedelta64(1, "s")
        covered = len(self.dates) * self.dt
        periods = [p for p in (DAY, YEAR) if covered >= 2.0 * p and self.dt <= p / 4.0]
        phases = [2.0 * np.pi * seconds / period for period in periods]
        waves = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
        return np.column_stack(waves) if waves else np.empty((len(dates), 0))


@checked
def time_table(
    frame: Any, columns: Sequence[str], date: str | None = None, fill: Filling | None = None
) -> TimeTable:
    """Read columns of a pandas frame as a regular table.

    Args:
        frame: The frame.
        columns: Names of the columns of numbers to read.
        date: Name of the column of dates; None looks for one of the usual name.
        fill: How to fill missing rows and values, dropping rows that repeat a date; None refuses
            them.

    Raises:
        ValueError: A column is missing or holds text; dates cannot be read, go back, repeat, or
            are not evenly spaced; or there are gaps and no `fill`. The message names the rows.
    """
    if not hasattr(frame, "columns"):
        raise TypeError(f"frame is {shown(frame)}; expected a pandas.DataFrame")
    if not len(columns):
        raise ValueError("columns is empty; expected at least one name of a column of numbers")
    name = _date_column(frame, date)
    dates = _dates(frame[name], name)
    rows = np.column_stack([_numbers(frame, column) for column in columns])
    repairs = []
    repeated = np.flatnonzero(np.diff(dates) == np.timedelta64(0, "ns")) + 1
    if len(repeated):
        if fill is None:
            raise ValueError(
                f"column {name!r} repeats the date before in {rows_named(repeated)}; remove these "
                "rows, or drop them with fill"
            )
        dates, rows = np.delete(dates, repeated), np.delete(rows, repeated, axis=0)
        repairs.append(f"dropped {rows_named(repeated)} for repeating a date")
    places, dt = _places(dates, name)
    missing = int(places[-1]) + 1 - len(places)
    if missing and fill is None:
        first = int(np.flatnonzero(np.diff(places) > 1)[0])
        raise ValueError(
            f"{missing} rows are missing from the table, first after row {first} ({dates[first]}); "
            "fill them deliberately with fill, or cut the table"
        )
    if fill is None:
        refuse_gaps("the table", rows)
        return TimeTable(dates, rows, tuple(columns), dt, ())
    if missing > MOST_FILLED * len(places):
        raise ValueError(
            f"column {name!r} leaves {missing} rows out between {len(places)}; expected at most "
            f"{MOST_FILLED} times as many to fill: cut the table, or repair its dates"
        )
    if missing:
        repairs.append(f"filled in {missing} missing rows")
    regular = np.full((int(places[-1]) + 1, rows.shape[1]), np.nan)
    regular[places] = rows
    empty = int((~np.isfinite(rows)).sum())
    if empty:
        repairs.append(f"filled {empty} missing values")
    step = np.timedelta64(round(dt * 1e9), "ns")
    grid = np.asarray(dates[0] + step * np.arange(len(regular)))
    return TimeTable(grid, fill_gaps(regular, fill), tuple(columns), dt, tuple(repairs))


def _date_column(frame: Any, date: str | None) -> str:
    names = [str(column) for column in frame.columns]
    usual = [column for column in names if column.lower() in DATE_NAMES]
    if date is None and usual:
        return usual[0]
    if date in names:
        return str(date)
    missing = "no column of dates" if date is None else f"no column {date!r}"
    raise ValueError(f"the table has {missing}; name one of {names} as date")


def _dates(column: Any, name: str) -> Dates:
    """Read dates in ISO 8601 (or as German weather stations write them); they must not go back."""
    pandas = optional_package("pandas", "forecast")
    if pandas.api.types.is_numeric_dtype(column):
        column = column.astype(str)  # 20200131 is a date, too
    parsed = pandas.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    if parsed.isna().any():
        german = pandas.to_datetime(column, format=GERMAN, errors="coerce", utc=True)
        parsed = german if german.isna().sum() < parsed.isna().sum() else parsed
    unread = np.flatnonzero(parsed.isna().to_numpy())
    if len(unread):
        raise ValueError(
            f"column {name!r} holds {column.iloc[unread[0]]!r}, no date, in {rows_named(unread)}; "
            "expected dates such as 2020-01-31 00:10:00"
        )
    years = parsed.dt.year.to_numpy()
    beyond = np.flatnonzero((years < YEARS[0]) | (years > YEARS[1]))
    if len(beyond):
        raise ValueError(
            f"column {name!r} holds {column.iloc[beyond[0]]!r} in {rows_named(beyond)}; expected "
            f"years from {YEARS[0]} to {YEARS[1]}"
        )
    dates: Dates = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    if len(dates) < 2:
        raise ValueError(f"the table has {len(dates)} rows; expected at least 2")
    back = np.flatnonzero(np.diff(dates) < np.timedelta64(0, "ns")) + 1
    if len(back):
        raise ValueError(
            f"column {name!r} goes back in time in {rows_named(back)}; sort the table by date"
        )
    return dates


def _numbers(frame: Any, column: str) -> Array:
    if column not in frame.columns:
        raise ValueError(f"the table has no column {column!r}; it has {list(frame.columns)}")
    pandas = optional_package("pandas", "forecast")
    given = frame[column]
    numbers = pandas.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64)
    text = np.flatnonzero(np.isnan(numbers) & ~given.isna().to_numpy())
    if len(text):
        raise ValueError(
            f"column {column!r} holds {given.iloc[text[0]]!r}, no number, in {rows_named(text)}"
        )
    return np.asarray(numbers)


def _places(dates: Dates, name: str) -> tuple[NDArray[np.int64], float]:
    """Return the place of every row on a regular grid, and the grid's step in seconds."""
    intervals = np.diff(dates) / np.timedelta64(1, "s")
    dt = float(np.median(intervals))
    steps = np.round(intervals / dt)
    odd = np.flatnonzero(np.abs(intervals / dt - steps) > SAME_INTERVAL * steps)
    odd = odd if len(odd) else np.flatnonzero(steps < 1)
    slow = steps > 1  # a column logged at another rate looks like one gap after the other
    if not len(odd) and slow.mean() > 0.1:
        odd = np.flatnonzero(slow)
    if len(odd):
        raise ValueError(
            f"column {name!r} mixes sampling rates: most rows are {dt:g} s apart, row {odd[0] + 1} "
            f"comes {intervals[odd[0]]:g} s after the one before; resample the table to one rate"
        )
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.int64), dt
