"""Tables from outside, as forecasts and logs read them: numbers, markers for missing ones, clocks.

Rows are counted from 0 for the first one below the header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import Array, optional_package, real_array

Dates = NDArray[np.datetime64]
Column = str | int
Marker = str | int | float

DATE_NAMES = ("date", "datetime", "time", "timestamp")
TIME_NAMES = ("time", "hour", "hr", "clock", "uhrzeit")  # of the day, beside a column of days
FORMATS = ("ISO8601", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y")  # the latter German
YEARS = 1678, 2261  # that dates in ns reach
BLANK = {"", "None", "nan", "NaN", "<NA>", "NaT"}  # a missing value as pandas or Python write it
KEEP = "none"  # as a marker: every number was measured
SHOWN = 5  # rows listed in a message

_OFFSET = re.compile(r"(?::\d\d|T\d{4,6})(?:[.,]\d+)? ?(?:Z|UTC|([+-])(\d\d):?(\d\d)?)$")
_TIME = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?(?: ?([AaPp])\.?[Mm]\.?)?")

HOUR = np.timedelta64(1, "h").astype("timedelta64[ns]")
NO_TIME = np.timedelta64(0, "ns")
SUNDAY = 6
NIGHT = 4  # o'clock, until which clocks are changed
MONTHS = (3, 4, 9, 10, 11)  # in which that happens

MOST_MARKERS = 3  # different ones in a column
FEWEST = 10  # different numbers that make up a signal beside markers
FAR = 3.0  # times the width of all other numbers, the distance of a marker from them


@dataclass(frozen=True)
class Clock:
    """A column of dates.

    Args:
        dates: Shape (T,), never going back. In UTC where the zone is known, else as written.
        zone: The zone they are written in, or None where they do not tell.
        name: Name of the column.
        notes: What was made of it, in words.
    """

    dates: Dates
    zone: tzinfo | None
    name: str
    notes: tuple[str, ...]


def read_clock(frame: Any, date: str | Sequence[str] | None) -> Clock:
    """Read when the rows of a pandas frame were taken.

    Dates are in ISO 8601 or as German weather stations write them. Those with an offset from UTC
    keep it: what follows is written with that of the last row. Where dates without an offset show a
    clock put back at the end of summer time, its rows are counted on in the clock of the last row.

    Args:
        frame: The frame.
        date: Name of the column of dates, or of two: of days, and of the time of day; None looks
            for columns of the usual names.

    Raises:
        ValueError: There is no such column, or its dates cannot be read or go back; the message
            names the rows.
    """
    name, other = date_columns(frame, date)
    column = frame[name]
    dates, zone, notes = _read(column, name)
    if other is None and _are_days(dates):
        other = next((n for n in _of_usual_name(frame, TIME_NAMES) if _is_time(frame[n])), None)
        if other is not None:
            notes.append(f"took the time of day from column {other!r}")
    if other is not None:
        dates = dates + _times(frame[other], other)
    if len(dates) < 2:
        raise ValueError(f"the table has {len(dates)} rows; expected at least 2")
    if zone is None:
        dates, more = _counted_on(dates)
        notes += more
    back = np.flatnonzero(np.diff(dates) < NO_TIME) + 1
    if len(back):
        raise ValueError(
            f"column {name!r} goes back in time in {rows_named(back)}; sort the table by date"
        )
    repeated = np.diff(dates) == NO_TIME
    if repeated.mean() > 0.5:
        raise ValueError(
            f"column {name!r} repeats the date before in {rows_named(np.flatnonzero(repeated) + 1)}"
            ": it seems to hold days without the time of day; name the column of the time as a "
            f"second date, beside {name!r}, or write both into one column"
        )
    return Clock(dates, zone, name, tuple(notes))


def wall_clock(dates: Dates, zone: tzinfo | None) -> Dates:
    """Return what a clock in the zone shows at dates in UTC."""
    if zone is None:
        return dates
    pandas = optional_package("pandas", "forecast")
    local = pandas.DatetimeIndex(dates).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return np.asarray(local.to_numpy().astype("datetime64[ns]"))


def read_numbers(
    table: Any, name: Column, missing: Sequence[Marker] = (), notes: list[str] | None = None
) -> Array:
    """Read a column of numbers, NaN where one is missing.

    Args:
        table: Anything that gives a column for its name, or an array with columns 0, 1, ...
        name: Name of the column.
        missing: Numbers or texts that stand for a missing value; "none" keeps every number.
        notes: Takes what was counted as missing, in words.

    Raises:
        TypeError | ValueError: There is no such column, it holds text, or it holds what looks like
            a marker for missing values that `missing` does not list.
    """
    if "" in missing:
        raise ValueError("missing holds an empty text; empty cells count as missing in any case")
    given = column_of(table, name)
    numbers = _as_numbers(given, name, missing)
    for marker in missing:
        size = _number(marker)
        marked = np.flatnonzero(numbers == size) if size is not None else _equal(given, marker)
        if len(marked):
            numbers[marked] = np.nan
            if notes is not None:
                notes.append(f"took {marker} as missing in {len(marked)} rows of column {name!r}")
    if KEEP not in missing:
        _refuse_markers(name, numbers)
    return numbers


def column_of(table: Any, name: Any) -> NDArray[Any]:
    """Return a column of a frame, a dictionary, a structured array or a matrix as an array."""
    matrix = isinstance(table, np.ndarray) and table.ndim == 2
    try:
        column = np.asarray(table[:, name] if matrix else table[name])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        found = getattr(table, "columns", list(table) if isinstance(table, dict) else None)
        columns = None if found is None else list(found)
        alike = get_close_matches(str(name), [str(c) for c in columns or ()], n=1)
        there = f"; did you mean {alike[0]!r}" if alike else ""
        there += f"; the table has {columns}" if columns is not None else ""
        raise ValueError(f"the table has no column {name!r}{there}") from error
    if column.ndim == 2 and not matrix:
        raise ValueError(
            f"the table has {column.shape[1]} columns {name!r}; give each a name of its own"
        )
    return column


def rows_named(rows: NDArray[np.intp]) -> str:
    """Name rows: `row 7`, or `3 rows (4, 9, 12)`."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    more = ", ..." if len(rows) > SHOWN else ""
    return f"{len(rows)} rows ({', '.join(str(row) for row in rows[:SHOWN])}{more})"


