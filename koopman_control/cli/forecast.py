"""The command `forecast`: a table with dates in; forecasts, scores and a report out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from koopman_control.cli.errors import new_folder, one_sentence

if TYPE_CHECKING:
    from koopman_control.common import Array
    from koopman_control.evaluation import Backtest
    from koopman_control.forecasting import TimeTable


class Fill(StrEnum):
    """Ways to fill gaps."""

    linear = "linear"
    previous = "previous"


@dataclass(frozen=True)
class Reading:
    """How a table is read.

    Args:
        date: Columns of dates; None looks for columns of the usual names.
        missing: What stands for a missing value.
        seconds: Column that counts seconds, of a table without dates.
        dt: Seconds from row to row, of a table without any times.
    """

    date: list[str] | None = None
    missing: Sequence[str] = ()
    seconds: str | None = None
    dt: float | None = None


def forecast(
    data: Annotated[
        Path, typer.Argument(help="Table: CSV, TSV, Parquet, MATLAB or .npz; with dates or not.")
    ],
    target: Annotated[
        list[str] | None, typer.Option(help="Column to forecast; may be repeated.")
    ] = None,
    horizon: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Number of rows to forecast; more than one: all are scored."),
    ] = None,
    beside: Annotated[
        list[str] | None, typer.Option("--with", help="Column that helps; may be repeated.")
    ] = None,
    future: Annotated[
        Path | None,
        typer.Option(help="Table of the rows to come, with columns known in advance."),
    ] = None,
    date: Annotated[
        list[str] | None,
        typer.Option(help="Column of dates, if not called so; twice for days and time of day."),
    ] = None,
    seconds: Annotated[
        str | None, typer.Option(help="Column that counts seconds, of a table without dates.")
    ] = None,
    dt: Annotated[
        float | None, typer.Option(help="Seconds from row to row, of a table without any times.")
    ] = None,
    fill: Annotated[
        Fill | None, typer.Option(help="Fill missing rows and values; else they are an error.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="Stands for a missing value, as -9999; 'none': every number counts."),
    ] = None,
    lookback: Annotated[
        int | None, typer.Option(min=1, help="Past rows that count; an eighth of all.")
    ] = None,
    draws: Annotated[
        int, typer.Option(min=1, help="Draws of the sampled features, all averaged.")
    ] = 1,
    backtest: Annotated[
        int, typer.Option(min=1, help="Fits that judge the last fifth, each a part of it.")
    ] = 1,
    level: Annotated[float, typer.Option(help="Probability of the interval.")] = 0.9,
    save: Annotated[Path | None, typer.Option(help="File to keep the forecaster in.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Forecast with a kept forecaster; nothing is fitted.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder in which a folder is made.")] = Path("runs"),
    json: Annotated[
        bool, typer.Option("--json", help="Print scores.json and nothing else to standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Forecast columns of a table.

    Fits to the first four fifths of the rows, with the calendar as known input, judges forecasts of
    the rest beside persistence, refits to all and looks ahead. Writes report.html, forecast.csv
    and backtest.csv (with intervals), scores.json and figures to OUTPUT/<file>-<time>/.
    """
    with one_sentence(debug):
        from koopman_control.common import list_contents
        from koopman_control.evaluation.summary import printable

        name = f"{data.name.partition('.')[0]}-{time.strftime('%Y%m%d-%H%M%S')}"
        reading = Reading(date or None, missing or (), seconds, dt)
        if model is not None:
            refuse_fits(target, horizon, beside, lookback, save)
            kept_names, notes = _notes(model)
            table = read_table(data, kept_names, reading, fill)
            _say(table)
            with new_folder(output / name) as folder:
                _forecast_again(folder, model, table, notes, future, level, reading)
                list_contents(folder, {"model": str(model), "level": level})
            typer.echo(f"Forecasts and report: {folder}")
            return
        if not target or not horizon:
            raise ValueError("name a --target and a --horizon, or a kept forecaster with --model")
        if save is not None and (save.is_dir() or not save.parent.is_dir()):
            raise ValueError(f"--save is {save}; expected the name of a file in a folder there is")
        known = [] if future is None else _known_columns(future, reading)
        table = read_table(data, [*target, *(beside or []), *known], reading, fill)
        ahead = None
        if future is not None:
            ahead = read_future(future, table, known, max(horizon), reading)
        with new_folder(output / name) as folder:
            _say(table)
            asked: dict[str, Any] = {
                "targets": target,
                "with": beside,
                "horizon": horizon,
                "fill": fill,
            }
            asked |= {"date": date, "missing": missing, "future": known, "lookback": lookback}
            asked |= {"seconds": seconds, "dt": dt, "draws": draws}
            asked |= {"backtest": backtest, "level": level}
            scores, result = _judged(
                folder, table, target, horizon, ahead, lookback, draws, backtest, level, asked
            )
            if save is not None:
                _keep(save, table, result, target, known)
            list_contents(folder, asked)
        if json:
            typer.echo(scores, nl=False)
        else:
            from koopman_control.evaluation.forecast_report import told

            for j in range(len(target)):
                typer.echo(printable(told(result, j)))
            typer.echo(f"Forecasts, scores and report: {folder}")


