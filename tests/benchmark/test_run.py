from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.benchmark import (
    CONDITIONS,
    SUBJECTS,
    Key,
    Plan,
    Subject,
    Variation,
    missing,
    open_runs,
    run_benchmark,
    write_results,
)
from koopman_control.benchmark.baselines import Trained
from koopman_control.benchmark.subjects import no_action
from koopman_control.tasks import Task, reference_returns
from tests.benchmark.tiny import ENV, tiny_plan, tiny_task


def run(folder: Path, plan: Plan, jobs: int = 1) -> dict[str, Any]:
    """Carry the plan out and return control.json."""
    runs = open_runs(folder, plan)
    run_benchmark(plan, runs, jobs)
    write_results(folder, plan, runs)
    found: dict[str, Any] = json.loads((folder / "control.json").read_text("utf-8"))
    return found


def text_without_times(content: Any) -> str:
    return json.dumps(timeless(content))


def timeless(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: timeless(v) for k, v in content.items() if k != "times"}
    return [timeless(v) for v in content] if isinstance(content, list) else content


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder, tiny_plan())


def test_every_run_is_a_line_after_the_header(finished: tuple[Path, dict[str, Any]]) -> None:
    header, *records = map(json.loads, (finished[0] / "control.jsonl").read_text().splitlines())
    assert header["settings"] == {"episodes": 3, "first_seed": 1000}
    assert {"versions", "machine", "format"} <= set(header)
    names = [(r["task"], r["subject"], r["condition"], r["seed"]) for r in records]
    assert sorted(names) == [
        (ENV, "koopman", "nominal", 0),
        (ENV, "koopman", "nominal", 1),
        (ENV, "random", "nominal", 0),
        (ENV, "reference", "nominal", 0),
    ]
    learned = next(r for r in records if r["subject"] == "koopman")
    assert learned["data_steps"] == 240
    assert [r["steps"] for r in learned["rounds"]] == [160, 240]
    assert learned["steps"] == 60
    assert len(learned["returns"]) == 3


def test_the_reference_is_the_stored_one(finished: tuple[Path, dict[str, Any]]) -> None:
    (cell,) = [c for c in finished[1]["cells"] if c["subject"] == "reference"]
    stored = reference_returns(ENV, range(1000, 1003))
    assert stored is not None
    assert cell["returns"]["0"] == stored[1].tolist()
    assert cell["score"]["value"] == pytest.approx(1.0, abs=1e-12)


