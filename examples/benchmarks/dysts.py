"""Chaotic systems of the package dysts: how long forecasts stay valid, beside ESN and NG-RC.

    pip install "koopman-control[paper]"
    python -m examples.benchmarks.dysts --out dysts.json

dysts (Gilpin, NeurIPS 2021) ships equations, no series: each system is integrated by its own
`make_trajectory` from its own initial condition, 12 points to a characteristic time (LSODA,
tolerance 1e-8). Of 2,400 points the first 1,200 train, clean or with white noise of 1 % of every
deviation; ten forecasts of ten characteristic times start in the rest, from 60 exact points each.
Ours is a sampled RNN of 300 neurons, with `noise="smooth"` where there is noise; it, the echo state
network and NG-RC are tuned alike on the last fifth of the training series as it was given. A
forecast is valid while its error is below 0.4 deviations (root mean square over the outputs), in
Lyapunov times by the exponent that dysts lists. sMAPE is 200 |error| / (|forecast| + |truth|) over
the first two characteristic times, as dysts has it. Systems come in an order drawn once, so that a
run that is stopped has judged a fair sample; every system is written to the file when it is done,
and a second run goes on. Results are medians over systems.
"""

from __future__ import annotations

import json
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from examples.paper.common.forecasters import Baseline, Settings, trials, windows_of
from examples.paper.common.nextgen import NGRC
from examples.paper.common.reservoir import ESN
from examples.paper.common.sampled import Sampled
from koopman_control.common import Array, optional_package, write_text_atomically
from koopman_control.evaluation import metrics_json, package_versions, valid_prediction_time

PER_PERIOD, TRAIN, WINDOWS, HORIZON, KNOWN = 12, 1_200, 10, 120, 60
NEAR = 2 * PER_PERIOD  # points that sMAPE is about
NOISES, THRESHOLD, LARGEST = (0.0, 0.01), 0.4, 20  # of outputs: NG-RC has too many monomials beyond
CLEAN: list[Settings] = [
    {"steepness": s, "memory": m, "n_recurrent": m} for s in (0.3, 1.0) for m in (0, 30)
]
NOISY: list[Settings] = [  # the smoother knows no recurrent features
    {"steepness": s, "memory": m, "noise": "smooth"} for s in (0.3, 1.0) for m in (0, 3)
]


def main(
    out: Annotated[Path, typer.Option(help="File of results; what it holds is kept.")] = Path(
        "dysts.json"
    ),
    seconds: Annotated[float, typer.Option(help="Time after which no system begins.")] = 1e9,
    seed: Annotated[int, typer.Option(help="Of features, reservoirs and noise.")] = 0,
) -> None:
    """Integrate, fit, forecast, and print a table of medians."""
    warnings.simplefilter("ignore")
    systems, flows = (optional_package(f"dysts.{part}", "paper") for part in ("systems", "flows"))
    names = list(systems.get_attractor_list())
    order = np.random.default_rng(0).permutation(len(names))
    rows: list[dict[str, Any]] = []
    if out.is_file():
        rows = json.loads(out.read_text("utf-8"))["rows"]
    done, begun = {row["system"] for row in rows}, time.perf_counter()
    versions = package_versions() | {name: version(name) for name in ("dysts", "reservoirpy")}
    print(f"versions {versions}; seed {seed}")
    for name in (names[i] for i in order):
        if name in done:
            continue
        if time.perf_counter() - begun > seconds:
            break
        rows += judged(name, getattr(flows, name)(), seed)
        text = metrics_json({"versions": versions, "seed": seed, "rows": rows})
        write_text_atomically(out, text)
    table(rows, len(names))


