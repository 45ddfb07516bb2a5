"""Identification against peers: fits, predictions and their times, all measured in one run.

    pip install "koopman-control[peers]"    # or without, for this package alone
    python -m examples.benchmarks.identification

40,000 snapshots of each of three forced systems (`forced_systems.py`), 200 features, no tuning.
Every fit runs in a process of its own, on one thread. Errors are in standard deviations, over 100
windows of 50 steps that no fit has seen; a window counts as diverged beyond 1,000 deviations and
is left out of the mean of the others; "one step" is the first step of these windows. "Floor" is
the error of the best linear roll-out there can be, found by simulating the true system. Prints
Markdown tables, and writes all numbers as JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from examples.benchmarks.forced_systems import DIVERGED, HORIZON, linear_floor, problem
from examples.benchmarks.identification_subjects import (
    N_FEATURES,
    SEED,
    SUBJECTS,
    Subject,
    installed,
    suits,
)
from examples.benchmarks.memory import peak_memory
from koopman_control.common import write_text_atomically
from koopman_control.common.arrays import Array
from koopman_control.evaluation import package_versions

SYSTEMS = ("vdp", "duffing", "pendulum")
PEER_PACKAGES = ("pykoop", "deeptime")
NOISE = 0.02  # standard deviations of the states, on the training data
LONG = 1000  # steps


def main(
    systems: Annotated[list[str] | None, typer.Argument(help=f"{SYSTEMS}; all if none.")] = None,
    peers: Annotated[bool, typer.Option(help="Run the peers that are installed, too.")] = True,
    repeats: Annotated[int, typer.Option(min=1, help="Fits to take the median of.")] = 5,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("identification.json"),
) -> None:
    """Measure every subject on every system, without and with measurement noise."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes started below
    results: dict[str, Any] = {"versions": versions(), "seed": SEED, "floors": {}, "rows": []}
    print(f"versions {results['versions']}; feature seed {SEED}; data seeds 0, 1, 10000; noise 9")
    for system in systems or SYSTEMS:
        results["floors"][system] = floor = linear_floor(problem(system))
        print(f"\n{system}: floor of all linear roll-outs {floor:.3g}\n\n{HEAD}", flush=True)
        for name in SUBJECTS:
            if suits(name, system) and installed(name) and (peers or "EDMDc" in name):
                row = alone(measure, name, system, 0.0, repeats)
                row["noisy"] = alone(measure, name, system, NOISE, 1)["rollouts"]
                results["rows"].append(row)
                print("\n".join(lines(row)), flush=True)
    write_text_atomically(out, json.dumps(results, indent=1))


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function in a fresh process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def measure(name: str, system: str, noise: float, repeats: int) -> dict[str, Any]:
    """Fit one subject to one system and measure everything."""
    given = problem(system)
    if noise:
        given = given.noisy(noise)
    before, seconds = peak_memory(), []
    for _ in range(repeats):
        subject = SUBJECTS[name]()
        started = time.process_time()
        subject.fit(given)
        seconds.append(time.process_time() - started)
        if len(seconds) == 1:
            used = peak_memory() - before
    A = subject.matrix()
    return {
        "name": name,
        "system": system,
        "fit_s": float(np.median(seconds)),
        "fit_bound_s": products_bound(len(A), given.train[1].size),
        "peak_mib": used,
        "spectral_radius": float(np.abs(np.linalg.eigvals(A)).max()),
        "rollouts": {kind: predicted(subject, given, kind, A) for kind in subject.rollouts},
    }


