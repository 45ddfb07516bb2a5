"""How often intervals of 90 % hold on measured series: weather in Jena, and ETTh1.

    python -m examples.benchmarks.intervals --data FOLDER

FOLDER holds jena_2020.csv.gz (hourly means are taken) and ETTh1.csv.gz, here or in series/. A fit
of linear regressions to the first four fifths of the rows, forecasts from 200 origins in the last;
the share of all values within their intervals, with widths that follow what was missed, as
`backtest` has them, and as the fit alone has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from koopman_control.common import optional_package
from koopman_control.evaluation import package_versions
from koopman_control.forecasting import DirectForecaster, TimeTable, time_table
from koopman_control.forecasting.intervals import tracked

LEVEL, ORIGINS = 0.9, 200
WEATHER, LOADS = ["T (degC)", "rh (%)"], ["OT", "HUFL"]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the files.", exists=True)],
) -> None:
    """Print a table."""
    print(f"versions {package_versions()}; seed 0")
    print("| data | output | horizon | followed | fit alone |\n|---|---|---|---|---|")
    weather, loads = jena(data / "jena_2020.csv.gz"), etth1(data)
    for name, table, horizon in (
        ("Jena", weather, 24),
        ("Jena", weather, 168),
        ("ETTh1", loads, 96),
    ):
        followed, alone = shares(table, horizon)
        for output, a, b in zip(table.names, followed, alone, strict=True):
            print(f"| {name} | {output} | {horizon} h | {a:.1%} | {b:.1%} |", flush=True)


def jena(path: Path) -> TimeTable:
    """Read hourly means."""
    pandas: Any = optional_package("pandas", "forecast")
    frame = pandas.read_csv(path, parse_dates=["date"]).set_index("date")[WEATHER]
    return time_table(frame.resample("1h").mean().dropna().reset_index(), WEATHER, fill="linear")


def etth1(folder: Path) -> TimeTable:
    """Read two of the columns."""
    pandas: Any = optional_package("pandas", "forecast")
    path = next(p for p in (folder / "ETTh1.csv.gz", folder / "series/ETTh1.csv.gz") if p.is_file())
    return time_table(pandas.read_csv(path), LOADS)


def shares(table: TimeTable, horizon: int) -> tuple[list[float], list[float]]:
    """Return shares within intervals that follow what was missed, and within the fit's own."""
    Y, U = table.rows, table.calendar(horizon)[1:]
    split = int(0.8 * len(Y))
    forecaster = DirectForecaster(horizon, periods=table.seasons(), n_features=(0,))
    forecaster.fit(Y[:split], inputs=U[: split - 1])
    origins = np.unique(np.linspace(split - 1, len(Y) - 1 - horizon, ORIGINS).astype(int))
    n = forecaster.n_history
    history, known = np.arange(1 - n, 1), np.arange(1 - n, horizon)
    ahead = forecaster.forecast_with_intervals(
        Y[origins[:, None] + history], U[origins[:, None] + known]
    )
    truth = Y[origins[:, None] + np.arange(1, horizon + 1)]
    ratios, bounds = (truth - ahead.mean) / ahead.size, ahead.bounds(LEVEL)
    followed = tracked(ratios, bounds, origins, LEVEL)[:-1]
    held = [(np.abs(ratios) <= w).mean(axis=(0, 1)).tolist() for w in (bounds * followed, bounds)]
    return held[0], held[1]


if __name__ == "__main__":
    typer.run(main)