def judged(name: str, system: Any, seed: int) -> list[dict[str, Any]]:
    """Return a row for each noise and forecaster; one that says why, if there is no series."""
    try:
        times, series = system.make_trajectory(
            TRAIN + WINDOWS * HORIZON, pts_per_period=PER_PERIOD, return_times=True,
            method="LSODA", rtol=1e-8, atol=1e-8,
        )  # fmt: skip
    except Exception as error:
        return [{"system": name, "left_out": f"does not integrate: {error!r:.80}"}]
    exponent = system.maximum_lyapunov_estimated
    if series is None or np.shape(series)[0] < TRAIN + WINDOWS * HORIZON:
        return [{"system": name, "left_out": "does not integrate"}]
    series = np.asarray(series, dtype=np.float64)
    scale = series[:TRAIN].std(axis=0)
    if not np.isfinite(series).all() or not (scale > 0.0).all():
        return [{"system": name, "left_out": "does not stay finite, or rests"}]
    if series.shape[1] > LARGEST:
        return [{"system": name, "left_out": f"{series.shape[1]} outputs"}]
    if exponent is None or not exponent > 0.0:
        return [{"system": name, "left_out": "no Lyapunov exponent listed"}]
    unit = float(times[1] - times[0]) * float(exponent)
    windows = windows_of(series[TRAIN - KNOWN :], KNOWN, HORIZON, WINDOWS)
    found = []
    for noise in NOISES:
        rng = np.random.default_rng(seed)
        train = series[:TRAIN] + noise * scale * rng.standard_normal((TRAIN, series.shape[1]))
        ours = Sampled(300, NOISY if noise else CLEAN)
        subjects: dict[str, Baseline] = {"ours": ours, "ESN": ESN(300), "NG-RC": NGRC()}
        for kind, subject in subjects.items():
            row = {"system": name, "noise": noise, "forecaster": kind}
            begun = time.process_time()
            try:
                ahead = forecast(subject, train, windows[:, :KNOWN], scale, seed)
            except (ValueError, MemoryError, np.linalg.LinAlgError) as error:
                row["failed"] = f"{error!r:.80}"
                ahead = np.full(windows[:, KNOWN:].shape, np.nan)
            row |= scores(ahead, windows[:, KNOWN:], scale, unit)
            row["cpu_seconds"] = round(time.process_time() - begun, 2)
            print(row, flush=True)
            found.append(row)
    return found


def forecast(subject: Baseline, train: Array, history: Array, scale: Array, seed: int) -> Array:
    """Tune on the last fifth, fit to all, and forecast."""
    split = 4 * TRAIN // 5
    validation = windows_of(train[split:], KNOWN, HORIZON // 2, 15)

    def score(ahead: Array, truth: Array) -> float:
        times = valid_prediction_time(ahead, truth, scale=scale, threshold=THRESHOLD)
        return float(times.mean())

    tried = trials(subject, [(train[:split], validation)], KNOWN, score)
    settings = max(tried, key=lambda pair: pair[1][0])[0]
    return subject.fit(train, settings, seed).forecast(history, HORIZON)


def scores(ahead: Array, truth: Array, scale: Array, unit: float) -> dict[str, float]:
    """Return the median valid time, in Lyapunov times, and the mean sMAPE of near points."""
    valid = valid_prediction_time(
        ahead, truth, scale=scale, dt=unit, lyapunov_exponent=1.0, threshold=THRESHOLD
    )
    near, exact = ahead[:, :NEAR], truth[:, :NEAR]
    size = np.abs(near) + np.abs(exact)
    smape = 200.0 * np.abs(near - exact) / np.where(size > 0.0, size, 1.0)
    smape = np.where(np.isfinite(smape), smape, 200.0)
    return {"vpt": float(np.median(valid)), "smape": float(smape.mean())}


def table(rows: list[dict[str, Any]], n_systems: int) -> None:
    """Print medians over systems, and how often each is ahead."""
    scored = [row for row in rows if "forecaster" in row]
    systems = sorted({row["system"] for row in scored})
    left_out = sorted((row["system"], row["left_out"]) for row in rows if "left_out" in row)
    print(f"\n{len(systems)} systems scored of {n_systems}; left out: {left_out}")
    print("| noise | forecaster | median valid Lyapunov times | median sMAPE | longest valid |")
    print("|---|---|---|---|---|")
    for noise in NOISES:
        by_kind: dict[str, dict[str, dict[str, Any]]] = {}
        for row in scored:
            if row["noise"] == noise:
                by_kind.setdefault(row["forecaster"], {})[row["system"]] = row
        best = {s: max(each[s]["vpt"] for each in by_kind.values()) for s in systems}
        for kind, each in by_kind.items():
            ahead = np.mean([each[s]["vpt"] >= best[s] for s in systems])
            vpt, smape = (np.median([each[s][key] for s in systems]) for key in ("vpt", "smape"))
            print(f"| {noise:.0%} | {kind} | {vpt:.2f} | {smape:.1f} | {ahead:.0%} of systems |")


if __name__ == "__main__":
    typer.run(main)
