"""Tables with a column of dates: checked, and brought onto a regular grid where that is asked for.

Rows are counted from 0 for the first one below the header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
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
from koopman_control.forecasting.calendars import Steps, calendar_steps
from koopman_control.forecasting.series import Filling, fill_gaps, refuse_gaps
from koopman_control.trajectories.table import (
    HOUR,
    KEEP,
    Clock,
    Dates,
    read_clock,
    read_numbers,
    rows_named,
    wall_clock,
)

DAY, WEEK, YEAR = 86_400.0, 7 * 86_400.0, 365.2425 * 86_400.0
SAME_INTERVAL = 1e-3  # relative
SECOND = np.timedelta64(1, "s")
SHORTEST, LONGEST = 1e-6, 4e9  # seconds between rows, and in a table: what dates in ns can tell
MOST_FILLED = 10  # times as many rows as there were, for a date far off would ask for any memory


@dataclass(frozen=True)
class TimeTable(CheckedFields):
    """Regular rows.

    Args:
        dates: Shape (T,); in UTC where the zone is known.
        rows: Values, shape (T, p).
        names: Names of the p columns.
        dt: Time between rows in seconds.
        repairs: What was filled, dropped or counted on, in words.
        zone: The time zone that the dates were written in, or None where they did not tell.
        steps: What spaces the rows where a calendar does, such as months; dt is then what is usual.
        seconds: Time of the first row in seconds, of a table that counts these and knows no dates:
            `dates` are then counted from 1970 on and mean nothing else.
    """

    dates: Dates
    rows: Array
    names: tuple[str, ...]
    dt: float
    repairs: tuple[str, ...]
    zone: tzinfo | None = None
    steps: Steps | None = None
    seconds: float | None = None

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
        if self.seconds is not None and not np.isfinite(self.seconds):
            raise ValueError(f"seconds is {self.seconds}; expected a finite time of the first row")

    @checked
    def dates_after(self, n_steps: int) -> Dates:
        """Return the dates of the rows that follow, shape (n_steps,)."""
        positive_int("n_steps", n_steps, minimum=0)
        return following(self.dates[-1], n_steps, self.dt, self.steps, self.zone)

    @checked
    def clock(self, dates: Dates) -> Dates:
        """Return what clocks of the zone show at dates of the table's kind."""
        return wall_clock(dates, self.zone)

    @checked
    def counted(self, dates: Dates) -> Array:
        """Return the seconds that a table without dates counts at dates of its kind."""
        return np.asarray((self.seconds or 0.0) + (dates - self.dates[0]) / SECOND)

    @checked
    def written(self, dates: Dates) -> list[str]:
        """Write dates of the table's kind as the table has them, with their offset from UTC."""
        if self.seconds is not None:
            return [f"{second:.12g}" for second in self.counted(dates).tolist()]
        shows = self.clock(dates)
        texts = [str(text).replace("T", " ") for text in np.datetime_as_string(shows, unit="s")]
        if self.zone is None:
            return texts
        minutes = (shows - dates) // np.timedelta64(1, "m")
        ends = [
            f"{'-' if m < 0 else '+'}{abs(m) // 60:02d}:{abs(m) % 60:02d}" for m in minutes.tolist()
        ]
        return [text + end for text, end in zip(texts, ends, strict=True)]

    @checked
    def calendar(self, n_more: int = 0, periods: Sequence[float] | None = None) -> Array:
        """Return what dates tell in advance: sine and cosine of the day, the week and the year.

        A period is left out where the table covers less than two of it, or has fewer than four
        rows in it.

        Args:
            n_more: Number of further rows after the last.
            periods: Periods in seconds; None takes those of `periods`.

        Returns:
            Shape (T + n_more, m).
        """
        positive_int("n_more", n_more, minimum=0)
        dates = self.clock(np.concatenate([self.dates, self.dates_after(n_more)]))
        seconds = (dates - np.datetime64("1970-01-01", "ns")) / np.timedelta64(1, "s")
        waves_of = self.periods() if periods is None else periods
        phases = [2.0 * np.pi * seconds / period for period in waves_of]
        waves = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
        return np.column_stack(waves) if waves else np.empty((len(dates), 0))

    def periods(self) -> list[float]:
        """Return which of day, week and year, in seconds, the table covers twice and resolves.

        None where there are no dates: nobody says that a day matters to it.
        """
        if self.seconds is not None:
            return []
        covered = len(self.dates) * self.dt
        return [p for p in (DAY, WEEK, YEAR) if covered >= 2.0 * p and self.dt <= p / 4.0]

    def seasons(self) -> tuple[int, ...]:
        """Return after how many rows a day, a week and a year have passed, where that is whole.

        Two of a season have to fit into a quarter of the table. None where there are no dates.
        """
        if self.seconds is not None:
            return ()
        rows: dict[float, float] = {period: period / self.dt for period in (DAY, WEEK, YEAR)}
        if self.steps is not None and self.steps.unit.startswith("month"):
            rows = {YEAR: 12.0 / self.steps.count}
        elif self.steps is not None and self.steps.unit == "business day":
            rows = {WEEK: 5.0}
        whole = [k for k in rows.values() if abs(k - round(k)) < SAME_INTERVAL * k]
        return tuple(round(k) for k in whole if 2 <= round(k) <= len(self.rows) // 4)


def following(
    last: np.datetime64, n: int, dt: float, steps: Steps | None, zone: tzinfo | None
) -> Dates:
    """Return the dates of n rows after one, in UTC where the zone is known, shape (n,)."""
    if steps is None:
        step = np.timedelta64(round(dt * 1e9), "ns")
        return np.asarray(last + step * np.arange(1, n + 1))
    shown = steps.after(wall_clock(np.array([last]), zone)[0], n)
    if zone is None:
        return shown
    pandas = optional_package("pandas", "forecast")
    local = pandas.DatetimeIndex(shown).tz_localize(
        zone, ambiguous=np.ones(n, dtype=bool), nonexistent="shift_forward"
    )
    return np.asarray(local.tz_convert("UTC").tz_localize(None).to_numpy(), "datetime64[ns]")


@checked
def time_table(
    frame: Any,
    columns: Sequence[str],
    date: str | Sequence[str] | None = None,
    fill: Filling | None = None,
    missing: Sequence[str | int | float] = (),
    *,
    seconds: str | None = None,
    dt: float | None = None,
) -> TimeTable:
    """Read columns of a pandas frame as a regular table.

    Args:
        frame: The frame.
        columns: Names of the columns of numbers to read.
        date: Name of the column of dates, or of two: of days, and of the time of day; None looks
            for columns of the usual names. Dates with an offset from UTC keep it.
        fill: How to fill missing rows and values, dropping rows that repeat a date; None refuses
            them.
        missing: Numbers or texts that stand for a missing value, such as -9999. What looks like
            one and is not listed is refused; "none" keeps every number.
        seconds: Name of a column that counts seconds, of a table without dates.
        dt: Seconds from row to row, of a table without any times.

    Raises:
        ValueError: A column is missing or holds text, or numbers that look like markers of missing
            values; dates cannot be read, go back, repeat, or are not evenly spaced; or there are
            gaps and no `fill`. The message names the rows.
    """
    if not hasattr(frame, "columns"):
        raise TypeError(f"frame is {shown(frame)}; expected a pandas.DataFrame")
    if not len(columns):
        raise ValueError("columns is empty; expected at least one name of a column of numbers")
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise ValueError(f"the table has no column {absent[0]!r}; it has {list(frame.columns)}")
    said = list[str]()
    if seconds is None and dt is None:
        clock, first_second = read_clock(frame, date), None
    else:
        clock, first_second = _read_seconds(frame, date, seconds, dt)
    name, dates = clock.name, clock.dates
    rows = np.column_stack([read_numbers(frame, column, missing, said) for column in columns])
    repairs = [*clock.notes, *said]
    repeated = np.flatnonzero(np.diff(dates) == np.timedelta64(0, "ns")) + 1
    if len(repeated):
        if fill is None:
            raise ValueError(
                f"column {name!r} repeats the date before in {rows_named(repeated)}; remove these "
                "rows, or drop them with fill"
            )
        dates, rows = np.delete(dates, repeated), np.delete(rows, repeated, axis=0)
        repairs.append(f"dropped {rows_named(repeated)} for repeating a date")
    places, step, steps = _places(dates, name, clock.zone)
    left_out = int(places[-1]) + 1 - len(places)
    if left_out and fill is None:
        first = int(np.flatnonzero(np.diff(places) > 1)[0])
        raise ValueError(
            f"{left_out} rows are missing from the table, first after row {first} ({dates[first]});"
            f" fill them deliberately with fill, or cut the table{_summer_time(dates, first, step)}"
        )
    if fill is None:
        refuse_gaps("the table", rows)
        names = tuple(columns)
        return TimeTable(dates, rows, names, step, tuple(repairs), clock.zone, steps, first_second)
    if left_out > MOST_FILLED * len(places):
        raise ValueError(
            f"column {name!r} leaves {left_out} rows out between {len(places)}; expected at most "
            f"{MOST_FILLED} times as many to fill: cut the table, or repair its dates"
        )
    if left_out:
        repairs.append(f"filled in {left_out} missing rows")
    regular = np.full((int(places[-1]) + 1, rows.shape[1]), np.nan)
    regular[places] = rows
    empty = int((~np.isfinite(rows)).sum())
    if empty:
        repairs.append(f"filled {empty} missing values")
    grid = np.append(dates[:1], following(dates[0], len(regular) - 1, step, steps, clock.zone))
    grid[places] = dates
    filled, names = fill_gaps(regular, fill), tuple(columns)
    return TimeTable(grid, filled, names, step, tuple(repairs), clock.zone, steps, first_second)


def _read_seconds(
    frame: Any, date: str | Sequence[str] | None, column: str | None, dt: float | None
) -> tuple[Clock, float]:
    """Count rows from 1970 on by a column of seconds or by their number; also the first second."""
    if date is not None or (column is not None and dt is not None):
        raise ValueError(
            "date, seconds and dt each say when rows were taken; expected only one of them"
        )
    if len(frame) < 2:
        raise ValueError(f"the table has {len(frame)} rows; expected at least 2")
    if column is None:
        step, name = positive_float("dt", dt), "row"
        if step < SHORTEST:
            raise ValueError(f"dt is {step:g} s; expected at least {SHORTEST:g} s")
        times = np.arange(len(frame)) * step
    else:
        times, name = read_numbers(frame, column, [KEEP]), column
        empty = np.flatnonzero(~np.isfinite(times))
        if len(empty):
            raise ValueError(f"column {name!r} holds no number of seconds in {rows_named(empty)}")
        back = np.flatnonzero(np.diff(times) < 0.0) + 1
        if len(back):
            raise ValueError(
                f"column {name!r} goes back in time in {rows_named(back)}; sort the table by it"
            )
        if times[-1] - times[0] > LONGEST or np.median(np.diff(times)) < SHORTEST:
            raise ValueError(
                f"column {name!r} goes from {times[0]:g} to {times[-1]:g} in {len(times)} rows; "
                f"expected seconds, at least {SHORTEST:g} apart and at most {LONGEST:g} in all"
            )
    nanoseconds = np.round((times - times[0]) * 1e9).astype(np.int64)
    dates = np.datetime64("1970-01-01", "ns") + nanoseconds.astype("timedelta64[ns]")
    return Clock(dates, None, name, ()), float(times[0])


def _places(
    dates: Dates, name: str, zone: tzinfo | None
) -> tuple[NDArray[np.int64], float, Steps | None]:
    """Return the place of every row on a grid, its usual step in seconds, and the calendar's."""
    intervals = np.diff(dates) / np.timedelta64(1, "s")
    dt = float(np.median(intervals))
    steps = np.round(intervals / dt)
    odd = np.flatnonzero(np.abs(intervals / dt - steps) > SAME_INTERVAL * steps)
    odd = odd if len(odd) else np.flatnonzero(steps < 1)
    slow = steps > 1  # a column logged at another rate looks like one gap after the other
    if not len(odd) and slow.mean() > 0.1:
        odd = np.flatnonzero(slow)
    if len(odd):
        found = calendar_steps(wall_clock(dates, zone)) if dt >= DAY - 3600.0 else None
        if found is not None:
            return found[1], dt, found[0]
        raise ValueError(
            f"column {name!r} mixes sampling rates: most rows are {dt:g} s apart, row {odd[0] + 1} "
            f"comes {intervals[odd[0]]:g} s after the one before; resample the table to one rate"
        )
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.int64), dt, None


def _summer_time(dates: Dates, row: int, dt: float) -> str:
    """Say what an hour may be that is left out after a row."""
    step = np.timedelta64(round(dt * 1e9), "ns")
    if dates[row + 1] - dates[row] != step + HOUR:
        return ""
    return (
        "; if the clock was put forward here, give the dates with their offset from UTC, and no "
        "row is missing"
    )
