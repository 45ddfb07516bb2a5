"""How good forecasts of a table would have been, and the forecast of what follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common import Array, finite_array, positive_int
from koopman_control.common.border import checked
from koopman_control.evaluation.forecasts import (
    continuous_ranked_probability_score,
    mean_squared_error,
)
from koopman_control.forecasting import DAY, DirectForecaster, Forecast, TimeTable
from koopman_control.forecasting.intervals import tracked

HELD_OUT = 0.2
MOST_WINDOWS = 200


@dataclass(frozen=True)
class Backtest:
    """What came out, all in the units of the table.

    Args:
        forecaster: Fitted to the whole table.
        ahead: Its forecast of the targets in the rows that follow.
        scores: Held-out scores of the targets, strict JSON but for NaN.
        errors: Root-mean-square error of every target at each lead, (H, n_targets), by method.
        coverage: Share of held-out values within the interval at each lead, (H, n_targets).
        origins: The last row that each held-out forecast knew, shape (W,).
        forecasts: Held-out forecasts with lower and upper bounds, shape (3, W, H, n_targets).
        truth: What came, shape (W, H, n_targets).
        widths: What tells the forecaster's intervals to be wider, shape (H, n_targets).
    """

    forecaster: DirectForecaster
    ahead: Forecast
    scores: dict[str, Any]
    errors: dict[str, Array]
    coverage: Array
    origins: NDArray[np.int_]
    forecasts: Array
    truth: Array
    widths: Array


@checked
def backtest(
    table: TimeTable,
    n_targets: int,
    horizon: int,
    *,
    future: ArrayLike | None = None,
    lookback: int | None = None,
    refits: int = 1,
    level: float = 0.9,
    n_draws: int = 1,
    horizons: Sequence[int] = (),
) -> Backtest:
    """Fit to the first four fifths, judge forecasts of the rest, refit to all, and look ahead.

    Widths of intervals are corrected as the held-out rows go by: what missed widens those that
    follow.

    Args:
        table: Regular rows; the first `n_targets` columns are judged, the others help.
        n_targets: Number of targets.
        horizon: Number of steps to predict.
        future: What the table's last columns will be in the rows that follow, shape (horizon, q);
            None: nothing is known in advance but the calendar.
        lookback: Longest look-back of the forecaster; None leaves it to that.
        refits: Number of equal parts of the last fifth; each is forecast by a fit to all before.
        level: Probability of the interval whose coverage is measured.
        n_draws: Draws of the forecaster's features.
        horizons: Further horizons, at most `horizon`, to score.

    Raises:
        ValueError: If the table is too short for the horizon, or `future` does not fit.
    """
    positive_int("horizon", horizon)
    positive_int("n_targets", n_targets)
    positive_int("refits", refits)
    for h in horizons:
        if not 1 <= positive_int("horizons", h) <= horizon:
            raise ValueError(f"horizons holds {h}; expected at most horizon={horizon}")
    Y, U = known_ahead(table, horizon, future)
    T, split = len(Y), int((1.0 - HELD_OUT) * len(Y))
    room = T - horizon - split + 1
    if room < refits:
        needed = int(np.ceil((horizon + refits) / HELD_OUT))
        raise ValueError(
            f"the table has {T} rows; expected at least {needed} for a horizon of {horizon} and "
            f"refits={refits}: shorten these, or take more data"
        )

    def fitted(n: int) -> DirectForecaster:
        seasons = [k for k in table.seasons() if k <= n // 4]
        forecaster = DirectForecaster(horizon, periods=seasons, lookback=lookback, n_draws=n_draws)
        return forecaster.fit(Y[:n], inputs=U[: n - 1] if U.shape[1] else None)

    judged = []
    edges = np.linspace(split, T - horizon + 1, refits + 1).astype(int).tolist()
    for a, b in pairwise(edges):
        forecaster = fitted(a)
        last = np.unique(np.linspace(a - 1, b - 2, max(1, MOST_WINDOWS // refits)).astype(int))
        judged.append((last, _forecast(forecaster, Y, U, last)))
    origins = np.concatenate([last for last, _ in judged])
    held = _joined([forecast for _, forecast in judged]).of_outputs(range(n_targets))
    truth = np.stack([Y[t + 1 : t + 1 + horizon, :n_targets] for t in origins])
    bounds = held.bounds(level)
    factors = tracked((truth - held.mean) / held.size, bounds, origins, level)
    half = bounds * held.size * factors[:-1]
    forecaster = fitted(T)
    ahead = _forecast(forecaster, Y, U, np.array([T - 1])).of_outputs(range(n_targets))
    ahead = Forecast(ahead.mean[0], ahead.size[0] * factors[-1], ahead.ratios)
    forecasts = np.stack([held.mean, held.mean - half, held.mean + half])
    methods = {"model": held.mean, **_simple(table, origins, horizon, n_targets)}
    return Backtest(
        forecaster,
        ahead,
        _scores(table, methods, forecasts, truth, held, level, (*horizons, horizon)),
        {name: np.sqrt(((f - truth) ** 2).mean(axis=0)) for name, f in methods.items()},
        ((forecasts[1] <= truth) & (truth <= forecasts[2])).mean(axis=0),
        origins,
        forecasts,
        truth,
        factors[-1],
    )


def known_ahead(table: TimeTable, horizon: int, future: ArrayLike | None) -> tuple[Array, Array]:
    """Return outputs (T, p) and the inputs from the first row to the horizon, (T - 1 + H, m)."""
    calendar = table.calendar(horizon)
    if future is None:
        return table.rows, calendar[1:]
    rows = finite_array("future", future, shape=(horizon, None))
    q, width = rows.shape[1], table.rows.shape[1]
    if not 1 <= q < width:
        raise ValueError(f"future has {q} columns; expected fewer than the table's {width}")
    told = np.vstack([table.rows[:, width - q :], rows])
    return table.rows[:, : width - q], np.hstack([calendar, told])[1:]


def _forecast(forecaster: DirectForecaster, Y: Array, U: Array, last: NDArray[np.int_]) -> Forecast:
    """Forecast what follows rows."""
    L, H = forecaster.n_history, forecaster.horizon
    inputs = U[last[:, None] + np.arange(1 - L, H)] if U.shape[1] else None
    return forecaster.forecast_with_intervals(Y[last[:, None] + np.arange(1 - L, 1)], inputs)


def _joined(parts: list[Forecast]) -> Forecast:
    """Join forecasts; the ratios of the first, which knew least, go for all."""
    mean, size = (np.concatenate([getattr(f, n) for f in parts]) for n in ("mean", "size"))
    return Forecast(mean, size, parts[0].ratios)


def _scores(
    table: TimeTable,
    methods: dict[str, Array],
    forecasts: Array,
    truth: Array,
    held: Forecast,
    level: float,
    horizons: Sequence[int],
) -> dict[str, Any]:
    """Score held-out forecasts of every target."""
    p = truth.shape[2]
    inside = (forecasts[1] <= truth) & (truth <= forecasts[2])
    scores: dict[str, Any] = {
        "targets": list(table.names[:p]),
        "n_windows": len(truth),
        "level": level,
        "coverage": inside.mean(axis=(0, 1)).tolist(),
        "crps": [
            continuous_ranked_probability_score(held.of_outputs([j]).samples(), truth[..., [j]])
            for j in range(p)
        ],
    }
    for method, predicted in methods.items():
        scores[f"mse_{method}"] = [
            mean_squared_error(predicted[..., j], truth[..., j]) for j in range(p)
        ]
    scores["by_horizon"] = {
        str(h): {
            method: ((predicted - truth)[:, :h] ** 2).mean(axis=(0, 1)).tolist()
            for method, predicted in methods.items()
        }
        for h in sorted(set(horizons))
    }
    return scores


def _simple(table: TimeTable, last: NDArray[np.int_], horizon: int, p: int) -> dict[str, Array]:
    """Forecast that nothing changes and, if rows tell hours, that all is as it was a day ago."""
    Y, day = table.rows[:, :p], round(DAY / table.dt)
    methods = {"persistence": np.stack([np.tile(Y[t], (horizon, 1)) for t in last])}
    dated = table.seconds is None
    season, name = (day, "same_as_yesterday") if dated and 1 < day <= last[0] else (0, "")
    if not season and table.seasons():
        season, name = table.seasons()[0], "same_as_last_season"
    if season:
        leads = np.arange(1, horizon + 1)
        seasons = -(-leads // season)  # so that no value is taken from the future
        methods[name] = np.stack([Y[t + leads - season * seasons] for t in last])
    return methods
