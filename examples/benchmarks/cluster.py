"""Benchmarks on a cluster: what sending a unit costs, and rows while workers are killed.

    python -m examples.benchmarks.cluster
    python -m examples.benchmarks.cluster --units 34 --every 10

First 50 runs that do next to nothing: wall time per run on one worker less that in this process,
which is what the pickled task, the scheduler and the way there and back add. Then a benchmark of 34
units, once in one process and once on two workers, of which one, drawn with seed 0, is killed
(SIGKILL) every 10 s: rows that are missing, twice, or different.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib.parallel import get_active_backend

from koopman_control.benchmark import (
    CONDITIONS,
    SUBJECTS,
    Plan,
    Subject,
    open_runs,
    run_benchmark,
)
from koopman_control.benchmark.subjects import no_action
from koopman_control.common.cluster import cluster
from koopman_control.evaluation import package_versions
from koopman_control.tasks import TASKS

TASK = "Duffing"


def plan(subject: Subject, units: int, episodes: int) -> Plan:
    task = replace(TASKS[TASK], n_rounds=1, horizon=30)
    return Plan(
        {TASK: task}, {"subject": subject}, {"nominal": CONDITIONS["nominal"]},
        range(20, 20 + units), episodes, 20_000,
    )  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "control.jsonl").read_text("utf-8").splitlines()[1:]
    found = [{k: v for k, v in json.loads(line).items() if k != "times"} for line in lines]
    return sorted(found, key=lambda row: row["seed"])


def overhead(folder: Path, units: int) -> tuple[float, float]:
    """Seconds per unit on one worker less those in this process, and of this process's CPU."""
    small = plan(Subject("does nothing", no_action), units, 1)
    begun = time.perf_counter()
    run_benchmark(small, open_runs(folder / "here", small), 1)
    here = time.perf_counter() - begun
    with cluster("local", 1):
        warm = plan(Subject("does nothing", no_action), 1, 1)
        run_benchmark(warm, open_runs(folder / "warm", warm))  # the worker imports the package
        runs = open_runs(folder / "there", small)
        begun, spent = time.perf_counter(), time.process_time()
        run_benchmark(small, runs)
        spent, there = time.process_time() - spent, time.perf_counter() - begun
    return (there - here) / units, spent / units


@contextmanager
def killing(every: float, killed: list[int]) -> Iterator[None]:
    """Kill one of the cluster's workers, drawn at random, every few seconds."""
    client, ended = get_active_backend()[0].client, threading.Event()
    rng = np.random.default_rng(0)

    def kill() -> None:
        while not ended.wait(every):
            with suppress(Exception):  # a worker may end while it is asked
                pids = list(client.run(os.getpid, on_error="ignore").values())
                victim = int(rng.choice(pids))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=34)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between kills")
    parser.add_argument("--episodes", type=int, default=10)
    asked = parser.parse_args()
    print(", ".join(f"{name} {version}" for name, version in package_versions().items()))
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; seeds 20 ... and 20,000 ...")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more, spent = overhead(folder, 50)
        print(
            f"overhead of a unit: {1e3 * more:.1f} ms (goal 50), {1e3 * spent:.1f} ms of CPU here"
        )
        units = plan(SUBJECTS["koopman"], asked.units, asked.episodes)
        killed: list[int] = []
        begun = time.perf_counter()
        with cluster("local", 2), killing(asked.every, killed):
            run_benchmark(units, open_runs(folder / "killed", units))
        disturbed = time.perf_counter() - begun
        run_benchmark(units, open_runs(folder / "alone", units), 1)
        alone = time.perf_counter() - begun - disturbed
        expected, found = rows(folder / "alone"), rows(folder / "killed")
        seeds = [row["seed"] for row in found]
        different = sum(row not in expected for row in found)
        print(
            f"{asked.units} units, {len(killed)} workers killed in {disturbed:.0f} s (one process "
            f"alone: {alone:.0f} s): {len(found)} rows, {len(seeds) - len(set(seeds))} of them "
            f"twice, {len(set(range(20, 20 + asked.units)) - set(seeds))} missing, {different} "
            f"different, {sum('error' in row for row in found)} with an error"
        )


if __name__ == "__main__":
    main()