def date_columns(frame: Any, date: str | Sequence[str] | None) -> tuple[Any, Any]:
    """Return the column of dates, and that of the time of day if it is named, else None."""
    names = list(frame.columns)
    asked = [date] if isinstance(date, str) else list(date or ())
    if date is not None and not 1 <= len(asked) <= 2:
        raise ValueError(
            f"date names {len(asked)} columns, {asked}; expected one of dates, or one of days and "
            "one of the time of day"
        )
    for name in asked:
        if name not in names:
            raise ValueError(f"the table has no column {name!r}; name one of {names} as date")
    if asked:
        return asked[0], asked[1] if len(asked) == 2 else None
    usual = _of_usual_name(frame, DATE_NAMES)
    if not usual:
        raise ValueError(
            f"the table has no column of dates; name one of {names} as date, or as seconds if it "
            "counts these, or give the seconds from row to row as dt"
        )
    return next((name for name in usual if not _is_time(frame[name])), usual[0]), None


def _of_usual_name(frame: Any, usual: Sequence[str]) -> list[Any]:
    return [name for name in frame.columns if str(name).lower() in usual]


def _texts(column: Any) -> list[str]:
    return [str(value).strip() for value in column.tolist()]


def _is_time(column: Any) -> bool:
    """Whether a column holds times of day."""
    return len(column) > 0 and not np.isnat(_time_parts(column)).any()


def _are_days(dates: Dates) -> bool:
    """Whether dates are days, several rows a day."""
    whole = dates == dates.astype("datetime64[D]")
    return bool(whole.all()) and len(np.unique(dates)) < len(dates)


def _times(column: Any, name: Any) -> NDArray[np.timedelta64]:
    parts = _time_parts(column)
    unread = np.flatnonzero(np.isnat(parts))
    if len(unread):
        raise ValueError(
            f"column {name!r} holds {column.iloc[unread[0]]!r}, no time of day, in "
            f"{rows_named(unread)}; expected times such as 00:10:00, or hours 0 to 24"
        )
    return parts