def _say(table: TimeTable) -> None:
    from koopman_control.evaluation.summary import printable

    for repair in table.repairs:
        typer.echo(printable(f"Note: {repair}."), err=True)


def refuse_fits(*options: Any) -> None:
    """Raise a ValueError if something is asked for that a kept forecaster has settled."""
    if any(options):
        raise ValueError(
            "--target, --horizon, --with, --lookback and --save belong to a fit; a kept forecaster "
            "(--model) has settled them: leave them out"
        )


def read_table(
    path: Path, columns: list[str], reading: Reading = Reading(), fill: Fill | None = None
) -> TimeTable:
    """Read columns of a file as a table; whatever is wrong with it is one sentence."""
    from koopman_control.forecasting import time_table

    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise ValueError(f"column {twice[0]!r} is named twice; name each column once")
    return time_table(
        _frame(path, columns, reading),
        columns,
        reading.date,
        None if fill is None else fill.value,
        reading.missing,
        seconds=reading.seconds,
        dt=reading.dt,
    )


def _frame(path: Path, columns: Sequence[str], reading: Reading) -> Any:
    """Read columns, and those that tell the time, as a pandas frame."""
    from koopman_control.common import optional_package
    from koopman_control.trajectories import read_columns
    from koopman_control.trajectories.log_files import PIECES

    pandas = optional_package("pandas", "forecast")
    names = dict.fromkeys([*columns, *_clock_columns(path, reading)])
    found = read_columns(path, list(names)).columns
    if PIECES in found:
        raise ValueError(
            f"{path} has more rows than fit into the memory; forecasts need all in a row: cut it "
            "to the newest, or thin it"
        )
    return pandas.DataFrame(found)


def _clock_columns(path: Path, reading: Reading) -> list[str]:
    """Return the columns of a file that may tell the time of its rows."""
    from koopman_control.trajectories.log_files import column_names
    from koopman_control.trajectories.table import DATE_NAMES, TIME_NAMES

    if reading.seconds is not None or reading.dt is not None:
        return [*(reading.date or []), *([] if reading.seconds is None else [reading.seconds])]
    usual = (*DATE_NAMES, *TIME_NAMES)
    names = column_names(path)
    there = [name for name in names if name.lower() in usual]
    if not reading.date and not there:
        raise ValueError(
            f"{path.name} has no column of dates; name one of {names} with --date, or with "
            "--seconds if it counts these, or give the seconds from row to row with --dt"
        )
    return [*(reading.date or []), *there]


def _known_columns(future: Path, reading: Reading) -> list[str]:
    """Return the columns of a file of rows to come, but for its dates."""
    from koopman_control.trajectories.log_files import column_names
    from koopman_control.trajectories.table import date_columns

    names = column_names(future)
    told: Sequence[Any] = _clock_columns(future, reading)
    if reading.seconds is None and reading.dt is None:
        told = date_columns(_frame(future, [], reading), reading.date)
    known = [name for name in names if name not in told]
    if not known:
        raise ValueError(f"{future} has no column beside the dates; expected what is known ahead")
    return known


