"""The measurements of `scale`, each for a process of its own."""

from __future__ import annotations

import copy
import os
import pickle
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from pyarrow import parquet
from scipy.linalg import blas
from threadpoolctl import threadpool_limits

from examples.benchmarks.forced_systems import DT, N_STEPS, RATES, random_runs
from examples.benchmarks.memory import peak_memory
from koopman_control import EDMDc, SampledFeatures, open_store
from koopman_control.common import optional_package
from koopman_control.identification import Accumulator, RFactor
from koopman_control.identification.least_squares import whitening
from koopman_control.identification.shards import ShardSums
from koopman_control.identification.workers import Tree
from koopman_control.trajectories import TrajectoryStore

PER_FILE = 500  # runs of 200 steps: 100,000 snapshot pairs
PAIRS = N_STEPS * PER_FILE
GIVEN: dict[str, Any] = {"regularization": 1e-10, "n_folds": 0}


def stored(folder: Path, samples: int) -> TrajectoryStore:
    """Write files that are not there yet, and open as many as asked for."""
    n_files = -(-samples // PAIRS)
    for seed in range(n_files):
        path = folder / "data" / f"{seed}.parquet"
        if path.exists():
            continue
        path.parent.mkdir(exist_ok=True)
        X, U = random_runs(RATES["vdp"], PER_FILE, np.random.default_rng(seed))
        last = np.zeros((PER_FILE, 1, 1))
        run = np.repeat(np.arange(PER_FILE), N_STEPS + 1)
        columns = {"x": X[:, :, 0], "v": X[:, :, 1], "u": np.concatenate([U, last], axis=1)}
        table = {name: values.reshape(-1) for name, values in columns.items()} | {"run": run}
        part = path.with_suffix(".part")
        parquet.write_table(pyarrow.table(table), part)
        part.rename(path)
    return open_store(folder / "data", ["x", "v"], ["u"], run="run", dt=DT)[:n_files]


def clock(_: int) -> tuple[int, float]:
    """Process and its CPU seconds; slow enough for every worker to get a turn."""
    time.sleep(0.1)
    return os.getpid(), time.process_time()


def clocks(workers: int) -> dict[int, float]:
    """CPU seconds so far of every worker, which are started if there are none."""
    if workers < 2:
        return {}
    return dict(
        Parallel(n_jobs=workers, batch_size=1, max_nbytes=None)(delayed(clock)(i) for i in range(8))
    )


def fit(folder: Path, samples: int, n_features: int, workers: int) -> dict[str, Any]:
    """Fit from Parquet files; no workers: here, with given regularisation, for the growth."""
    store = stored(folder, samples)
    if samples < PAIRS:  # part of the only file
        kept = [run for run in store[0]()][: samples // N_STEPS]
        shards: Any = [kept]
    else:
        shards = store
    estimator = EDMDc(SampledFeatures(n_features, random_state=0), **({} if workers else GIVEN))
    with threadpool_limits(1):
        before = bare(20_000, n_features)
        there = clocks(workers)
        base, own, started = peak_memory(), time.process_time(), time.perf_counter()
        estimator.fit_shards(shards, workers=max(1, workers))
        wall, spent = time.perf_counter() - started, time.process_time() - own
        theirs = [then - there.get(pid, 0.0) for pid, then in clocks(workers).items()]
        get_reusable_executor().shutdown(wait=True)
        after = bare(20_000, n_features)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    products, triangular = ((one + two) / 2.0 for one, two in zip(before, after, strict=True))
    model = estimator.model_
    return {
        "wall": wall,
        "driver": spent,
        "workers": theirs,
        "base": base,
        "driver_mib": peak_memory() - base,
        "worker_mib": children.ru_maxrss / 1024.0 if workers > 1 else 0.0,
        "products": products * samples,
        "triangular": triangular * samples,
        "checksum": float(np.abs(model.A).sum()),
        "regularization": model.summary["regularization"],
    }


def bare(n_rows: int, n_features: int) -> tuple[float, float]:
    """CPU seconds a row of Phi' Phi and Phi' Y, and of one triangular product."""
    k, q, chunk = n_features + 4, n_features + 3, 2_000
    rng = np.random.default_rng(0)
    Phi, Y = rng.standard_normal((chunk, k)), rng.standard_normal((chunk, q))
    R, turned = np.asfortranarray(np.triu(rng.standard_normal((k, k)))), Phi.copy(order="F")
    times = []
    for work in (
        lambda: (Phi.T @ Phi, Phi.T @ Y),
        lambda: blas.dtrmm(1.0, R, turned, side=1),
    ):
        work()  # a first call is slower
        started = time.process_time()
        for _ in range(n_rows // chunk):
            work()
        times.append((time.process_time() - started) / (n_rows // chunk * chunk))
    return times[0], times[1]


def products(folder: Path, n_features: int, n_rows: int) -> dict[str, Any]:
    """Sums of rows with many features, and solving for them, by themselves."""
    kept = stored(folder, PAIRS * 2)
    data = [run for reader in kept for run in reader()][: -(-n_rows // N_STEPS)]
    pilot = EDMDc(SampledFeatures(n_features, random_state=0), **GIVEN)
    with threadpool_limits(1):
        started = time.process_time()
        pilot.fit(data)
        whole = time.process_time() - started
        started = time.process_time()
        pilot.sums(data)
        sums = time.process_time() - started
    return {"rows": len(data) * N_STEPS, "sums": sums, "fit": whole, "mib": peak_memory()}


def merge(folder: Path, n_parts: int, n_features: int) -> dict[str, Any]:
    """Add sums of shards up along the tree, beside merging their R factors by reflections."""
    k, q, chunk = n_features + 4, n_features + 3, 4 * (n_features + 4)
    rng, fan = np.random.default_rng(0), 4
    first = rng.standard_normal((chunk, k))
    basis = whitening(RFactor.of(first, first[:, :0]))
    parts = []
    for _ in range(fan):
        sums = Accumulator(k, q, basis)
        sums.add(rng.standard_normal((chunk, k)), rng.standard_normal((chunk, q)))
        parts.append(ShardSums([[sums]], [None], chunk))
    with threadpool_limits(1):
        spent = 0.0
        tree = Tree(n_parts, ShardSums.add)
        for i in range(n_parts):
            part = copy.deepcopy(parts[i % fan])  # arriving is timed apart
            started = time.process_time()
            tree.put(i, part)
            spent += time.process_time() - started
        started = time.process_time()
        tree.total().sums[0][0].factor()
        finish = time.process_time() - started
        packed = pickle.dumps(parts[0], protocol=5)
        started = time.process_time()
        for _ in range(10):
            pickle.loads(packed)
        arriving = (time.process_time() - started) / 10.0
        factors = [part.sums[0][0].factor() for part in parts[:2]]
        started = time.process_time()
        RFactor.merged(factors)
        reflections = (time.process_time() - started) * (n_parts - 1)
    return {
        "adding": spent,
        "finish": finish,
        "arriving": arriving * n_parts,
        "reflections": reflections,
        "mib_a_part": len(packed) / 2**20,
        "mib": peak_memory(),
    }


def episodes(folder: Path, n_episodes: int, n_steps: int, n_features: int) -> dict[str, Any]:
    """Fit to many short episodes, or to one long one that lies in several row groups."""
    path = folder / f"episodes-{n_episodes}.parquet"
    if not path.exists():
        parquet.write_table(pyarrow.table(steps(n_episodes, n_steps)), path, row_group_size=PAIRS)
    store = open_store(path, ["x", "v"], ["u"], run="run", dt=DT)
    with threadpool_limits(1):
        base, started = peak_memory(), time.process_time()
        EDMDc(SampledFeatures(n_features, random_state=0), **GIVEN).fit(store)
        return {"cpu": time.process_time() - started, "mib": peak_memory() - base, "base": base}


def steps(n_episodes: int, n_steps: int) -> dict[str, Any]:
    """Simulate episodes one after the other, row by row."""
    rng = np.random.default_rng(0)
    rows = np.empty((n_episodes * (n_steps + 1), 3))
    inputs = rng.uniform(-1.0, 1.0, len(rows))
    for i in range(len(rows)):
        if i % (n_steps + 1) == 0:
            x, v = rng.uniform(-2.0, 2.0, 2).tolist()
        u = float(inputs[i])
        rows[i] = x, v, u
        for _ in range(2):  # midpoint rule
            a = x + 0.25 * DT * v, v + 0.25 * DT * ((1.0 - x * x) * v - x + u)
            x, v = x + 0.5 * DT * a[1], v + 0.5 * DT * ((1.0 - a[0] ** 2) * a[1] - a[0] + u)
    run = np.repeat(np.arange(n_episodes), n_steps + 1)
    return {"x": rows[:, 0], "v": rows[:, 1], "u": rows[:, 2], "run": run}


def agreement(folder: Path, samples: int, n_features: int) -> dict[str, Any]:
    """How far a fit to a store is from one to all its trajectories in memory."""
    store = stored(folder, samples)
    data = [run for reader in store for run in reader()]
    models = [
        EDMDc(SampledFeatures(n_features, random_state=0)).fit(given).model_
        for given in (store, data)
    ]
    size, difference = np.abs(models[1].A).max(), np.abs(models[0].A - models[1].A).max()
    x0, U = np.stack([run.observations[0] for run in data]), np.stack([run.actions for run in data])
    one, two = (model.rolled_out(x0, U[:, :20], "relifted") for model in models)
    return {
        "A": float(difference / size),
        "rollouts": float(np.abs(one - two).max() / np.abs(two).max()),
        "regularization": [model.summary["regularization"] for model in models],
        "condition": models[1].summary["condition_number"],
    }


def dispatch(folder: Path) -> dict[str, Any]:
    """What Dask's scheduler takes for a task that does nothing, two workers on this machine."""
    distributed, n_tasks = optional_package("distributed", "cluster"), 2_000
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.gather(client.map(abs, range(100)))
        started = time.perf_counter()
        client.gather(client.map(abs, range(1_000, 1_000 + n_tasks)))
        return {"seconds": (time.perf_counter() - started) / n_tasks}


UNITS: dict[str, Callable[..., dict[str, Any]]] = {
    "fit": fit,
    "products": products,
    "merge": merge,
    "episodes": episodes,
    "dispatch": dispatch,
    "agreement": agreement,
}