def _time_parts(column: Any) -> NDArray[np.timedelta64]:
    """Read times of day; what is none is NaT."""
    seconds = []
    for text in _texts(column):
        found, hour = _TIME.fullmatch(text), _number(text)
        if found:
            h, m, s, half = found.groups()
            h = int(h) if half is None else int(h) % 12 + 12 * (half in "pP")
            seconds.append(3600.0 * h + 60.0 * int(m) + float(s or 0.0))
        else:
            seconds.append(np.nan if hour is None else 3600.0 * hour)
    known = np.array(seconds)
    known[~((known >= 0.0) & (known <= 86_400.0))] = np.nan
    out = np.full(len(known), np.timedelta64("NaT", "ns"))
    there = np.isfinite(known)
    out[there] = np.round(known[there] * 1e9).astype(np.int64).astype("timedelta64[ns]")
    return out


def _read(column: Any, name: Any) -> tuple[Dates, tzinfo | None, list[str]]:
    """Read dates, in UTC if they tell; with their zone, and what there is to say of it."""
    pandas = optional_package("pandas", "forecast")
    if isinstance(getattr(column, "dtype", None), pandas.DatetimeTZDtype):
        return _instants(column), column.dt.tz, []
    if pandas.api.types.is_numeric_dtype(column):
        column = column.astype(str)  # 20200131 is a date, too
    tried = (pandas.to_datetime(column, format=form, errors="coerce", utc=True) for form in FORMATS)
    parsed = min(tried, key=lambda dates: dates.isna().sum())  # the first of equals
    unread = np.flatnonzero(parsed.isna().to_numpy())
    if len(unread):
        raise ValueError(
            f"column {name!r} holds {column.iloc[unread[0]]!r}, no date, in {rows_named(unread)}; "
            "expected dates such as 2020-01-31 00:10:00 (a column of seconds is named as such)"
        )
    years = parsed.dt.year.to_numpy()
    beyond = np.flatnonzero((years < YEARS[0]) | (years > YEARS[1]))
    if len(beyond):
        raise ValueError(
            f"column {name!r} holds {column.iloc[beyond[0]]!r} in {rows_named(beyond)}; expected "
            f"years from {YEARS[0]} to {YEARS[1]}"
        )
    offsets = np.array([_offset(text) for text in _texts(column)])
    told = np.isfinite(offsets)
    if not told.any():
        return _instants(parsed), None, []
    if not told.all():
        raise ValueError(
            f"column {name!r} gives no offset from UTC in {rows_named(np.flatnonzero(~told))} and "
            "one in others; expected one in all rows, or in none"
        )
    zone = timezone(timedelta(seconds=offsets[-1]))
    changes = np.flatnonzero(np.diff(offsets)) + 1
    if not len(changes):
        return _instants(parsed), zone, []
    note = (
        f"column {name!r} changes its offset from UTC in {rows_named(changes)}; what follows has "
        f"that of the last row, {zone}"
    )
    return _instants(parsed), zone, [note]


def _instants(column: Any) -> Dates:
    dates = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    return np.asarray(dates.astype("datetime64[ns]"))


def _offset(text: str) -> float:
    """Return the offset from UTC that a date tells, in seconds; NaN if it tells none."""
    found = _OFFSET.search(text)
    if found is None:
        return np.nan
    sign, hours, minutes = found.groups()
    size = 3600.0 * int(hours or 0) + 60.0 * int(minutes or 0)
    return -size if sign == "-" else size


def _counted_on(dates: Dates) -> tuple[Dates, list[str]]:
    """Count rows on over changes of the clock, in that of the last row.

    A clock that is put back repeats an hour: amid regular rows, one comes an hour earlier than
    expected. Only where that is seen is an hour left out a clock put forward.
    """
    steps = np.diff(dates)
    forward = steps[steps > NO_TIME]
    usual = np.median(forward.astype(np.int64)).astype("timedelta64[ns]") if len(forward) else HOUR
    if len(steps) < 3 or usual >= 12 * HOUR:
        return dates, []
    regular = np.append(steps == usual, True)
    alone = regular[np.arange(len(steps)) + 1] & np.append(True, regular[: len(steps) - 1])
    night = _over_night(dates[:-1], dates[1:])
    put_back = alone & (steps == usual - HOUR) & ((steps < NO_TIME) | night)
    if not put_back.any():
        return dates, []
    put_forward = alone & (steps == usual + HOUR) & night
    later = np.cumsum((put_back.astype(int) - put_forward.astype(int))[::-1])[::-1]
    counted = dates.copy()
    counted[:-1] -= later * HOUR
    said = [("back", put_back), ("forward", put_forward)]
    notes = [
        f"the clock was put {way} an hour before {rows_named(np.flatnonzero(which) + 1)}; all rows "
        "are counted in the clock of the last one"
        for way, which in said
        if which.any()
    ]
    return counted, notes