def read_future(
    path: Path, table: TimeTable, known: list[str], horizon: int, reading: Reading = Reading()
) -> Array:
    """Read the rows that follow a table, shape (horizon, q)."""
    import numpy as np

    from koopman_control.trajectories.table import read_clock, read_numbers

    frame = _frame(path, known, reading)
    if len(frame) < horizon:
        raise ValueError(f"{path} has {len(frame)} rows; expected the {horizon} of the horizon")
    expected = table.dates_after(horizon)
    row = None
    if reading.seconds is not None:
        told = read_numbers(frame, reading.seconds, ["none"])[:horizon]
        off = ~(np.abs(told - table.counted(expected)) < 0.1 * table.dt)
        row = int(np.flatnonzero(off)[0]) if off.any() else None
    elif reading.dt is None and len(frame) > 1:
        dates = read_clock(frame, reading.date).dates[:horizon]
        row = int(np.flatnonzero(dates != expected)[0]) if (dates != expected).any() else None
    if row is not None:
        raise ValueError(
            f"{path} has another date than expected in row {row}: the table goes on with "
            f"{table.written(expected[row : row + 1])[0]}"
        )
    rows = np.column_stack([read_numbers(frame, name, reading.missing)[:horizon] for name in known])
    empty = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(empty):
        raise ValueError(f"{path} has no number in row {empty[0]}; what is known ahead has no gaps")
    return rows


def _judged(
    folder: Path,
    table: TimeTable,
    target: list[str],
    horizon: list[int],
    ahead: Array | None,
    lookback: int | None,
    n_draws: int,
    refits: int,
    level: float,
    asked: dict[str, Any],
) -> tuple[str, Backtest]:
    from koopman_control.evaluation import backtest
    from koopman_control.evaluation.forecast_report import write_forecast_report

    result = backtest(
        table,
        len(target),
        max(horizon),
        future=ahead,
        lookback=lookback,
        n_draws=n_draws,
        refits=refits,
        level=level,
        horizons=horizon,
    )
    title = f"Forecast of {', '.join(target)}"
    return write_forecast_report(folder, title, table, result, asked), result


def _keep(
    path: Path, table: TimeTable, result: Backtest, target: list[str], known: list[str]
) -> None:
    notes = {"columns": list(table.names), "n_targets": len(target), "n_known": len(known)}
    notes |= {"dt": table.dt, "steps": "" if table.steps is None else str(table.steps)}
    notes |= {"periods": table.periods(), "widths": result.widths.tolist()}
    result.forecaster.save(path, notes)


def _notes(model: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the columns that a kept forecaster reads, and what else is noted in its file."""
    from koopman_control.common import refusing
    from koopman_control.forecasting import DirectForecaster

    notes = DirectForecaster.load(model).notes_
    with refusing(f"{model} holds a forecaster that this command has not kept; use Python"):
        return [str(name) for name in notes["columns"]], notes


def _forecast_again(
    folder: Path,
    model: Path,
    table: TimeTable,
    notes: dict[str, Any],
    future: Path | None,
    level: float,
    reading: Reading,
) -> None:
    """Forecast what follows a table with a kept forecaster."""
    import numpy as np

    from koopman_control.evaluation.forecast_report import write_kept_forecast
    from koopman_control.forecasting import DirectForecaster, Forecast

    forecaster = DirectForecaster.load(model)
    steps = "" if table.steps is None else str(table.steps)
    if (abs(table.dt / notes["dt"] - 1.0) > 0.2) or steps != notes["steps"]:
        raise ValueError(
            f"the table's rows are {table.dt:g} s apart; the forecaster was fitted to rows "
            f"{notes['dt']:g} s apart: give it rows as often"
        )
    n, H, q = forecaster.n_history, forecaster.horizon, notes["n_known"]
    if len(table.rows) < n:
        raise ValueError(f"the table has {len(table.rows)} rows; expected at least {n} to go on")
    Y, U = table.rows, table.calendar(H, notes["periods"])[1:]
    if q:
        if future is None:
            known = ", ".join(table.names[-q:])
            raise ValueError(f"the forecaster needs {known} of the rows to come; give --future")
        names = list(table.names[-q:])
        told = np.vstack([Y[:, -q:], read_future(future, table, names, H, reading)])
        Y, U = Y[:, :-q], np.hstack([U, told[1:]])
    inputs = U[len(Y) - n :] if U.shape[1] else None
    p = notes["n_targets"]
    ahead = forecaster.forecast_with_intervals(Y[-n:], inputs).of_outputs(range(p))
    ahead = Forecast(ahead.mean, ahead.size * np.array(notes["widths"]), ahead.ratios)
    title = f"Forecast of {', '.join(table.names[:p])}"
    settings = {"model": str(model), "level": level}
    write_kept_forecast(folder, title, table, forecaster, ahead, level, settings)
