"""Temperature in Jena, a day and a week ahead: the sampled RNN beside four baselines.

    pip install "koopman-control[paper]"
    python -m examples.paper.weather --data jena_2020.csv.gz

The file is a year of the weather station of the Max Planck Institute for Biogeochemistry in Jena
(https://www.bgc-jena.mpg.de/wetter/, files mpi_roof_*.zip joined): ten-minute rows with "date" (or
"Date Time") and "T (degC)". Hourly means are forecast from the temperature of the last days and
the calendar, from an origin every six hours over the last fifth of the file; everything is fitted
once to the first four fifths, and tuned on the last eighth of those. "1 day" is the mean squared
error over leads of 1 ... 24 hours, "1 week" over 1 ... 168 hours, in K^2.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer
from numpy.typing import NDArray

from examples.paper.common.forecasters import fits_of, timed, tuned
from examples.paper.common.lstm import LSTM
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
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import SampledRNN, fill_gaps

DAY, WEEK, YEAR = 24, 168, 8766.0  # hours
N_HISTORY, EVERY = 200, 6
MISSING = -999.0  # what the station writes for values below it
STEEPNESS, MEMORY, N_FEATURES, N_DRAWS = 0.1, 96, 100, 4  # by the same validation
Forecast = Callable[[Array, Array], Array]


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
    found: dict[str, list[tuple[Array, float]]] = {}
    for seed in range(seeds):
        fit, seconds = timed(lambda s=seed: sampled(train, s))  # type: ignore[misc]
        found.setdefault("sampled RNN", []).append((ours(fit, history, ahead), seconds))
    if baselines:
        newest = history[:, -1:, 0]
        found["persistence"] = [(np.repeat(newest, WEEK, axis=1), 0.0)]
        found["seasonal-naive"] = [(np.tile(history[:, -DAY:, 0], (1, WEEK // DAY)), 0.0)]
        for name, fits in trained(train, baseline_seeds, lstm_seconds).items():
            found[name] = [
                (model.forecast(history, WEEK, ahead[..., 1:])[..., 0], s) for model, s in fits
            ]
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


def sampled(train: Array, seed: int) -> SampledRNN:
    features = SampledFeatures(N_FEATURES, steepness=STEEPNESS, random_state=seed)
    rnn = SampledRNN(features, memory=MEMORY, horizon=WEEK, n_draws=N_DRAWS)
    return rnn.fit(train[:, 0], inputs=train[1:, 1:])


def ours(fit: SampledRNN, history: Array, ahead: Array) -> Array:
    """Forecast temperatures (S, WEEK); the input of a step is the calendar of its end."""
    calendar = np.concatenate([history[:, 1:, 1:], ahead[..., 1:]], axis=1)
    return fit.forecast(history[..., :1], WEEK, list(calendar))[..., 0]


def trained(train: Array, seeds: int, lstm_seconds: float) -> dict[str, list[tuple[Any, float]]]:
    """Tune and fit the echo state network and the LSTM."""
    split = 7 * len(train) // 8
    origins = np.arange(split, len(train) - WEEK, EVERY)
    history, ahead = windows(train, origins)

    def score(forecast: Array, truth: Array) -> float:
        return -float(np.mean((forecast[..., 0] - truth[..., 0]) ** 2))

    fits: dict[str, list[tuple[Any, float]]] = {}
    ridges = (1e-6, 1e-4, 1e-2, 1.0)
    esn = ESN(200, input_scales=(0.05, 0.3), ridges=ridges, leaks=(0.1, 0.5))
    for baseline in (esn, LSTM(lstm_seconds, hidden=(16, 64))):
        both = np.concatenate([history, ahead], axis=1)
        settings = tuned(baseline, train[:split], both, N_HISTORY, score, n_known=4)
        fits[baseline.name] = fits_of(baseline, train, settings, seeds)
    return fits


def judged(name: str, fits: list[tuple[Array, float]], truth: Array) -> dict[str, Any]:
    """Measure all fits of one forecaster."""
    squares = [(forecast - truth) ** 2 for forecast, _ in fits]
    day, week = ([float(s[:, :n].mean()) for s in squares] for n in (DAY, WEEK))
    row = {
        "forecaster": name,
        "seeds": len(fits),
        "1 day": float(np.mean(day)),
        "1 week": float(np.mean(week)),
        "worst seed": f"{max(day):.3g}, {max(week):.3g}",
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
