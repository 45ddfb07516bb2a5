"""Van der Pol's oscillator without input, fully and partially observed, beside tuned baselines.

    pip install "koopman-control[paper]"
    python -m examples.paper.van_der_pol

One training run of 3,000 points from near the origin (mu = 1, dt = 0.1, DOP853 at tolerance 1e-10);
mean squared error of 50 forecasts of 500 steps (about 7 periods) from points of another run, after
100 observed points, in units of the variances. "position" shows the first state only. All are tuned
on the last fifth of the training run.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer

from examples.paper.common.forecasters import Baseline, Settings, tuned_fits
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
from examples.paper.common.sampled import Sampled
from examples.paper.common.systems import on_attractor, solved, van_der_pol
from koopman_control.common import Array
from koopman_control.evaluation import mean_squared_error

DT, N_HISTORY, HORIZON, N_STARTS = 0.1, 100, 500, 50
N_TRAIN, TUNING_HORIZON = 3_000, 200
# Exact data need no cross-validation: the regularisation is tuned like everything else.
FULL: list[Settings] = [
    {"steepness": steepness, "regularization": ridge, "n_folds": 0}
    for steepness, ridge in product((0.1, 0.2, 0.4, 0.8), (0.0, 1e-18, 1e-14))
]
PARTIAL: list[Settings] = [{**settings, "memory": m} for settings in FULL for m in (1, 2, 4)]


def main(
    seeds: FeatureSeeds = 10,
    baseline_seeds: BaselineSeeds = 2,
    lstm_seconds: LstmSeconds = 60.0,
    quick: Annotated[bool, typer.Option(help="Two seeds, short trainings.")] = False,
    baselines: Baselines = True,
    out: Out = OUT,
) -> None:
    """Fit, forecast and compare."""
    if quick:
        seeds, baseline_seeds, lstm_seconds = min(seeds, 2), 1, min(lstm_seconds, 2.0)
    print(f"versions {versions()}; {seeds} feature seeds, {baseline_seeds} baseline seeds")
    train = solved(van_der_pol, np.array([[0.1, 0.0]]), DT, N_TRAIN - 1)[0]
    starts = on_attractor(van_der_pol, np.array([-1.0, 2.0]), DT, 507, 11, N_STARTS)
    test = solved(van_der_pol, starts, DT, N_HISTORY + HORIZON - 1)
    rows: list[dict[str, Any]] = []
    errors: dict[str, Array] = {}
    for seen, p, grid in (("both states", 2, FULL), ("position", 1, PARTIAL)):
        ours = Sampled(200, grid)
        peers: list[Baseline] = [ESN(200), LSTM(lstm_seconds)] if baselines else []
        for subject in [ours, *peers]:
            n_seeds = seeds if subject is ours else baseline_seeds
            found = judged(subject, train[:, :p], test[..., :p], n_seeds)
            errors[f"{subject.name}, {seen}"] = found.pop("by step")
            rows.append({"seen": seen, **found})
            print(rows[-1], flush=True)
    facts = {"seeds": seeds, "baseline_seeds": baseline_seeds, "lstm_seconds": lstm_seconds}
    report(out, "van_der_pol", rows, facts, drawn(errors))


def judged(subject: Baseline, train: Array, test: Array, seeds: int) -> dict[str, Any]:
    """Tune on the last fifth, fit to all of the run, and measure."""
    scale = train.std(axis=0)

    def score(forecast: Array, truth: Array) -> float:
        return -mean_squared_error(forecast, truth, scale)

    fits = tuned_fits(subject, train, N_HISTORY, TUNING_HORIZON, score, seeds, n_windows=20)
    history, truth = test[:, :N_HISTORY], test[:, N_HISTORY:]
    squares = [((model.forecast(history, HORIZON) - truth) / scale) ** 2 for model, _ in fits]
    means = [float(square.mean()) for square in squares]
    return {
        "forecaster": subject.name,
        "seeds": len(fits),
        "MSE": float(np.mean(means)),
        "worst seed": max(means),
        "training, CPU s": float(np.mean([seconds for _, seconds in fits])),
        "by step": np.mean([square.mean(axis=(0, 2)) for square in squares], axis=0),
    }


def drawn(errors: dict[str, Array]) -> Any:
    """Draw the error over time."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    times = DT * np.arange(1, HORIZON + 1)
    for i, (name, squares) in enumerate(errors.items()):
        style = "--" if name.endswith("position") else "-"
        axes.semilogy(times, np.sqrt(squares), style, color=COLORS[i % 3], label=name)
    axes.set(xlabel="time", ylabel="root-mean-square error, deviations")
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    typer.run(main)