def _over_night(before: Dates, after: Dates) -> NDArray[np.bool_]:
    """Whether summer time may begin or end between two dates: in a night to a Sunday."""
    days = after.astype("datetime64[D]")
    weekday = (days.astype(int) + 3) % 7  # 1970-01-01 was a Thursday
    month = days.astype("datetime64[M]").astype(int) % 12 + 1
    early = before - days < NIGHT * HOUR
    return np.asarray((weekday == SUNDAY) & np.isin(month, MONTHS) & early)


def _as_numbers(given: NDArray[Any], name: Column, missing: Sequence[Marker]) -> Array:
    """Turn a column into floats; texts that stand for a missing value become NaN."""
    if given.dtype.kind not in "OUS":
        return real_array(f"column {name!r}", given, ndim=1).copy()
    blank = {str(marker) for marker in missing if _number(marker) is None} | BLANK
    sizes = [np.nan if str(v).strip() in blank else _number(v) for v in given.tolist()]
    unread = np.array([row for row, size in enumerate(sizes) if size is None])
    if len(unread):
        raise ValueError(
            f"column {name!r} holds {given[unread[0]]!r}, no number, in {rows_named(unread)}; list "
            "it as missing if it stands for a missing value"
        )
    return np.array(sizes, dtype=np.float64)


def _equal(given: NDArray[Any], marker: Marker) -> NDArray[np.intp]:
    """Rows that hold a text."""
    if given.dtype.kind not in "OUS":
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero([str(value).strip() == marker for value in given.tolist()])


def _number(text: Any) -> float | None:
    try:
        return None if "_" in str(text) else float(text)  # Python reads 1_000, others do not
    except (TypeError, ValueError):
        return None


def _refuse_markers(name: Column, numbers: Array) -> None:
    """Raise a ValueError if numbers far outside the rest are repeated exactly, as markers are."""
    markers, rest = _markers(numbers)
    if not len(markers):
        return
    marker, rows = f"{markers[0]:.17g}", rows_named(np.flatnonzero(numbers == markers[0]))
    raise ValueError(
        f"column {name!r} holds {marker} in {rows}, far outside the rest ({rest.min():g} ... "
        f"{rest.max():g}), as markers of missing values are; take it as missing with "
        f"missing=[{marker}] (--missing {marker}), or keep it, if it was measured, with "
        f"missing=[{KEEP!r}] (--missing {KEEP})"
    )


def looks_marked(numbers: Array) -> bool:
    """Whether numbers may hold markers, at a glance: one stands apart from all others."""
    low, high = numbers.min(), numbers.max()
    inside = numbers[(numbers > low) & (numbers < high)]
    if not len(inside):
        return False
    first, last = inside.min(), inside.max()
    return bool(first - low > 0.5 * (high - first) or high - last > 0.5 * (last - low))


def _markers(numbers: Array) -> tuple[Array, Array]:
    """Return the numbers that look like markers, the most frequent first, and all others."""
    distinct, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    n = len(distinct)
    for removed in range(1, MOST_MARKERS + 1):
        for low in range(removed + 1):
            inside = slice(low, n - removed + low)
            core, often = distinct[inside], counts[inside]
            if len(core) < 3:
                continue
            ends = np.r_[0:low, n - removed + low : n]
            if all(_stands_out(distinct[i], counts[i], core, often) for i in ends):
                return distinct[ends][np.argsort(-counts[ends], kind="stable")], core
    return distinct[:0], distinct


def _stands_out(value: float, count: int, core: Array, often: NDArray[np.int64]) -> bool:
    """Whether a number lies beside a signal as a marker does, given the signal's numbers."""
    width, gap = float(core[-1] - core[0]), max(float(core[0] - value), float(value - core[-1]))
    digits = f"{abs(value):.10g}".replace(".", "")
    if set(digits) == {"9"} and len(digits) >= 2 and gap > width:  # -99, 999.9, -9999
        return bool(count >= 2 or abs(value) >= 999.0)
    if count < 2 or len(core) < FEWEST or value == 0.0:  # zero is what is switched off
        return False
    if gap > 100.0 * width:
        return True
    if value != round(value) or abs(value) < 10.0:  # saturated signals repeat their limits
        return False
    apart = gap > 0.5 * width and gap > 10.0 * float(np.diff(core).max())
    return bool(gap > FAR * width or (apart and count >= 10.0 * np.median(often)))
