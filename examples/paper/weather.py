"""Temperature in Jena, a day and a week ahead: all leads at once, beside four baselines.

    pip install "koopman-control[paper]"
    python -m examples.paper.weather --data jena_2020.csv.gz

The file is a year of the weather station of the Max Planck Institute for Biogeochemistry in Jena
(https://www.bgc-jena.mpg.de/wetter/, files mpi_roof_*.zip joined): ten-minute rows with "date" (or
"Date Time") and "T (degC)". Hourly means are forecast from the temperature of the last ten days and
the calendar, from an origin every six hours over the last fifth of the file. Everything is fitted
once to the first four fifths, with settings chosen on the last three eighths of those, eighth by
eighth and each time by a fit to what comes before. "1 day" is the mean squared error over leads of
1 ... 24 hours, "1 week" over 1 ... 168 hours, in K^2; settings are chosen by the mean of both.
Echo state network and LSTM predict the next hour and feed on their predictions; the direct LSTM
predicts all leads from the deviations that we see. The "mean day" repeats the last week's mean at
every hour.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer
from numpy.typing import NDArray

from examples.paper.common.columns import Columns
from examples.paper.common.direct import Direct
from examples.paper.common.forecasters import Baseline, Model, fits_of, tuned
from examples.paper.common.lstm import LSTM
from examples.paper.common.lstm_direct import DirectLSTM
from examples.paper.common.options import (
    OUT,
    Baselines,
    BaselineSeeds,
    FeatureSeeds,
    LstmSeconds,
    Out,
)
from examples.paper.common.reservoir import ESN
from examples.paper.common.results import COLORS, report, versions
from koopman_control.common import Array, optional_package
from koopman_control.forecasting import fill_gaps

DAY, WEEK, YEAR = 24, 168, 8766.0  # hours
N_HISTORY, EVERY = 240, 6
DAYS = (3, 5, 7, 10)  # of the mean day, to try
FOLDS = 3  # tenths of the file before the test part that settings are judged on
MISSING = -999.0  # what the station writes for values below it
WITH_DAY, WITH_YEAR = (0, 1, 2), (0, 1, 2, 3, 4)  # temperature with sine and cosine of these


def main(
    data: Annotated[Path, typer.Option(help="The station's file.", exists=True)],
    seeds: FeatureSeeds = 10,
    baseline_seeds: BaselineSeeds = 2,
    lstm_seconds: LstmSeconds = 60.0,
    quick: Annotated[bool, typer.Option(help="Two seeds, short trainings.")] = False,
    baselines: Baselines = True,
    out: Out = OUT,
) -> None:
    """Fit, forecast and compare."""
    if quick:
        seeds, baseline_seeds, lstm_seconds = min(seeds, 2), 1, min(lstm_seconds, 3.0)
    print(f"versions {versions()}; {seeds} feature seeds, {baseline_seeds} baseline seeds")
    rows = hourly(data)
    split = 4 * len(rows) // 5
    train, origins = rows[:split], np.arange(split, len(rows) - WEEK, EVERY)
    history, ahead = windows(rows, origins)
    ours: Baseline = Direct(100, WEEK, DAYS, (0.5, 1.0, 2.0), (0.01, 0.03, 0.1, 0.3))
    found: dict[str, list[tuple[Array, float]]] = {}
    for subject in [ours, *(peers(lstm_seconds) if baselines else [])]:
        fits = tuned_fits(subject, train, seeds if subject is ours else baseline_seeds)
        known = ahead[..., 1:]
        found[subject.name] = [(m.forecast(history, WEEK, known)[..., 0], s) for m, s in fits]
    for name, forecast in without_training(history[..., 0]).items():
        found[name] = [(forecast, 0.0)]
    table = [judged(name, fits, ahead[..., 0]) for name, fits in found.items()]
    facts = {"seeds": seeds, "baseline_seeds": baseline_seeds, "lstm_seconds": lstm_seconds}
    report(out, "weather", table, facts, drawn(found, ahead[..., 0]))


def hourly(path: Path) -> Array:
    """Read hourly temperatures with sine and cosine of day and year, shape (T, 5)."""
    pandas = optional_package("pandas", "paper")
    frame = pandas.read_csv(path)
    name = "date" if "date" in frame.columns else "Date Time"
    dates = pandas.to_datetime(frame[name], dayfirst=name != "date", errors="coerce")
    values = pandas.to_numeric(frame["T (degC)"], errors="coerce")
    series = pandas.Series(values.to_numpy(), index=pandas.DatetimeIndex(dates))
    series = series[series.index.notna() & (series > MISSING).to_numpy()]
    temperature = fill_gaps(series.resample("1h").mean().to_numpy())
    hours = np.arange(len(temperature))
    phases = [2.0 * np.pi * hours / period for period in (DAY, YEAR)]
    waves = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
    return np.column_stack([temperature, *waves])


def windows(rows: Array, origins: NDArray[np.int64]) -> tuple[Array, Array]:
    """Cut out the rows up to each origin and the week that follows."""
    history = np.stack([rows[i - N_HISTORY + 1 : i + 1] for i in origins.tolist()])
    return history, np.stack([rows[i + 1 : i + 1 + WEEK] for i in origins.tolist()])


def without_training(history: Array) -> dict[str, Array]:
    """Return naive forecasts (S, WEEK) from temperatures (S, L)."""
    last_week = history[:, -WEEK:].reshape(len(history), -1, DAY)
    return {
        "persistence": np.repeat(history[:, -1:], WEEK, axis=1),
        "seasonal-naive": np.tile(last_week[:, -1], (1, WEEK // DAY)),
        "mean day": np.tile(last_week.mean(axis=1), (1, WEEK // DAY)),
    }


def peers(lstm_seconds: float) -> list[Baseline]:
    ridges, leaks = (1e-4, 1e-2, 1.0, 10.0), (0.03, 0.1, 0.5)
    esn = ESN(200, input_scales=(0.05, 0.3), ridges=ridges, leaks=leaks)
    both = [WITH_DAY, WITH_YEAR]
    return [
        Columns(esn, both),
        Columns(LSTM(lstm_seconds, hidden=(16, 64)), both),
        Columns(DirectLSTM(WEEK, lstm_seconds, (16, 64), (5, 7, 10)), [WITH_DAY]),
    ]


def tuned_fits(subject: Baseline, train: Array, seeds: int) -> list[tuple[Model, float]]:
    """Tune on the last folds, then fit to all of the rows."""
    edges = [(8 - n) * len(train) // 8 for n in range(FOLDS, -1, -1)]
    folds = []
    for start, end in pairwise(edges):
        origins = np.arange(start, min(end, len(train) - WEEK), EVERY)
        folds.append((train[:start], np.concatenate(windows(train, origins), axis=1)))

    def score(forecast: Array, truth: Array) -> float:
        squares = (forecast[..., 0] - truth[..., 0]) ** 2
        return -float(squares[:, :DAY].mean() + squares.mean()) / 2.0

    settings = tuned(subject, folds, N_HISTORY, score, n_known=train.shape[1] - 1)
    return fits_of(subject, train, settings, seeds)


def judged(name: str, fits: list[tuple[Array, float]], truth: Array) -> dict[str, Any]:
    """Measure all fits of one forecaster."""
    squares = [(forecast - truth) ** 2 for forecast, _ in fits]
    day, week = ([float(s[:, :n].mean()) for s in squares] for n in (DAY, WEEK))
    row = {
        "forecaster": name,
        "seeds": len(fits),
        "1 day": float(np.mean(day)),
        "1 week": float(np.mean(week)),
        "worst seeds": f"{max(day):.3g}, {max(week):.3g}",
        "at 24 h, at 168 h": ", ".join(
            f"{np.mean([s[:, n - 1].mean() for s in squares]):.3g}" for n in (DAY, WEEK)
        ),
        "training, CPU s": float(np.mean([seconds for _, seconds in fits])),
    }
    print(row, flush=True)
    return row


def drawn(found: dict[str, list[tuple[Array, float]]], truth: Array) -> Any:
    """Draw the error over the lead."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for color, (name, fits) in zip(COLORS, found.items(), strict=False):
        errors = np.mean([((forecast - truth) ** 2).mean(axis=0) for forecast, _ in fits], axis=0)
        axes.plot(np.arange(1, WEEK + 1), np.sqrt(errors), color=color, label=name)
    axes.set(xlabel="lead, hours", ylabel="root-mean-square error, K", ylim=(0, None))
    axes.set_xticks(np.arange(0, WEEK + 1, DAY))
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    typer.run(main)
