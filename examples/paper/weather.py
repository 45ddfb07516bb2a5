"""Temperature in Jena, a day and a week ahead: all leads at once, beside six baselines.

    pip install "koopman-control[paper]"
    python -m examples.paper.weather --data jena_2020.csv.gz

The file is a year of the weather station of the Max Planck Institute for Biogeochemistry in Jena
(https://www.bgc-jena.mpg.de/wetter/, files mpi_roof_*.zip joined): ten-minute rows with "date" (or
"Date Time"), "T (degC)", "wv (m/s)" and "wd (deg)". Hourly means are forecast from the last ten
days and the calendar, from an origin every six hours over the last fifth of the file. "1 day" is
the mean squared error over leads of 1 ... 24 hours, "1 week" over 1 ... 168 hours, in K^2. These
are two tasks: every forecaster is tuned for each by itself, on the last three eighths of the first
four fifths, eighth by eighth and each time by a fit to what comes before; then it is fitted once to
all four fifths. Wind is part of every search. Echo state network and LSTM
predict the next hour and feed on their predictions; the direct LSTM predicts all leads at once. The
"mean day" repeats the last week's mean at every hour. The last fifth had been looked at once
before, with other settings, when all were tuned for both tasks at once and saw no wind.
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
from examples.paper.common.forecasters import Baseline, Settings, fits_of, trials
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
from examples.paper.common.station import hourly
from koopman_control.common import Array

DAY, WEEK = 24, 168  # hours
TASKS = {"1 day": DAY, "1 week": WEEK}
N_HISTORY, EVERY = 240, 6
FOLDS = 3  # tenths of the file before the test part that settings are judged on
N_KNOWN = 4  # last columns, which are known ahead
# columns to try, as `hourly` numbers them
OURS = [(0, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5, 6)]
THEIRS = [(0, 3, 4), (0, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5, 6)]
Fits = list[tuple[Array, float]]  # forecasts (S, H) with CPU seconds of training


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
    history, ahead = windows(rows, np.arange(split, len(rows) - WEEK, EVERY))
    ours: Baseline = Columns(Direct((DAY, WEEK), N_HISTORY - 1, N_KNOWN), OURS)
    found: dict[str, dict[str, Fits]] = {}
    for subject in [ours, *(peers(lstm_seconds) if baselines else [])]:
        n_seeds = seeds if subject is ours else baseline_seeds
        found[subject.name] = task_fits(
            subject, rows[:split], n_seeds, history, ahead[..., -N_KNOWN:]
        )
    for name, forecast in without_training(history[..., 0]).items():
        found[name] = {task: [(forecast[:, :n], 0.0)] for task, n in TASKS.items()}
    table = [judged(name, fits, ahead[..., 0]) for name, fits in found.items()]
    facts = {"seeds": seeds, "baseline_seeds": baseline_seeds, "lstm_seconds": lstm_seconds}
    report(out, "weather", table, facts, drawn(found, ahead[..., 0]))


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
    esn = ESN(200, input_scales=(0.05, 0.3), ridges=(1e-4, 1e-2, 1.0), leaks=(0.03, 0.1))
    lstm = LSTM(lstm_seconds, hidden=(32, 64), rates=(3e-3,))
    direct = DirectLSTM((DAY, WEEK), lstm_seconds, (32,), (7,))
    return [Columns(esn, THEIRS), Columns(lstm, THEIRS), Columns(direct, THEIRS)]


def task_fits(
    subject: Baseline, train: Array, seeds: int, history: Array, known: Array
) -> dict[str, Fits]:
    """Tune, fit and forecast for every task."""
    found = {}
    for task, settings in tuned_for_tasks(subject, train).items():
        n = TASKS[task]
        models = fits_of(subject, train, settings, seeds)
        found[task] = [(m.forecast(history, n, known[:, :n])[..., 0], s) for m, s in models]
    return found


def tuned_for_tasks(subject: Baseline, train: Array) -> dict[str, Settings]:
    """Print every setting's errors over the last folds; return the best settings of each task."""
    edges = [(8 - n) * len(train) // 8 for n in range(FOLDS, -1, -1)]
    folds = []
    for start, end in pairwise(edges):
        origins = np.arange(start, min(end, len(train) - WEEK), EVERY)
        folds.append((train[:start], np.concatenate(windows(train, origins), axis=1)))

    def errors(forecast: Array, truth: Array) -> list[float]:
        squares = (forecast[..., 0] - truth[..., 0]) ** 2
        return [float(squares[:, :n].mean()) for n in TASKS.values()]

    tried = trials(subject, folds, N_HISTORY, errors, N_KNOWN)
    means = np.mean([scores for _, scores in tried], axis=1)
    for (settings, _), values in zip(tried, means, strict=True):
        told = ", ".join(f"{task} {v:.4g}" for task, v in zip(TASKS, values, strict=True))
        print(f"  {subject.name} {settings}: {told}", flush=True)
    best = {task: tried[i][0] for task, i in zip(TASKS, means.argmin(axis=0), strict=True)}
    print(f"  {subject.name} keeps {best}", flush=True)
    return best


def judged(name: str, fits: dict[str, Fits], truth: Array) -> dict[str, Any]:
    """Measure all fits of one forecaster."""
    row: dict[str, Any] = {"forecaster": name, "seeds": len(fits["1 day"])}
    for task, n in TASKS.items():
        squares = [(forecast - truth[:, :n]) ** 2 for forecast, _ in fits[task]]
        means = [float(s.mean()) for s in squares]
        row[task] = float(np.mean(means))
        row[f"{task}, worst seed"] = max(means)
        row[f"at {n} h"] = float(np.mean([s[:, -1] for s in squares]))
        row[f"{task}, training, CPU s"] = float(np.mean([seconds for _, seconds in fits[task]]))
    print(row, flush=True)
    return row


def drawn(found: dict[str, dict[str, Fits]], truth: Array) -> Any:
    """Draw the errors over the lead, task by task."""
    figure, panels = plt.subplots(1, len(TASKS), figsize=(8.4, 3.6), layout="constrained")
    for axes, (task, n) in zip(panels, TASKS.items(), strict=True):
        for color, (name, fits) in zip(COLORS, found.items(), strict=False):
            squares = [(forecast - truth[:, :n]) ** 2 for forecast, _ in fits[task]]
            errors = np.sqrt(np.mean(squares, axis=(0, 1)))
            axes.plot(np.arange(1, n + 1), errors, color=color, label=name)
        axes.set(xlabel="lead, hours", ylim=(0, None), title=f"tuned for {task}")
        axes.set_xticks(np.arange(0, n + 1, n // 7 if n == WEEK else 6))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("root-mean-square error, K")
    panels[-1].legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    typer.run(main)
