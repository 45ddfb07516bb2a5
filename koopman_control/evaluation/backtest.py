"""A forecaster judged on the last part of a table, then refitted to all of it to look ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.evaluation.forecasts import (
    continuous_ranked_probability_score,
    mean_squared_error,
)
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import Forecast, SampledRNN
from koopman_control.forecasting.table import DAY, TimeTable

WIDTHS, STEEPNESS = (30, 100, 300), 0.25
LONGEST_MEMORY = 200  # steps; more makes the fit slow and seldom better
HELD_OUT = 0.2
MOST_WINDOWS = 200


@dataclass(frozen=True)
class Backtest:
    """What came out, all in the units of the table.

    Args:
        forecaster: Fitted to the whole table.
        ahead: Its forecast of the rows that follow.
        scores: Held-out scores of the targets, strict JSON but for NaN.
        errors: Root-mean-square error of the first target at each lead, by method.
    """

    forecaster: SampledRNN
    ahead: Forecast
    scores: dict[str, Any]
    errors: dict[str, Array]


@checked
def backtest(
    table: TimeTable,
    n_targets: int,
    horizon: int,
    *,
    memory: int | None = None,
    n_draws: int = 4,
    level: float = 0.9,
) -> Backtest:
    """Fit to the first four fifths, judge forecasts of the rest, and look ahead.

    Args:
        table: Regular rows; the first `n_targets` columns are judged, the others help.
        n_targets: Number of targets.
        horizon: Number of steps to predict.
        memory: Past steps the model remembers; None takes the horizon, at most 200.
        n_draws: Size of the ensemble.
        level: Probability of the interval whose coverage is measured.

    Raises:
        ValueError: If the table is too short for memory and horizon.
    """
    positive_int("horizon", horizon)
    positive_int("n_targets", n_targets)
    length = min(horizon, LONGEST_MEMORY) if memory is None else memory
    positive_int("memory", length, minimum=0)
    T = len(table.rows)
    split = int((1.0 - HELD_OUT) * T)
    if T - split < horizon + 1 or split < 4 * (horizon + length + 1):
        needed = max((horizon + 1) / HELD_OUT, 4 * (horizon + length + 1) / (1.0 - HELD_OUT))
        raise ValueError(
            f"the table has {T} rows; expected at least {needed:.0f} for a horizon of {horizon} "
            f"and a memory of {length}: shorten these, or take more data"
        )
    U = table.calendar(horizon)
    widths = [SampledFeatures(n, steepness=STEEPNESS, random_state=0) for n in WIDTHS]
    rnn = SampledRNN(widths, memory=length, horizon=horizon, n_draws=n_draws)
    rnn.fit(table.rows[:split], inputs=U[:split])
    scores, errors = _judged(rnn, table, U, split, n_targets, level)
    # From the last state of the fit on, so that no pair of rows is lost or counted twice.
    since = split - 1 - length
    rnn.partial_fit(table.rows[since:], inputs=U[since:T])
    ahead = rnn.forecast_with_intervals(
        table.rows[T - length - 1 :], horizon, U[T - length - 1 : T - 1 + horizon]
    )
    return Backtest(rnn, ahead.of_outputs(range(n_targets)), scores, errors)


def _judged(
    rnn: SampledRNN, table: TimeTable, U: Array, split: int, n_targets: int, level: float
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Score forecasts of the rows from `split` on."""
    Y, length, horizon = table.rows, rnn.memory, rnn.horizon
    last = np.linspace(split - 1, len(Y) - 1 - horizon, MOST_WINDOWS).astype(int)
    last = np.unique(last)
    histories = np.stack([Y[t - length : t + 1] for t in last])
    inputs = np.stack([U[t - length : t + horizon] for t in last])
    truth = np.stack([Y[t + 1 : t + 1 + horizon, :n_targets] for t in last])
    forecast = rnn.forecast_with_intervals(histories, horizon, inputs)
    low, high = (bound[..., :n_targets] for bound in forecast.interval(level))
    methods = {"model": forecast.mean[..., :n_targets], **_simple(table, last, horizon, n_targets)}
    scores: dict[str, Any] = {
        "targets": list(table.names[:n_targets]),
        "n_windows": len(last),
        "cv_score": rnn.choices_[0].score,
        "regularization": rnn.choices_[0].regularization,
        "n_features": rnn.choices_[0].features._n_features_out,
        "level": level,
        "coverage": _per_target((low <= truth) & (truth <= high)),
        "crps": [_crps(forecast, truth, j) for j in range(n_targets)],
    }
    for method, predicted in methods.items():
        scores[f"mse_{method}"] = [
            mean_squared_error(predicted[..., j], truth[..., j]) for j in range(n_targets)
        ]
    errors = {
        method: np.sqrt(((predicted - truth)[..., 0] ** 2).mean(axis=0))
        for method, predicted in methods.items()
    }
    return scores, errors


def _simple(table: TimeTable, last: NDArray[np.intp], horizon: int, p: int) -> dict[str, Array]:
    """Forecast that nothing changes and, if rows tell hours, that all is as it was a day ago."""
    Y, day = table.rows[:, :p], round(DAY / table.dt)
    methods = {"persistence": np.stack([np.tile(Y[t], (horizon, 1)) for t in last])}
    if 1 < day <= last[0]:
        leads = np.arange(1, horizon + 1)
        days = -(-leads // day)  # so that no value is taken from the future
        methods["same_as_yesterday"] = np.stack([Y[t + leads - day * days] for t in last])
    return methods


def _crps(forecast: Forecast, truth: Array, j: int) -> float:
    samples = forecast.of_outputs([j]).samples()
    return continuous_ranked_probability_score(samples, truth[..., [j]]) if len(samples) else np.nan


def _per_target(hits: Any) -> list[float]:
    shares: list[float] = np.mean(hits, axis=(0, 1)).tolist()
    return shares
