"""What a forecast of a table writes: a page, tables of forecasts, scores and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.common.files import write_text_atomically
from koopman_control.evaluation.backtest import Backtest
from koopman_control.evaluation.plots import forecast_checks, forecast_figure
from koopman_control.evaluation.report import (
    Picture,
    metrics_json,
    package_versions,
    picture,
    plain,
    render,
)
from koopman_control.evaluation.summary import flatten
from koopman_control.forecasting import DirectForecaster, Forecast, TimeTable

FORMULA = tuple("=+-@＝＋－＠")  # what a formula begins with
MOST_FIGURES = 6  # targets that are drawn
MOST_PARTS = 8  # of the average that are named


def write_forecast_report(
    folder: Path, title: str, table: TimeTable, result: Backtest, settings: Mapping[str, Any]
) -> str:
    """Write report.html, scores.json, forecast.csv, backtest.csv and figures; return the scores.

    Args:
        folder: Where to; must exist.
        title: Heading of the page.
        table: What was forecast.
        result: What came out.
        settings: What was asked for.
    """
    level = result.scores["level"]
    told_too = {"repairs": table.repairs, "versions": package_versions()}
    scores = metrics_json(result.scores | told_too)
    write_text_atomically(folder / "scores.json", scores)
    low, high = result.ahead.interval(level)
    write_text_atomically(
        folder / "forecast.csv", forecast_csv(table, (result.ahead.mean, low, high))
    )
    write_text_atomically(folder / "backtest.csv", _backtest_csv(table, result))
    names = result.scores["targets"]
    pictures = _fans(folder, table, result.ahead, result.errors, level)
    missed = (result.truth - result.forecasts[0])[:, 0]
    pictures.append(
        picture(
            folder,
            "checks",
            forecast_checks(result.coverage, missed, names, level),
            "On the left, the share of held-out values within the interval at each lead; the grey "
            "band is what was promised, give or take two points. On the right, what forecasts of "
            "one step missed: no drift, if it lies around zero.",
        )
    )
    by_horizon = result.scores["by_horizon"]
    targets = [
        {
            "name": name,
            "rows": [
                (method.replace("_", " "), [by_horizon[h][method][j] for h in by_horizon])
                for method in result.errors
            ],
            "note": f"{result.scores['n_windows']} held-out forecasts; continuous ranked "
            f"probability score {result.scores['crps'][j]:.4g}.",
        }
        for j, name in enumerate(names)
    ]
    page = _page(
        title,
        " ".join(told(result, j) for j in range(len(names))),
        (list(by_horizon), targets),
        (result.forecaster, table),
        pictures,
        settings,
        "PNG files, forecast.csv, backtest.csv and scores.json",
    )
    write_text_atomically(folder / "report.html", page)
    return scores


def write_kept_forecast(
    folder: Path,
    title: str,
    table: TimeTable,
    forecaster: DirectForecaster,
    ahead: Forecast,
    level: float,
    settings: Mapping[str, Any],
) -> None:
    """Write report.html, forecast.csv and figures of a forecast by a forecaster fitted before.

    Args:
        folder: Where to; must exist.
        title: Heading of the page.
        table: What goes on.
        forecaster: What made the forecast.
        ahead: The forecast of the targets, the table's first columns.
        level: Probability of the interval.
        settings: What was asked for.
    """
    low, high = ahead.interval(level)
    write_text_atomically(folder / "forecast.csv", forecast_csv(table, (ahead.mean, low, high)))
    H, p = ahead.mean.shape
    squares = forecaster.errors_[:, :p] ** 2
    horizons = sorted({1, -(-H // 2), H})
    targets = [
        {
            "name": table.names[j],
            "rows": [("when it was fitted", [float(squares[:h, j].mean()) for h in horizons])],
            "note": "From data left out when the forecaster was fitted; this table was not seen.",
        }
        for j in range(p)
    ]
    page = _page(
        title,
        f"The {H} rows that follow {table.written(table.dates[-1:])[0]}, by a forecaster fitted "
        "before; nothing was fitted to this table.",
        (horizons, targets),
        (forecaster, table),
        _fans(folder, table, ahead, {"model": forecaster.errors_[:, :p]}, level),
        settings,
        "PNG files and forecast.csv",
    )
    write_text_atomically(folder / "report.html", page)


def _fans(
    folder: Path, table: TimeTable, ahead: Forecast, errors: Mapping[str, Array], level: float
) -> list[Picture]:
    """Draw the forecasts of the first targets."""
    return [
        picture(
            folder,
            "forecast" if j == 0 else f"forecast_{j + 1}",
            drawn(table, ahead, errors, level, j),
            "Measured rows, the forecast of those that follow, and its interval; below, the error "
            "of held-out forecasts at each lead.",
        )
        for j in range(min(ahead.mean.shape[1], MOST_FIGURES))
    ]


def _page(
    title: str,
    verdict: str,
    errors: tuple[Sequence[Any], Sequence[Mapping[str, Any]]],
    made_of: tuple[DirectForecaster, TimeTable],
    pictures: Sequence[Picture],
    settings: Mapping[str, Any],
    files: str,
) -> str:
    """Render the page; `errors` holds horizons and, by target, the errors up to these."""
    forecaster, table = made_of
    source = resources.files(__package__).joinpath("forecast.html.jinja").read_text("utf-8")
    return render(
        source,
        title=title,
        verdict=verdict,
        horizons=errors[0],
        targets=errors[1],
        facts=[
            *[(f"{100 * share:.0f} %", what) for what, share in forecaster.weights_[:MOST_PARTS]],
            *[("repairs", text) for text in table.repairs],
        ],
        pictures=pictures,
        settings=flatten(plain(settings)),
        versions=package_versions(),
        files=files,
    )


def told(result: Backtest, j: int) -> str:
    """Say in words how good forecasts of a target were."""
    scores = result.scores
    own, *others = (
        f"{method.replace('_', ' ')} {scores[f'mse_{method}'][j]:.4g}" for method in result.errors
    )
    return (
        f"{scores['targets'][j]}: mean squared error on {scores['n_windows']} held-out windows: "
        f"{', '.join([own, *others])}; {100 * scores['coverage'][j]:.1f} % within the "
        f"{100 * scores['level']:g} % interval, CRPS {scores['crps'][j]:.4g}."
    )


def drawn(
    table: TimeTable, ahead: Forecast, errors: Mapping[str, Array], level: float, j: int
) -> Any:
    """Draw the forecast of a target."""
    low, high = ahead.interval(level)
    H = len(low)
    shown = table.clock if table.seconds is None else table.counted
    return forecast_figure(
        (shown(table.dates[-2 * H :]), table.rows[-2 * H :, j]),
        (shown(table.dates_after(H)), ahead.mean[:, j], low[:, j], high[:, j]),
        {method.replace("_", " "): sizes[:, j] for method, sizes in errors.items()},
        table.names[j],
        level,
        "seconds" if table.seconds is not None else "" if table.zone is None else str(table.zone),
    )


def forecast_csv(table: TimeTable, values: Sequence[Array]) -> str:
    """Write one row per date: every target with its bounds; an unknown bound stays empty.

    Args:
        table: What was forecast.
        values: Forecasts, lower and upper bounds, shape (H, p) each.
    """
    H, p = values[0].shape
    rows = np.stack(values, axis=-1).reshape(H, -1)
    dates = table.written(table.dates_after(H))
    heads = [_when(table), *_heads(table, p)]
    return _csv(heads, ([d, *_cells(r)] for d, r in zip(dates, rows, strict=True)))


def _backtest_csv(table: TimeTable, result: Backtest) -> str:
    """Write one row per held-out forecast and lead."""
    H, p = result.forecasts.shape[2:]
    values = np.concatenate([result.truth[..., None], np.moveaxis(result.forecasts, 0, -1)], -1)
    heads = [
        f"{_cell(n)}{end}" for n in table.names[:p] for end in (" measured", "", " low", " high")
    ]
    dates = table.written(table.dates)
    rows = (
        [dates[t], h + 1, dates[t + 1 + h], *_cells(values[w, h].ravel())]
        for w, t in enumerate(result.origins.tolist())
        for h in range(H)
    )
    return _csv(["last row known", "steps ahead", _when(table), *heads], rows)


def _when(table: TimeTable) -> str:
    return "date" if table.seconds is None else "seconds"


def _heads(table: TimeTable, p: int) -> list[str]:
    return [f"{_cell(name)}{end}" for name in table.names[:p] for end in ("", " low", " high")]


def _cells(row: Array) -> list[str]:
    return [f"{value:.10g}" if np.isfinite(value) else "" for value in row.tolist()]


def _csv(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue()


def _cell(name: str) -> str:
    """Quote a name that a spreadsheet would take for a formula."""
    return f"'{name}" if name.lstrip().startswith(FORMULA) or name.startswith("\t") else name
