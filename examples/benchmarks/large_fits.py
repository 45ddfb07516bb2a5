"""Fits to more data than most memories hold: time against the bare matrix products, and memory.

    python -m examples.benchmarks.large_fits                        # 10^6 snapshots in memory
    python -m examples.benchmarks.large_fits --snapshots 10000000 --from-disk

A forced Van der Pol oscillator and 500 features. The bound is what no fit can do without: forming
Phi' Phi and Phi' Y for as many rows, with as many threads, on numbers that are already there. With
`--from-disk` the trajectories lie in files and `partial_fit` reads them one after the other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from examples.benchmarks.forced_systems import DT, RATES, random_runs
from examples.benchmarks.memory import peak_memory
from koopman_control import EDMDc, SampledFeatures, Trajectory, load_trajectories, save_trajectories
from koopman_control.evaluation import package_versions

N_STEPS = 200  # of each trajectory
PER_FILE = 500  # trajectories: 100,000 snapshots
CHUNK = 10_000  # rows of the bare products


def main(
    snapshots: Annotated[int, typer.Option(min=100_000, help="Snapshot pairs.")] = 1_000_000,
    features: Annotated[int, typer.Option(min=1)] = 500,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    from_disk: Annotated[bool, typer.Option(help="Read the data from files as they come.")] = False,
    choose: Annotated[bool, typer.Option(help="Choose the regularisation, too.")] = False,
) -> None:
    """Time one fit and print it beside the bound."""
    estimator = EDMDc(SampledFeatures(features, random_state=0))
    if not choose:
        estimator.set_params(regularization=1e-10, n_folds=0)
    n_files = snapshots // (N_STEPS * PER_FILE)
    print(f"{snapshots:,} snapshots x {features} features, {threads} threads; seeds 0, 1, ...")
    print(f"versions {package_versions()}")
    with threadpool_limits(threads), tempfile.TemporaryDirectory() as folder:
        bound = products(snapshots, features + 4, features + 3)
        if from_disk:
            paths = [written(Path(folder) / f"{i}.npz", i) for i in range(n_files)]
            before, started, used = peak_memory(), time.perf_counter(), time.process_time()
            estimator.partial_fit(read(paths))
        else:
            data = [run for i in range(n_files) for run in generated(i)]
            before, started, used = peak_memory(), time.perf_counter(), time.process_time()
            estimator.fit(data)
        wall, cpu = time.perf_counter() - started, time.process_time() - used
    model = estimator.model_
    print(f"fit {wall:.1f} s ({cpu:.1f} CPU s), {wall / bound[0]:.2f} ({cpu / bound[1]:.2f}) x")
    print(f"bare products {bound[0]:.1f} s ({bound[1]:.1f} CPU s)")
    print(f"peak memory {peak_memory() - before:.0f} MiB above the {before:.0f} MiB before the fit")
    print(f"condition number {model.summary['condition_number']:.2g}")


def generated(seed: int) -> list[Trajectory]:
    """Simulate one file's worth of trajectories."""
    X, U = random_runs(RATES["vdp"], PER_FILE, np.random.default_rng(seed))
    return [Trajectory(x, u, dt=DT) for x, u in zip(X, U, strict=True)]


def written(path: Path, seed: int) -> Path:
    save_trajectories(path, generated(seed))
    return path


def read(paths: list[Path]) -> Iterator[Trajectory]:
    for path in paths:
        yield from load_trajectories(path)


def products(n_rows: int, n_regressors: int, n_targets: int) -> tuple[float, float]:
    """Seconds and CPU seconds of Phi' Phi and Phi' Y."""
    rng = np.random.default_rng(0)
    Phi = rng.standard_normal((CHUNK, n_regressors))
    Y = rng.standard_normal((CHUNK, n_targets))
    Phi.T @ Phi, Phi.T @ Y  # a first call is slower
    started, used = time.perf_counter(), time.process_time()
    for _ in range(n_rows // CHUNK):
        Phi.T @ Phi, Phi.T @ Y
    return time.perf_counter() - started, time.process_time() - used


if __name__ == "__main__":
    typer.run(main)