def test_two_processes_find_what_one_finds(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert text_without_times(run(tmp_path, tiny_plan(), 2)) == text_without_times(finished[1])


def test_a_benchmark_that_was_killed_goes_on_to_the_same_results(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.benchmark.tiny", str(tmp_path), "3"]
    root = Path(__file__).parents[2]
    killed = subprocess.run(command, cwd=root, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    lines = tmp_path / "control.jsonl"
    whole = lines.read_bytes()
    assert whole.count(b"\n") == 1 + 3
    lines.write_bytes(whole + b'{"task": "koopman_envs/VanDer')  # killed in the middle of a line
    assert text_without_times(run(tmp_path, tiny_plan())) == text_without_times(finished[1])
    assert lines.read_bytes().startswith(whole)


def test_nothing_is_done_twice(finished: tuple[Path, dict[str, Any]]) -> None:
    plan = tiny_plan()
    assert missing(plan, open_runs(finished[0], plan)) == []
    more = tiny_plan(seeds=range(3))
    assert missing(more, open_runs(finished[0], more)) == [Key(ENV, "koopman", "nominal", 2)]


def test_a_changed_task_is_run_again(finished: tuple[Path, dict[str, Any]]) -> None:
    plan = tiny_plan(tasks={ENV: tiny_task(R=0.02)})
    assert missing(plan, open_runs(finished[0], plan)) == plan.keys()


def test_seeds_come_one_after_another_and_what_is_cheap_first() -> None:
    keys = tiny_plan().keys()
    assert [(k.seed, k.subject) for k in keys] == [
        (0, "reference"), (0, "random"), (0, "koopman"), (1, "koopman"),
    ]  # fmt: skip


def test_a_subject_may_be_the_task_with_other_settings(tmp_path: Path) -> None:
    plan = tiny_plan(
        subjects={
            "koopman": SUBJECTS["koopman"],
            "one round": Subject("all data at random", Variation({"n_rounds": 0})),
        },
        seeds=[0],
    )
    run(tmp_path, plan)
    rounds = {k.subject: r["rounds"] for k, r in open_runs(tmp_path, plan).records().items()}
    assert [len(rounds[name]) for name in ("koopman", "one round")] == [2, 1]


def test_a_run_that_fails_is_recorded_counts_as_random_and_is_tried_again(tmp_path: Path) -> None:
    broken = Subject("asks for what there is not", Variation({"n_rounds": -1}))
    plan = tiny_plan(subjects={"broken": broken, "random": SUBJECTS["random"]}, seeds=[0])
    cells = {cell["subject"]: cell for cell in run(tmp_path, plan)["cells"]}
    assert cells["broken"]["failed"] == [0]
    assert cells["broken"]["returns"] == cells["random"]["returns"]
    runs = open_runs(tmp_path, plan)
    assert "n_rounds" in runs.records()[Key(ENV, "broken", "nominal", 0)]["error"]
    assert missing(plan, runs) == [Key(ENV, "broken", "nominal", 0)]


def test_a_task_that_cannot_be_made_is_left_out_with_the_reason() -> None:
    absent = replace(tiny_task(), env_id="absent_package:Nothing-v0")
    plan = tiny_plan(tasks={"absent_package:Nothing-v0": absent, ENV: tiny_task()})
    assert "absent_package" in plan.left_out[("absent_package:Nothing-v0",)]
    assert {key.task for key in plan.keys()} == {ENV}


def test_a_run_that_fails_counts_as_the_stored_random_actions_where_none_are_run(
    tmp_path: Path,
) -> None:
    broken = Subject("asks for what there is not", Variation({"n_rounds": -1}))
    plan = tiny_plan(subjects={"broken": broken}, seeds=[0])
    (cell,) = run(tmp_path / "stored", plan)["cells"]
    assert (cell["failed"], cell["score"]["value"]) == ([0], 0.0)
    unknown = tiny_plan(subjects={"broken": broken}, seeds=[0], first_seed=7000)
    assert run(tmp_path / "unknown", unknown)["cells"] == []


def test_seeds_without_a_stored_reference_are_an_error_in_its_record(tmp_path: Path) -> None:
    plan = tiny_plan(subjects={"reference": SUBJECTS["reference"]}, first_seed=7000)
    run(tmp_path, plan)
    (record,) = open_runs(tmp_path, plan).records().values()
    assert record["error"] == "no reference is stored for all of the seeds 7000 ... 7002"


def test_conditions_of_the_plant_alone_share_one_learning_and_name_the_peer(
    tmp_path: Path,
) -> None:
    learned = []

    def train(task: Task, seed: int) -> Trained:
        learned.append(seed)
        return no_action(task, seed)

    peer = Subject("made with a package", train, needs=("numpy", "benchmarks"))
    conditions = {name: CONDITIONS[name] for name in ("nominal", "changed")}
    plan = tiny_plan(subjects={"peer": peer}, conditions=conditions, seeds=[4])
    run(tmp_path, plan)
    assert learned == [4]
    records = open_runs(tmp_path, plan).records()
    assert {key.condition for key in records} == set(conditions)
    assert {record["peer"] for record in records.values()} == {f"numpy {np.__version__}"}


def test_what_cannot_matter_is_not_run() -> None:
    conditions = {name: CONDITIONS[name] for name in ("nominal", "half", "changed")}
    subjects = {name: SUBJECTS[name] for name in ("koopman", "zero", "reference")}
    keys = tiny_plan(subjects=subjects, conditions=conditions, seeds=[0]).keys()
    assert {(k.subject, k.condition) for k in keys} == {
        ("koopman", "nominal"), ("koopman", "half"), ("koopman", "changed"),
        ("zero", "nominal"), ("zero", "changed"), ("reference", "nominal"),
    }  # fmt: skip
