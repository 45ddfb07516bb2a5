"""The forced Van der Pol oscillator by the protocol of Korda & Mezić (Automatica 2018, table 1).

    python -m examples.paper.forced_van_der_pol

200,000 samples under random inputs, in both layouts that text and published code give; prediction
over 3 s from 100 first states under a square wave of period 0.3 s. Both roll-outs are printed: the
linear one (lifted once) and the re-lifted one (lifted at every step). Published: 24.4 % (linear,
n = 102). "Floor" is the best that any linear roll-out can do, found by simulating the true plant.

"foresight" lifts to the state and 49 later ones, as a sampled model forecasts them without input;
n counts all lifted states with the constant.
"""

from __future__ import annotations

from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer

from examples.paper.common.forecasters import timed
from examples.paper.common.korda import (
    DT,
    foresight,
    lift_once_floor,
    linear_rollout,
    linearised,
    percent,
    random_runs,
    simulated,
    trajectories,
    van_der_pol,
)
from examples.paper.common.options import OUT, Baselines, DataSeeds, Out
from examples.paper.common.results import COLORS, report, versions
from koopman_control import EDMDc, LiftedModel, SampledFeatures, Trajectory
from koopman_control.common import Array
from koopman_control.features import FeatureMap, RadialFeatures
from koopman_control.identification import Corrections

N_TEST, N_STEPS, HALF_PERIOD = 100, 300, 15
N_FEATURES, RIDGE = 99, 1e-10
N_LAGS, STRIDE = 49, 6
FORESEEN, FORESEEN_STEPS = 100, 200  # runs and steps that the foresight is regressed on
LAYOUTS = ((1000, 200), (200, 1000))


def main(
    seeds: DataSeeds = 10,
    quick: Annotated[bool, typer.Option(help="A tenth of the data, two seeds.")] = False,
    baselines: Baselines = True,
    out: Out = OUT,
) -> None:
    """Fit, predict and compare."""
    seeds = min(seeds, 2) if quick else seeds
    print(f"versions {versions()}; seeds 0 ... {seeds - 1} of data and features")
    x0 = np.random.default_rng(99).uniform(-1.0, 1.0, (N_TEST, 2))
    U = np.tile((-1.0) ** (np.arange(N_STEPS) // HALF_PERIOD), (N_TEST, 1))
    true = simulated(van_der_pol, x0, U)[:, 1:]
    rows, shown = [], {"true": true[0]}
    for n_runs, n_steps in LAYOUTS:
        fits: dict[str, list[tuple[LiftedModel, float]]] = {}
        for seed in range(seeds):
            X, inputs = random_runs(van_der_pol, n_runs // (10 if quick else 1), n_steps, seed)
            for name, fit in models(trajectories(X, inputs), seed, baselines).items():
                fits.setdefault(name, []).append(fit)
        for name, found in fits.items():
            rows += judged(f"{name}, {n_runs} x {n_steps}", found, x0, U, true, shown)
    if baselines:
        rows += references(x0, U, true)
    report(out, "forced_van_der_pol", rows, {"seeds": seeds}, drawn(shown))


def models(
    data: list[Trajectory], seed: int, baselines: bool
) -> dict[str, tuple[LiftedModel, float]]:
    """Fit all kinds of models to one data set, with their CPU seconds."""
    sampled, seconds = timed(lambda: fitted(SampledFeatures(N_FEATURES, random_state=seed), data))
    short = [
        Trajectory(run.observations[: FORESEEN_STEPS + 1], run.actions[:FORESEEN_STEPS], dt=DT)
        for run in data[:FORESEEN]
    ]
    ahead, more = timed(lambda: fitted(foresight(sampled, N_LAGS, STRIDE, 2), short))
    found = {"sampled": (sampled, seconds), "foresight": (ahead, seconds + more)}
    if baselines:
        radial = RadialFeatures(N_FEATURES, random_state=seed)
        found["thin plates"] = timed(lambda: fitted(radial, data))
    return found


def fitted(features: FeatureMap, data: list[Trajectory]) -> LiftedModel:
    free = Corrections(stability=None)
    settings: Any = {"rollout": "linear", "regularization": RIDGE, "n_folds": 0}
    return EDMDc(features, corrections=free, **settings).fit(data).model_


def judged(
    name: str,
    fits: list[tuple[LiftedModel, float]],
    x0: Array,
    U: Array,
    true: Array,
    shown: dict[str, Array],
) -> list[dict[str, Any]]:
    """Measure both roll-outs of all fits of one kind."""
    rows = []
    for rollout in ("linear", "relifted"):
        if rollout == "relifted" and name.startswith("foresight"):
            continue  # its lift already is a roll-out of the sampled model
        with np.errstate(all="ignore"):  # what diverges is counted as infinite
            predicted = [
                model.predict(x0, U[..., None], rollout)[:, -N_STEPS:] for model, _ in fits
            ]
        means = [float(percent(x, true).mean()) for x in predicted]
        shown.setdefault(f"{name.split(',')[0]}, {rollout}", predicted[0][0])
        rows.append(
            {
                "model": name,
                "n": fits[0][0].n_lifted,
                "roll-out": rollout,
                "mean error, %": float(np.mean(means)),
                "best ... worst seed": f"{min(means):.3g} ... {max(means):.3g}",
                "fit, CPU s": float(np.mean([seconds for _, seconds in fits])),
            }
        )
        print(rows[-1], flush=True)
    return rows


def references(x0: Array, U: Array, true: Array) -> list[dict[str, Any]]:
    """Measure local linearisations and the floor of all linear roll-outs."""
    origin = np.zeros_like(x0)
    predictions = {
        "linearised at x0": linear_rollout(linearised(van_der_pol, x0), x0, U),
        "linearised at 0": linear_rollout(linearised(van_der_pol, origin), x0, U),
        "floor of linear roll-outs": lift_once_floor(van_der_pol, x0, U),
    }
    rows = []
    for name, predicted in predictions.items():
        errors = percent(predicted, true)
        facts = {"mean error, %": float(errors.mean()), "best ... worst seed": "", "fit, CPU s": ""}
        rows.append({"model": name, "n": "", "roll-out": "linear", **facts})
    return rows


def drawn(shown: dict[str, Array]) -> Any:
    """Draw x2 of the first test run."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    times = DT * np.arange(1, N_STEPS + 1)
    axes.plot(times, shown["true"][:, 1], color="0.7", lw=5, label="true")
    kept = [name for name in shown if name != "true" and np.isfinite(shown[name]).all()]
    for color, name in zip(COLORS, kept, strict=False):
        style = "--" if name.endswith("relifted") else "-"
        axes.plot(times, shown[name][:, 1], style, color=color, lw=1.2, label=name)
    low, high = shown["true"][:, 1].min(), shown["true"][:, 1].max()
    axes.set(xlabel="time, s", ylabel="second state", ylim=(1.6 * low, 1.6 * high))
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    typer.run(main)
