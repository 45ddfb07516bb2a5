"""A benchmark on a Dask cluster: what becomes of workers and drivers changes no row."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib.parallel import get_active_backend
from typer.testing import CliRunner

from koopman_control.benchmark import Plan, Subject, open_runs, run_benchmark
from koopman_control.benchmark.baselines import Trained
from koopman_control.cli import app
from koopman_control.common.cluster import cluster
from koopman_control.evaluation import RandomPolicy, action_bounds, evaluate
from koopman_control.tasks import Task
from koopman_control.trajectories import open_environment
from tests.benchmark.tiny import ENV, tiny_plan

pytest.importorskip("distributed", reason="needs pip install 'koopman-control[cluster]'")
pytestmark = pytest.mark.slow


def rows(folder: Path) -> list[dict[str, Any]]:
    """Read all rows without what depends on the clock, in the order of their names."""
    lines = (folder / "control.jsonl").read_text("utf-8").splitlines()[1:]
    found = [{k: v for k, v in json.loads(line).items() if k != "times"} for line in lines]
    return sorted(found, key=lambda row: (row["subject"], row["seed"]))


def undisturbed(folder: Path, plan: Plan) -> list[dict[str, Any]]:
    run_benchmark(plan, open_runs(folder, plan), 1)
    return rows(folder)


def test_workers_killed_at_random_change_no_row(tmp_path: Path) -> None:
    plan = tiny_plan(seeds=range(6))
    rng, killed = np.random.default_rng(0), []

    with cluster("local", 2):
        client = get_active_backend()[0].client

        def kill_one(record: dict[str, Any]) -> None:
            if rng.random() < 0.5:
                pids = list(client.run(os.getpid, on_error="ignore").values())
                if pids:
                    killed.append(int(rng.choice(pids)))
                    os.kill(killed[-1], signal.SIGKILL)

        runs = open_runs(tmp_path / "disturbed", plan)
        run_benchmark(plan, runs, 2, kill_one)
    assert len(killed) > 1
    found = rows(tmp_path / "disturbed")
    assert len(found) == len(plan.keys()) == 8
    assert found == undisturbed(tmp_path / "undisturbed", plan)


def needs_all_memory(task: Task, seed: int) -> Trained:
    os.kill(os.getpid(), signal.SIGKILL)  # as the system does
    raise AssertionError


def test_a_run_that_ends_every_process_is_recorded_as_failed(tmp_path: Path) -> None:
    subjects = dict(tiny_plan().subjects) | {"large": Subject("too large", needs_all_memory)}
    plan = tiny_plan(subjects=subjects, seeds=[0])
    runs = open_runs(tmp_path, plan)
    run_benchmark(plan, runs, 2)
    found = {key.subject: record for key, record in runs.records().items()}
    assert set(found) == set(subjects)
    assert "killed, or out of memory" in found.pop("large")["error"]
    assert not any("error" in record for record in found.values())
    assert not list(tmp_path.glob(".*"))


DRIVER = """
import os, signal, sys
from koopman_control.benchmark import open_runs, run_benchmark
from koopman_control.common.cluster import cluster
from tests.benchmark.tiny import tiny_plan

def count_down(record):
    done.append(record)
    if len(done) == 3:
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))

if __name__ == "__main__":
    done = []
    plan = tiny_plan(seeds=range(4))
    with cluster("local", 2):
        run_benchmark(plan, open_runs(sys.argv[1], plan), 2, count_down)
"""


@pytest.mark.parametrize("end", ["SIGKILL", "SIGINT"])
def test_a_driver_that_was_killed_or_stopped_goes_on(tmp_path: Path, end: str) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    folder = tmp_path / "results"
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *sys.path])
    ended = subprocess.run(
        [sys.executable, str(driver), str(folder), end],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=240,
    )  # fmt: skip
    assert ended.returncode in (-getattr(signal, end), 130), ended.stderr.decode()
    before = rows(folder)
    assert 3 <= len(before) < 6
    plan = tiny_plan(seeds=range(4))
    run_benchmark(plan, open_runs(folder, plan), 1)
    found = rows(folder)
    assert len(found) == len(plan.keys())
    assert all(row in found for row in before)
    assert found == undisturbed(tmp_path / "undisturbed", plan)


def test_an_evaluation_finds_the_same_there() -> None:
    with open_environment("Pendulum-v1") as env:
        controller = RandomPolicy(action_bounds(env), 0)
    alone = evaluate(controller, "Pendulum-v1", range(1000, 1007))
    with cluster("local", 2) as workers:
        shared = evaluate(controller, "Pendulum-v1", range(1000, 1007), workers)
    assert shared.seeds == alone.seeds
    assert shared.returns.tolist() == alone.returns.tolist()


def test_the_commands_use_it_and_print_its_dashboard(tmp_path: Path) -> None:
    command = ["benchmark", ENV, "--seeds", "1", "--episodes", "2", "--subjects", "random,zero"]
    done = CliRunner().invoke(app, [*command, "--cluster", "local", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "2 workers; dashboard: http://" in done.stderr
    assert done.stderr.count("learning seed 0: mean") == 2