def predicted(subject: Subject, given: Any, rollout: str, A: Array) -> dict[str, Any]:
    """Measure errors and times of one kind of roll-out."""
    windows = given.windows()
    rng = np.random.default_rng(5)
    plan = rng.uniform(-1.0, 1.0, (1, LONG, windows.U.shape[2]))
    with np.errstate(all="ignore"):
        X = subject.predict(windows.x0, windows.U, rollout)
        errors = X - windows.X
        diverged = ~np.isfinite(errors).all((1, 2)) | (np.abs(errors).max((1, 2)) > DIVERGED)
        kept = errors[~diverged]
        return {
            "one_step": rms(errors[:, 0]),
            "all_steps": rms(kept) if len(kept) else None,
            "diverged": int(diverged.sum()),
            "long_s": best_of(lambda: subject.predict(windows.x0[:1], plan, rollout)),
            "long_bound_s": steps_bound(A, 1, LONG, rollout),
            "batch_s": best_of(lambda: subject.predict(windows.x0, windows.U, rollout)),
            "batch_bound_s": steps_bound(A, len(windows.x0), HORIZON, rollout),
        }


def rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def best_of(function: Callable[[], Any], n: int = 5) -> float:
    """Return CPU seconds of the fastest of several calls; slow ones are called but once."""
    seconds: list[float] = []
    while len(seconds) < n and sum(seconds) < 0.5:
        started = time.process_time()
        function()
        seconds.append(time.process_time() - started)
    return min(seconds)


def products_bound(n: int, n_samples: int) -> float:
    """CPU seconds of the two matrix products that no fit of n lifted states can do without."""
    rng = np.random.default_rng(0)
    Phi, Y = rng.standard_normal((2, n_samples, n))
    return best_of(lambda: (Phi.T @ Phi, Phi.T @ Y), 3)


def steps_bound(A: Array, n_sequences: int, horizon: int, rollout: str) -> float:
    """CPU seconds of the products (and hidden layers) of stepping sequences one by one."""
    n = len(A)
    Z = np.random.default_rng(0).standard_normal((n_sequences, n))
    if rollout == "relifted":  # the hidden layer of 200 neurons and its read-out
        W, H = np.ones((3, N_FEATURES)), np.empty((n_sequences, N_FEATURES))
        E, V = np.ones((n_sequences, 3)), np.ones((N_FEATURES, 3))
        return best_of(lambda: [np.tanh(np.matmul(E, W, out=H), out=H) @ V for _ in range(horizon)])
    matrix = np.ascontiguousarray(A.T) if rollout == "linear" else np.hstack([A.T, A.T])
    product = np.empty((n_sequences, matrix.shape[1]))
    return best_of(lambda: [np.matmul(Z, matrix, out=product) for _ in range(horizon)])


def versions() -> dict[str, str]:
    """Versions of everything that takes part."""
    found = dict(package_versions())
    for package in PEER_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


COLUMNS = (
    "subject",
    "roll-out",
    "fit, CPU s (x products)",
    "peak, MiB",
    "one step",
    "50 steps",
    "diverged",
    "radius",
    "2 % noise: 50 steps (diverged)",
    "1000 steps, ms (x bound)",
    "100 x 50, ms (x bound)",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def lines(row: dict[str, Any]) -> list[str]:
    """Write the Markdown rows of one subject, one for each roll-out."""
    return [
        f"| {row['name']} | {kind} "
        f"| {row['fit_s']:.2f} ({row['fit_s'] / row['fit_bound_s']:.1f}) | {row['peak_mib']:.0f} "
        f"| {r['one_step']:.2g} | {shown(r['all_steps'])} | {r['diverged']} "
        f"| {row['spectral_radius']:.4f} "
        f"| {shown(row['noisy'][kind]['all_steps'])} ({row['noisy'][kind]['diverged']}) "
        f"| {1e3 * r['long_s']:.1f} ({r['long_s'] / r['long_bound_s']:.1f}) "
        f"| {1e3 * r['batch_s']:.1f} ({r['batch_s'] / r['batch_bound_s']:.1f}) |"
        for kind, r in row["rollouts"].items()
    ]


def shown(error: float | None) -> str:
    return "none left" if error is None else f"{error:.3g}"


if __name__ == "__main__":
    typer.run(main)
