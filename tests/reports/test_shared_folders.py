"""Two processes in one folder: each has its own, or they share the work.

What a process that was killed has left undone, others take over.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from koopman_control import collect
from koopman_control.benchmark import Key, RunFile, Subject, open_runs, run_benchmark
from koopman_control.benchmark.baselines import Trained
from koopman_control.cli.errors import new_folder, run_folder
from koopman_control.common.files import Claim, FolderNotWritableError, fresh_folder
from koopman_control.tasks import Task
from tests.benchmark.tiny import ENV, tiny_plan

ROOT = Path(__file__).parents[2]


def test_runs_that_begin_in_the_same_second_get_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "20260101-120000")
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: run_folder(tmp_path / "new", ENV, None), range(8)))
    names = {f"VanDerPol-v0-20260101-120000{end}" for end in ("", *(f"-{n}" for n in range(2, 9)))}
    assert {folder.name for folder in made} == names
    with new_folder(tmp_path / "forecast") as one, new_folder(tmp_path / "forecast") as two:
        assert (one.name, two.name) == ("forecast", "forecast-2")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FolderNotWritableError, match="choose another folder"):
        fresh_folder(tmp_path / "file" / "run")
    with pytest.raises(FolderNotWritableError, match=r"cannot make the folder .*another one"):
        fresh_folder(tmp_path / ("n" * 300))
    assert fresh_folder(tmp_path / "file").name == "file-2"


def rows(folder: Path) -> list[tuple[str, str, str, int]]:
    """Read the names of all runs; the header comes first, and once."""
    header, *records = map(json.loads, (folder / "control.jsonl").read_text().splitlines())
    assert "versions" in header
    return [(r["task"], r["subject"], r["condition"], r["seed"]) for r in records]


def test_two_benchmarks_in_one_folder_do_every_run_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmark.tiny", str(tmp_path), "99"]
    both = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=240) for process in both] == [0, 0]
    assert sorted(rows(tmp_path)) == sorted(tuple(vars(k).values()) for k in tiny_plan().keys())
    assert [path.name for path in tmp_path.iterdir()] == ["control.jsonl"]


def test_they_work_at_the_same_time_and_repeat_nothing_that_failed(tmp_path: Path) -> None:
    at_once = Barrier(2, timeout=60.0)

    def fails(task: Task, seed: int) -> Trained:
        at_once.wait()
        raise ValueError(f"seed {seed} will not do")

    plan = tiny_plan(subjects={"broken": Subject("fails", fails)}, seeds=[3, 4])

    def work(_: int) -> int:
        done: list[Any] = []
        run_benchmark(plan, open_runs(tmp_path, plan), 1, done.append)
        return len(done)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, range(2))) == [1, 1]
    assert sorted(rows(tmp_path)) == [(ENV, "broken", "nominal", seed) for seed in (3, 4)]
    errors = [record["error"] for record in open_runs(tmp_path, plan).records().values()]
    assert errors == ["ValueError: seed 3 will not do", "ValueError: seed 4 will not do"]


HOLD = """
import sys, time
from koopman_control.common.files import Claim
claim = Claim(sys.argv[1])
print(claim.take(), flush=True)
time.sleep(600)
"""


def test_a_claim_ends_with_the_process_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / ".unit.claim"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    ours = Claim(path)
    assert not ours.take()
    holder.kill()
    holder.wait(timeout=60)
    holder.stdout.close()
    assert path.exists()
    assert ours.take() and not Claim(path).take()
    ours.release()
    assert not path.exists()
    assert Claim(path).take()


def test_a_benchmark_does_what_a_killed_one_had_claimed(tmp_path: Path) -> None:
    plan = tiny_plan(seeds=[0])
    runs = open_runs(tmp_path, plan)
    path = runs.claim(plan.keys()[-1]).path
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"

    def killed(record: dict[str, Any]) -> None:
        if len(runs.records()) == len(plan.keys()) - 1:  # all but the claimed one
            holder.kill()

    run_benchmark(plan, runs, 1, killed)
    holder.wait(timeout=60)
    holder.stdout.close()
    assert len(rows(tmp_path)) == len(plan.keys())


def test_files_of_results_are_begun_and_written_by_many(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"

    def write(seed: int) -> RunFile:
        runs = RunFile(path, {"episodes": 3})
        for condition in "abc":
            runs.add([{"task": "T", "subject": "s", "condition": condition, "seed": seed}])
        return runs

    with ThreadPoolExecutor(8) as threads:
        files = list(threads.map(write, range(8)))
    expected = {Key("T", "s", condition, seed) for condition in "abc" for seed in range(8)}
    assert len(rows(tmp_path)) == len(expected)
    for runs in files:
        runs.refresh()
        assert set(runs.records()) == expected
    with path.open("ab") as file:
        file.write(b'{"task": "T", "sub')  # somebody was killed in the middle of a line
    files[0].add([{"task": "T", "subject": "s", "condition": "d", "seed": 0}])
    assert len(rows(tmp_path)) == len(expected) + 1


def test_a_checkpoint_is_of_one_collection_at_a_time(tmp_path: Path) -> None:
    def second(steps: int) -> None:
        if steps == 5:
            with pytest.raises(ValueError, match=r"checkpoint .* is in use: another process"):
                collect("Pendulum-v1", n_steps=10, checkpoint=tmp_path)

    first = collect("Pendulum-v1", n_steps=10, checkpoint=tmp_path, on_step=second)
    again = collect("Pendulum-v1", n_steps=10, checkpoint=tmp_path)
    assert first[0].actions.tolist() == again[0].actions.tolist()
    assert not list(tmp_path.glob(".*"))
