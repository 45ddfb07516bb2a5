"""Rows that a calendar spaces: business days, months, days of a clock that is changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koopman_control.trajectories.table import HOUR, Dates

DAY_LENGTH = np.timedelta64(1, "D").astype("timedelta64[ns]")
ONE_DAY, ONE_MONTH = np.timedelta64(1, "D"), np.timedelta64(1, "M")
MONDAY = np.datetime64("1969-12-29", "D")
FRIDAY = 4
FEWEST_DAYS = 6  # rows that show a weekend is left out
MOST_HOLIDAYS = 0.1  # share of business days that may be missing


@dataclass(frozen=True)
class Steps:
    """What lies between two rows.

    Args:
        unit: "day", "business day", "month" (the same day of each) or "month end".
        count: Number of units between two rows.
    """

    unit: str
    count: int

    def after(self, last: np.datetime64, n: int) -> Dates:
        """Return what a clock shows at the n rows after one, shape (n,)."""
        day = last.astype("datetime64[D]")
        time = last - day.astype("datetime64[ns]")
        k = self.count * np.arange(1, n + 1)
        if self.unit == "day":
            days = day + k * ONE_DAY
        elif self.unit == "business day":
            days = np.busday_offset(day, k, roll="backward")
        else:
            months = day.astype("datetime64[M]") + k * ONE_MONTH
            days = months.astype("datetime64[D]") + (day - day.astype("datetime64[M]"))
            if self.unit == "month end":
                days = (months + ONE_MONTH).astype("datetime64[D]") - ONE_DAY
        return np.asarray(days.astype("datetime64[ns]") + time)

    def __str__(self) -> str:
        """Say it in words."""
        return f"every {self.unit}" if self.count == 1 else f"every {self.count} {self.unit}s"


def calendar_steps(shown: Dates) -> tuple[Steps, NDArray[np.int64]] | None:
    """Return the steps between rows, and each row's place, where a calendar spaces them.

    Args:
        shown: What clocks show at the rows, ascending, shape (T,).
    """
    days = shown.astype("datetime64[D]")
    times = shown - days.astype("datetime64[ns]")
    intervals = np.diff(days).astype(int)
    if len(days) < 3 or np.ptp(times.astype(np.int64)) > HOUR.astype(np.int64):
        return None
    if np.median(intervals) >= 28:
        months = days.astype("datetime64[M]")
        of_month = (days - months.astype("datetime64[D]")).astype(int)
        ends = days + ONE_DAY == (months + ONE_MONTH).astype("datetime64[D]")
        gaps = np.diff(months.astype(int))
        if gaps.min() < 1 or not (ends.all() or (of_month == of_month[0]).all()):
            return None
        count = int(np.gcd.reduce(gaps))
        places = (months - months[0]).astype(np.int64) // count
        return Steps("month end" if ends.all() else "month", count), places
    if np.median(intervals) == 1 and len(days) >= FEWEST_DAYS:
        weekday = (days - MONDAY).astype(int) % 7
        places = np.busday_count(days[0], days).astype(np.int64)
        missing = places[-1] + 1 - len(days)
        if weekday.max() <= FRIDAY and missing <= MOST_HOLIDAYS * len(days):
            return Steps("business day", 1), places
    count = int(np.median(intervals))
    if count < 1 or (intervals % count).any():
        return None
    return Steps("day", count), (days - days[0]).astype(np.int64) // count
