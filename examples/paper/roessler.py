"""Rössler's system: valid time and climate of forecasts, beside tuned baselines.

    pip install "koopman-control[paper]"
    python -m examples.paper.roessler

20,000 training points of one run (a = b = 0.2, c = 5.7, dt = 0.1, DOP853 at tolerance 1e-10), 100
starts from another one, each followed freely over 10,000 steps. Valid times as for Lorenz's system,
in Lyapunov times 1 / 0.0714. D_stsp (divergence of the visited regions, 30 bins per state) and D_H
(distance of power spectra) compare all free runs with the true ones from the same starts, after
both drop the first fourth. A single run says little: two true runs of 20,000 steps are a D_stsp
of 0.14 to 0.33 apart by chance. "floor" compares the true runs with true runs from other starts.
Tuned on the last fifth of the training run by the mean logarithm of the error.
"""

from __future__ import annotations

from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer

from examples.paper.common.forecasters import Baseline, Model, tuned_fits
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

DT, EXPONENT, N_HISTORY, HORIZON, VALID = 0.1, 0.0714, 200, 10_000, 4_000
TUNING_HORIZON = 1500
OURS = Sampled(500, [{"steepness": s} for s in (0.2, 0.4, 0.8, 1.2)])


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
    train = solved(roessler, np.array([[1.0, 1.0, 0.0]]), DT, 2000 + n_rows - 1)[0, 2000:]
    test, others = (runs_from(x0, n_starts) for x0 in ([5.0, 1.0, 0.0], [-4.0, 3.0, 0.0]))
    rows, runs = [], {"true": test[0]}
    for subject in [OURS, *(peers(lstm_seconds) if baselines else [])]:
        n_seeds = seeds if subject is OURS else baseline_seeds
        if isinstance(subject, NGRC):  # nothing about it is random
            n_seeds = 1
        fits = tuned_fits(subject, train, N_HISTORY, TUNING_HORIZON, closeness, n_seeds)
        rows.append(judged(subject.name, fits, train, test, runs))
    floor = climate_of(others[:, N_HISTORY:], test[:, N_HISTORY:])
    rows.append({"forecaster": "floor", **floor})
    facts = {"seeds": seeds, "baseline_seeds": baseline_seeds, "lstm_seconds": lstm_seconds}
    report(out, "roessler", rows, facts, drawn(runs))


def runs_from(x0: list[float], count: int) -> Array:
    """Simulate true runs (count, T, 3) that start along the run from x0."""
    starts = on_attractor(roessler, np.array(x0), DT, 2000, 137, count)
    return solved(roessler, starts, DT, N_HISTORY + HORIZON - 1)


def peers(lstm_seconds: float) -> list[Baseline]:
    return [ESN(), NGRC(), LSTM(lstm_seconds)]


def closeness(forecast: Array, truth: Array) -> float:
    return -float(np.mean(np.log10(1e-15 + np.abs(forecast - truth))))


def valid_times(forecast: Array, truth: Array, train: Array) -> Array:
    scale = train.std(axis=0)
    return valid_prediction_time(forecast, truth, scale=scale, dt=DT, lyapunov_exponent=EXPONENT)


def climate_of(generated: Array, true: Array) -> dict[str, float]:
    """Compare long runs (S, T, 3) without their first fourth."""
    skipped = true.shape[1] // 4
    run, truth = generated[:, skipped:], true[:, skipped:]
    moving = bool((run.std(axis=(0, 1)) > 0.0).all())
    return {
        "D_stsp": state_space_divergence(run.reshape(-1, 3), truth.reshape(-1, 3)),
        "D_H": spectrum_distance(run, truth) if moving else 1.0,
    }


def judged(
    name: str,
    fits: list[tuple[Model, float]],
    train: Array,
    test: Array,
    runs: dict[str, Array],
) -> dict[str, Any]:
    """Measure all fits of one forecaster; remembers a free run of the first."""
    history, truth = test[:, :N_HISTORY], test[:, N_HISTORY:]
    means, climates = [], []
    for model, _ in fits:
        free = model.forecast(history, HORIZON)
        means.append(float(valid_times(free[:, :VALID], truth[:, :VALID], train).mean()))
        climates.append(climate_of(free, truth))
        runs.setdefault(name, free[0])
    row = {
        "forecaster": name,
        "seeds": len(fits),
        "mean VPT": float(np.mean(means)),
        "worst seed": min(means),
    }
    for key in climates[0]:
        values = [climate[key] for climate in climates]
        row |= {key: float(np.mean(values)), f"worst {key}": float(np.max(values))}
    row["training, CPU s"] = float(np.mean([seconds for _, seconds in fits]))
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
