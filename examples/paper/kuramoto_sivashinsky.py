"""The Kuramoto–Sivashinsky equation on 64 points: how long forecasts stay valid.

    pip install "koopman-control[paper]"
    python -m examples.paper.kuramoto_sivashinsky

u_t = -u u_x - u_xx - u_xxxx on a ring of length 22 (Kassam & Trefethen's integrator, dt = 0.25);
20,000 training points of one run, 100 starts from another one. A forecast is valid while
mean_i (error_i / sigma_i)^2 <= 0.5^2; times are in Lyapunov times 1 / 0.043. The sampled layer
is shared by all points and sees their neighbourhoods; an echo state network sees the whole ring.
Width counts neurons that are drawn; the shared ones are evaluated at all 64 points, hence the wider
network beside the one of equal width. All are tuned on the last fifth of the training run.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer

from examples.paper.common.forecasters import Baseline, Model, Score, tuned_fits
from examples.paper.common.local import LocalSampled
from examples.paper.common.options import OUT, Baselines, BaselineSeeds, FeatureSeeds, Out
from examples.paper.common.reservoir import ESN
from examples.paper.common.results import report, versions
from examples.paper.common.waves import kuramoto_sivashinsky
from koopman_control.common import Array
from koopman_control.evaluation import valid_prediction_time

LENGTH, POINTS, DT, EXPONENT, THRESHOLD = 22.0, 64, 0.25, 0.043, 0.5
N_HISTORY, HORIZON, TUNING_HORIZON, SETTLE, EVERY = 200, 1800, 1200, 2000, 300
GRID = [
    {"reach": reach, "steepness": steepness, "waves": waves, "cut": cut}
    for reach, steepness, waves, cut in product((5, 8), (0.1, 0.3), (16, 20), (1e-12, 1e-9))
]
RIDGES = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)  # of the echo state networks


def main(
    seeds: FeatureSeeds = 10,
    baseline_seeds: BaselineSeeds = 2,
    width: Annotated[int, typer.Option(help="Neurons that are drawn.")] = 250,
    wide: Annotated[int, typer.Option(help="Neurons of the wider echo state network.")] = 1000,
    quick: Annotated[bool, typer.Option(help="A tenth of the data, two seeds.")] = False,
    baselines: Baselines = True,
    out: Out = OUT,
) -> None:
    """Fit, forecast and compare."""
    n_train, n_starts = (4_000, 10) if quick else (20_000, 100)
    if quick:
        seeds, baseline_seeds, width, wide = min(seeds, 2), 1, min(width, 50), min(wide, 100)
    print(f"versions {versions()}; {seeds} feature seeds, {baseline_seeds} baseline seeds")
    train, test = data(n_train, n_starts)
    scale = train.std(axis=0)
    ours = LocalSampled(width, GRID[:2] if quick else GRID)
    peers: list[Baseline] = [
        ESN(n, (0.1, 0.5), (0.1, 0.3), RIDGES) for n in ((width, wide) if baselines else ())
    ]
    rows: list[dict[str, Any]] = []
    shown: dict[str, Array] = {"true": test[0, N_HISTORY:]}
    for subject in [ours, *peers]:
        n_seeds, score = seeds if subject is ours else baseline_seeds, mean_time(scale)
        fits = tuned_fits(subject, train, N_HISTORY, TUNING_HORIZON, score, n_seeds, n_windows=10)
        rows.append(judged(subject.name, fits, test, scale, shown))
    facts = {"seeds": seeds, "baseline_seeds": baseline_seeds, "width": width}
    report(out, "kuramoto_sivashinsky", rows, facts, drawn(shown))


def data(n_train: int, n_starts: int) -> tuple[Array, Array]:
    """Return training heights (T, 64) and test windows (S, N_HISTORY + HORIZON, 64)."""
    phase = 2.0 * np.pi * np.arange(POINTS) / POINTS
    first = np.stack([np.cos(phase) + np.sin(2.0 * phase), np.sin(phase) - np.cos(3.0 * phase)])
    train = kuramoto_sivashinsky(first[:1], LENGTH, DT, SETTLE + n_train - 1)[0, SETTLE:]
    other = kuramoto_sivashinsky(first[1:], LENGTH, DT, SETTLE + EVERY * (n_starts - 1))[0]
    starts = other[SETTLE::EVERY]
    return train, kuramoto_sivashinsky(starts, LENGTH, DT, N_HISTORY + HORIZON - 1)


def mean_time(scale: Array) -> Score:
    return lambda forecast, truth: float(valid_times(forecast, truth, scale).mean())


def valid_times(forecast: Array, truth: Array, scale: Array) -> Array:
    return valid_prediction_time(
        forecast, truth, scale=scale, dt=DT, lyapunov_exponent=EXPONENT, threshold=THRESHOLD
    )


def judged(
    name: str,
    fits: list[tuple[Model, float]],
    test: Array,
    scale: Array,
    shown: dict[str, Array],
) -> dict[str, Any]:
    """Measure all fits of one forecaster; remembers a forecast of the first."""
    history, truth = test[:, :N_HISTORY], test[:, N_HISTORY:]
    means = []
    for model, _ in fits:
        forecast = model.forecast(history, HORIZON)
        means.append(float(valid_times(forecast, truth, scale).mean()))
        shown.setdefault(name, forecast[0])
    row = {
        "forecaster": name,
        "seeds": len(fits),
        "mean VPT": float(np.mean(means)),
        "worst seed": min(means),
        "training, CPU s": float(np.mean([seconds for _, seconds in fits])),
    }
    print(row, flush=True)
    return row


def drawn(shown: dict[str, Array]) -> Any:
    """Draw the true heights over time and ring, and every forecast's error."""
    figure, panels = plt.subplots(
        len(shown), 1, figsize=(6.4, 1.3 * len(shown)), sharex=True, squeeze=False
    )
    end = HORIZON * DT * EXPONENT
    for axes, (name, heights) in zip(panels[:, 0], shown.items(), strict=True):
        values = heights if name == "true" else heights - shown["true"]
        axes.imshow(
            values.T, aspect="auto", cmap="RdBu_r", vmin=-3.0, vmax=3.0, extent=(0, end, LENGTH, 0)
        )
        axes.set_title("true heights" if name == "true" else f"error of {name}", fontsize=8)
        axes.set(yticks=[])
    panels[-1, 0].set_xlabel("Lyapunov times")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    typer.run(main)
