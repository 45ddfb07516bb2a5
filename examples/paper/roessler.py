"""Rössler's system: valid time and climate of forecasts, beside tuned baselines.

    pip install "koopman-control[paper]"
    python -m examples.paper.roessler

20,000 training points of one run (a = b = 0.2, c = 5.7, dt = 0.1, DOP853 at tolerance 1e-10), 100
starts from another one. Valid times as for Lorenz's system, in Lyapunov times 1 / 0.0714. D_stsp
(divergence of the visited regions, 30 bins per state) and D_H (distance of power spectra) compare
one free run of 20,000 steps with the true one from the same start, after both drop the first
fourth; "floor" compares two true runs from different starts. Tuned on the last fifth of the
training run by the mean logarithm of the error.
"""

from __future__ import annotations

from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer

from examples.paper.common.forecasters import Baseline, Model, fits_of, tuned, windows_of
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
from examples.paper.common.systems import on_attractor, roessler, solved
from koopman_control.common import Array
from koopman_control.evaluation import (
    spectrum_distance,
    state_space_divergence,
    valid_prediction_time,
)

DT, EXPONENT, N_HISTORY, HORIZON = 0.1, 0.0714, 200, 3000
TUNING_HORIZON = 1500
OURS = Sampled(500, [{"steepness": s} for s in (0.1, 0.2, 0.4, 0.8)])


def main(
    seeds: FeatureSeeds = 10,
    baseline_seeds: BaselineSeeds = 2,
    lstm_seconds: LstmSeconds = 60.0,
    quick: Annotated[bool, typer.Option(help="A fifth of the data, two seeds.")] = False,
    baselines: Baselines = True,
    out: Out = OUT,
) -> None:
    """Fit, forecast and compare."""
    n_rows, n_starts = (4_000, 20) if quick else (20_000, 100)
    if quick:
        seeds, baseline_seeds, lstm_seconds = min(seeds, 2), 1, min(lstm_seconds, 3.0)
    print(f"versions {versions()}; {seeds} feature seeds, {baseline_seeds} baseline seeds")
    first = np.array([[1.0, 1.0, 0.0], [-4.0, 3.0, 0.0]])
    train, other = solved(roessler, first, DT, 2000 + n_rows - 1)[:, 2000:]
    starts = on_attractor(roessler, np.array([5.0, 1.0, 0.0]), DT, 2000, 100, n_starts)
    test = solved(roessler, starts, DT, N_HISTORY + HORIZON - 1)
    rows, runs = [], {"true": other}
    for subject in [OURS, *(peers(lstm_seconds) if baselines else [])]:
        n_seeds = seeds if subject is OURS else baseline_seeds
        fits = tuned_fits(subject, train, 1 if isinstance(subject, NGRC) else n_seeds)
        rows.append(judged(subject.name, fits, train, test, other, runs))
    climate = climate_of(train, other)
    row = {"forecaster": "floor", "seeds": "", "mean VPT": "", "worst seed": "", **climate}
    rows.append(row | {"training, CPU s": ""})
    facts = {"seeds": seeds, "baseline_seeds": baseline_seeds, "lstm_seconds": lstm_seconds}
    report(out, "roessler", rows, facts, drawn(runs))


def peers(lstm_seconds: float) -> list[Baseline]:
    return [ESN(), NGRC(), LSTM(lstm_seconds)]


def tuned_fits(subject: Baseline, train: Array, seeds: int) -> list[tuple[Model, float]]:
    """Tune on the last fifth, then fit to all of the series."""
    split = 4 * len(train) // 5
    horizon = min(TUNING_HORIZON, (len(train) - split) // 2)
    validation = windows_of(train[split:], N_HISTORY, horizon, 25)

    def score(forecast: Array, truth: Array) -> float:
        return -float(np.mean(np.log10(1e-15 + np.abs(forecast - truth))))

    settings = tuned(subject, train[:split], validation, N_HISTORY, score)
    return fits_of(subject, train, settings, seeds)


def valid_times(forecast: Array, truth: Array, train: Array) -> Array:
    scale = train.std(axis=0)
    return valid_prediction_time(forecast, truth, scale=scale, dt=DT, lyapunov_exponent=EXPONENT)


def climate_of(generated: Array, true: Array) -> dict[str, float]:
    """Compare two long runs without their first fourth."""
    skipped = len(true) // 4
    run, truth = generated[skipped:], true[skipped:]
    moving = bool((run.std(axis=0) > 0.0).all())
    return {
        "D_stsp": state_space_divergence(run, truth),
        "D_H": spectrum_distance(run, truth) if moving else 1.0,
    }


def judged(
    name: str,
    fits: list[tuple[Model, float]],
    train: Array,
    test: Array,
    other: Array,
    runs: dict[str, Array],
) -> dict[str, Any]:
    """Measure all fits of one forecaster; remembers the free run of the first."""
    history, truth = test[:, :N_HISTORY], test[:, N_HISTORY:]
    means, climates = [], []
    for model, _ in fits:
        means.append(float(valid_times(model.forecast(history, HORIZON), truth, train).mean()))
        start = other[None, :N_HISTORY]
        free = np.concatenate([start, model.forecast(start, len(other) - N_HISTORY)], axis=1)[0]
        climates.append(climate_of(free, other))
        runs.setdefault(name, free)
    row = {
        "forecaster": name,
        "seeds": len(fits),
        "mean VPT": float(np.mean(means)),
        "worst seed": min(means),
        "D_stsp": float(np.mean([climate["D_stsp"] for climate in climates])),
        "D_H": float(np.mean([climate["D_H"] for climate in climates])),
        "training, CPU s": float(np.mean([seconds for _, seconds in fits])),
    }
    print(row, flush=True)
    return row


def drawn(runs: dict[str, Array]) -> Any:
    """Draw the free runs, first against second state."""
    figure, panels = plt.subplots(1, len(runs), figsize=(2.2 * len(runs), 2.4), squeeze=False)
    for axes, color, (name, run) in zip(panels[0], ("0.4", *COLORS), runs.items(), strict=False):
        axes.plot(run[-3000:, 0], run[-3000:, 1], color=color, lw=0.3)
        axes.set(xlim=(-10, 13), ylim=(-12, 9), xticks=[], yticks=[])
        axes.set_title(name, fontsize=8)
    return figure


if __name__ == "__main__":
    typer.run(main)
