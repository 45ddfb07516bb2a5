"""Lorenz's system of 1963: how long forecasts stay valid, beside tuned baselines.

    pip install "koopman-control[paper]"
    python -m examples.paper.lorenz

50,000 training points of one run (dt = 0.01, DOP853 at tolerance 1e-10), 500 starts from another
one. A forecast is valid while mean_i (error_i / sigma_i)^2 <= 0.3^2; times are in Lyapunov times
1 / 0.91. All are tuned on the last fifth of the training run. The noisy case has white noise
of 1 % of every deviation on the training data; starts are exact, so that it is the model that is
judged; there, a network of ours of 100 neurons takes the noise out first. Published for this
protocol (Mandal & Gottwald 2025, Nat. Commun. 16): random features 9.84, their deep variant 12.00.
"""

from __future__ import annotations

from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer

from examples.paper.common.forecasters import Baseline, Score, tuned_fits
from examples.paper.common.lstm import LSTM
from examples.paper.common.nextgen import NGRC
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
from examples.paper.common.sampled import Sampled
from examples.paper.common.systems import lorenz, on_attractor, solved
from koopman_control.common import Array
from koopman_control.evaluation import valid_prediction_time

DT, EXPONENT, N_HISTORY, HORIZON = 0.01, 0.91, 200, 2700
NOISE, TUNING_HORIZON = 0.01, 1500
OURS = Sampled(
    500,
    [
        {"steepness": 0.3},
        {"steepness": 0.3, "memory": 100, "n_recurrent": 100, "horizon": 100},
        {"steepness": 1.0, "memory": 100, "n_recurrent": 30, "horizon": 100},
    ],
)
# More neurons follow more of the noise that is left.
SMOOTHED = Sampled(100, [{"steepness": 0.3, "noise": "smooth"}])


def main(
    seeds: FeatureSeeds = 10,
    baseline_seeds: BaselineSeeds = 2,
    lstm_seconds: LstmSeconds = 60.0,
    quick: Annotated[bool, typer.Option(help="A tenth of the data, two seeds.")] = False,
    baselines: Baselines = True,
    out: Out = OUT,
) -> None:
    """Fit, forecast and compare."""
    n_train, n_starts = (5_000, 50) if quick else (50_000, 500)
    if quick:
        seeds, baseline_seeds, lstm_seconds = min(seeds, 2), 1, min(lstm_seconds, 3.0)
    print(f"versions {versions()}; {seeds} feature seeds, {baseline_seeds} baseline seeds")
    train, test = data(n_train, n_starts)
    rows: list[dict[str, Any]] = []
    times: dict[str, Array] = {}
    for noise in (0.0, NOISE):
        scale = train.std(axis=0)
        series = train + noise * scale * np.random.default_rng(5).standard_normal(train.shape)
        ours = [OURS, SMOOTHED] if noise else [OURS]
        for subject in [*ours, *(peers(lstm_seconds) if baselines else [])]:
            n_seeds = seeds if subject in ours else baseline_seeds
            if isinstance(subject, NGRC):  # nothing about it is random
                n_seeds = 1
            score = mean_time(scale)
            fits = tuned_fits(
                subject, series, N_HISTORY, TUNING_HORIZON, score, n_seeds, truth=train
            )
            rows.append(judged(subject.name, noise, fits, test, scale, times))
    facts = {"seeds": seeds, "baseline_seeds": baseline_seeds, "lstm_seconds": lstm_seconds}
    report(out, "lorenz", rows, facts, drawn(times))


def data(n_train: int, n_starts: int) -> tuple[Array, Array]:
    """Return training rows (T, 3) and test windows (S, N_HISTORY + HORIZON, 3)."""
    first = np.array([[1.0, 1.0, 25.0]])
    train = solved(lorenz, first, DT, 2000 + n_train - 1)[0, 2000:]
    starts = on_attractor(lorenz, np.array([-3.0, 2.0, 20.0]), DT, 2000, 200, n_starts)
    return train, solved(lorenz, starts, DT, N_HISTORY + HORIZON - 1)


def peers(lstm_seconds: float) -> list[Baseline]:
    return [ESN(), NGRC(), LSTM(lstm_seconds)]


def mean_time(scale: Array) -> Score:
    return lambda forecast, truth: float(valid_times(forecast, truth, scale).mean())


def valid_times(forecast: Array, truth: Array, scale: Array) -> Array:
    return valid_prediction_time(
        forecast, truth, scale=scale, dt=DT, lyapunov_exponent=EXPONENT, threshold=0.3
    )


def judged(
    name: str,
    noise: float,
    fits: list[tuple[Any, float]],
    test: Array,
    scale: Array,
    times: dict[str, Array],
) -> dict[str, Any]:
    """Measure all fits of one forecaster; remembers the valid times of the first."""
    history, truth = test[:, :N_HISTORY], test[:, N_HISTORY:]
    valid = [valid_times(fit.forecast(history, HORIZON), truth, scale) for fit, _ in fits]
    if not noise:
        times[name] = np.concatenate(valid)
    means = [float(v.mean()) for v in valid]
    row = {
        "forecaster": name,
        "noise": noise,
        "seeds": len(fits),
        "mean VPT": float(np.mean(means)),
        "worst seed": min(means),
        "sd over starts": float(np.concatenate(valid).std()),
        "training, CPU s": float(np.mean([seconds for _, seconds in fits])),
    }
    print(row, flush=True)
    return row


def drawn(times: dict[str, Array]) -> Any:
    """Draw the distribution of valid times without noise."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for color, (name, values) in zip(COLORS, times.items(), strict=False):
        rest = 1.0 - np.arange(len(values)) / len(values)
        axes.step(np.sort(values), rest, color=color, label=f"{name}: mean {values.mean():.1f}")
    for value, label in ((9.84, "random features"), (12.0, "deep variant")):
        axes.axvline(value, color="0.6", lw=1, ls="--")
        axes.text(value, 1.02, f"{label} {value}", color="0.4", fontsize=7, ha="center")
    axes.set(xlabel="Lyapunov times", ylabel="share of forecasts still valid", ylim=(0, 1.09))
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    typer.run(main)
