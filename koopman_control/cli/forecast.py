"""The command `forecast`: a table with dates in; forecasts, scores and a figure out."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from koopman_control.cli.errors import new_folder, one_sentence
from koopman_control.common import (
    list_contents,
    optional_package,
    refusing,
    write_atomically,
    write_text_atomically,
)
from koopman_control.evaluation import Backtest, backtest, metrics_json, package_versions
from koopman_control.evaluation.plots import forecast_figure
from koopman_control.evaluation.summary import printable
from koopman_control.forecasting import TimeTable, time_table

FORMULA = tuple("=+-@＝＋－＠")  # what a formula begins with


class Fill(StrEnum):
    """Ways to fill gaps."""

    linear = "linear"
    previous = "previous"


def forecast(
    data: Annotated[Path, typer.Argument(help="CSV file with a column of dates.")],
    target: Annotated[list[str], typer.Option(help="Column to forecast; may be repeated.")],
    horizon: Annotated[int, typer.Option(min=1, help="Number of rows to forecast.")],
    beside: Annotated[
        list[str] | None, typer.Option("--with", help="Column that helps; may be repeated.")
    ] = None,
    date: Annotated[
        list[str] | None,
        typer.Option(help="Column of dates, if not called so; twice for days and time of day."),
    ] = None,
    fill: Annotated[
        Fill | None, typer.Option(help="Fill missing rows and values; else they are an error.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="Stands for a missing value, as -9999; 'none': every number counts."),
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=0, help="Past rows that count; the horizon, at most 200.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Size of the ensemble.")] = 4,
    level: Annotated[float, typer.Option(help="Probability of the interval.")] = 0.9,
    output: Annotated[Path, typer.Option(help="Folder in which a folder is made.")] = Path("runs"),
    json: Annotated[
        bool, typer.Option("--json", help="Print scores.json and nothing else to standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Forecast columns of a CSV file with a sampled recurrent network.

    Fits to the first four fifths of the rows, with the time of day as known input, judges forecasts
    of the rest beside persistence, refits to all and looks ahead. Writes forecast.csv (with
    intervals), scores.json and forecast.png to OUTPUT/<file>-<time>/.
    """
    with one_sentence(debug):
        table = read_table(data, [*target, *(beside or [])], date or None, fill, missing or ())
        name = f"{data.name.partition('.')[0]}-{time.strftime('%Y%m%d-%H%M%S')}"
        with new_folder(output / name) as folder:
            for repair in table.repairs:
                typer.echo(printable(f"Note: {repair}."), err=True)
            result = backtest(
                table, len(target), horizon, memory=memory, n_draws=draws, level=level
            )
            scores = metrics_json(
                result.scores | {"repairs": table.repairs, "versions": package_versions()}
            )
            write_text_atomically(folder / "scores.json", scores)
            write_text_atomically(folder / "forecast.csv", _csv(table, result, level))
            _draw(folder / "forecast.png", table, result, level)
            asked = {"targets": target, "with": beside, "horizon": horizon, "fill": fill}
            asked |= {"date": date, "missing": missing}
            list_contents(folder, asked | {"memory": memory, "draws": draws, "level": level})
        if json:
            typer.echo(scores, nl=False)
        else:
            typer.echo(_summary(result))
            typer.echo(f"Forecasts, scores and figure: {folder}")


def read_table(
    path: Path,
    columns: list[str],
    date: list[str] | None,
    fill: Fill | None,
    missing: Sequence[str] = (),
) -> TimeTable:
    """Read columns of a CSV file; whatever is wrong with it is one sentence."""
    pandas = optional_package("pandas", "forecast")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise ValueError(f"column {twice[0]!r} is named twice; name each column once")
    with refusing(f"{path} cannot be read as a table; expected CSV in UTF-8 with a row of names"):
        frame = pandas.read_csv(path)
    return time_table(frame, columns, date, None if fill is None else fill.value, missing)


def _csv(table: TimeTable, result: Backtest, level: float) -> str:
    """Write one row per date: every target with its bounds; an unknown bound stays empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = result.scores["targets"]
    heads = [f"{_cell(name)}{end}" for name in names for end in ("", " low", " high")]
    rows.writerow(["date", *heads])
    low, high = result.ahead.interval(level)
    values = np.stack([result.ahead.mean, low, high], axis=-1).reshape(len(low), -1)
    for day, row in zip(table.written(table.dates_after(len(low))), values, strict=True):
        rows.writerow([day, *(f"{value:.10g}" if np.isfinite(value) else "" for value in row)])
    return text.getvalue()


def _cell(name: str) -> str:
    """Quote a name that a spreadsheet would take for a formula."""
    return f"'{name}" if name.lstrip().startswith(FORMULA) or name.startswith("\t") else name


def _draw(path: Path, table: TimeTable, result: Backtest, level: float) -> None:
    ahead = result.ahead
    low, high = ahead.interval(level)
    H = len(low)
    figure = forecast_figure(
        (table.clock(table.dates[-2 * H :]), table.rows[-2 * H :, 0]),
        (table.clock(table.dates_after(H)), ahead.mean[:, 0], low[:, 0], high[:, 0]),
        {method.replace("_", " "): sizes for method, sizes in result.errors.items()},
        table.names[0],
        level,
        "" if table.zone is None else str(table.zone),
    )
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))


def _summary(result: Backtest) -> str:
    scores, lines = result.scores, []
    for j, name in enumerate(scores["targets"]):
        errors = ", ".join(
            f"{method.replace('_', ' ')} {scores[f'mse_{method}'][j]:.4g}"
            for method in result.errors
        )
        lines.append(
            f"{printable(name)}: mean squared error on {scores['n_windows']} held-out windows: "
            f"{errors}"
        )
        lines.append(
            f"   {100 * scores['coverage'][j]:.1f} % within the {100 * scores['level']:g} % "
            f"interval, CRPS {scores['crps'][j]:.4g}"
        )
    return "\n".join(lines)
