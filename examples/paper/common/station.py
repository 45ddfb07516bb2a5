"""Rows of the weather station in Jena: hourly means, beside the calendar.

pip install "koopman-control[paper]"
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from koopman_control.common import Array, optional_package
from koopman_control.forecasting import fill_gaps

DAY, YEAR = 24.0, 8766.0  # hours
MEASURED = ["T (degC)", "wv (m/s)", "wd (deg)"]
MISSING = -999.0  # what the station writes for gaps is this or less


def hourly(path: Path) -> Array:
    """Read a file of ten-minute rows as hourly means beside the calendar, shape (T, 7).

    Columns are temperature, wind that comes from the east and from the north, sine and cosine of
    the day, sine and cosine of the year.
    """
    pandas = optional_package("pandas", "paper")
    frame = pandas.read_csv(path)
    name = "date" if "date" in frame.columns else "Date Time"
    dates = pandas.to_datetime(frame[name], dayfirst=name != "date", errors="coerce")
    numbers = frame[MEASURED].apply(pandas.to_numeric, errors="coerce").to_numpy()
    temperature, speed, angle = np.where(numbers > MISSING, numbers, np.nan).T
    wind = [speed * np.sin(np.deg2rad(angle)), speed * np.cos(np.deg2rad(angle))]
    measured = pandas.DataFrame(np.column_stack([temperature, *wind]), pandas.DatetimeIndex(dates))
    measured = fill_gaps(measured[measured.index.notna()].resample("1h").mean().to_numpy())
    hours = np.arange(len(measured))
    phases = [2.0 * np.pi * hours / period for period in (DAY, YEAR)]
    waves = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
    return np.column_stack([measured, *waves])
