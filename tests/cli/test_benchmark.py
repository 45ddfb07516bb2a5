from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from koopman_control.benchmark import CONDITIONS, SUBJECTS, SUITES, beside_published
from koopman_control.benchmark.subjects import autopilot, no_action
from koopman_control.cli import app
from koopman_control.tasks import TASKS
from koopman_control.tasks.untold import Untold

SMALL = ("benchmark", "InvertedPendulum-v5", "--seeds", "1", "--episodes", "2", "--jobs", "1")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_benchmark_writes_data_table_and_page_and_is_not_done_twice(tmp_path: Path) -> None:
    first = call(*SMALL, "--out", tmp_path)
    assert first.exit_code == 0, first.output
    assert "| InvertedPendulum | 100 |" in first.stdout
    assert first.stderr.count("learning seed 0: mean") == 4
    names = {path.name for path in tmp_path.iterdir()}
    assert {"control.jsonl", "control.json", "control.md", "control.html"} <= names
    second = call(*SMALL, "--out", tmp_path)
    assert second.stdout == first.stdout
    assert "learning seed" not in second.stderr


def test_ctrl_c_leaves_the_results_so_far_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*SMALL, "--subjects", "zero", "--out", tmp_path).exit_code == 0
    (tmp_path / "control.html").unlink()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("koopman_control.benchmark.run_benchmark", interrupted)
    result = call(*SMALL, "--out", tmp_path)
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
    assert (tmp_path / "control.html").exists()


def test_what_is_not_applicable_is_left_out_with_the_reason(tmp_path: Path) -> None:
    pair = ("MountainCarContinuous-v0", "--subjects", "zero", "--conditions", "hidden")
    result = call("benchmark", *pair, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "MountainCarContinuous under hidden is left out: " in result.stderr


def test_a_run_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    too_many = ("InvertedPendulum-v5", "--subjects", "reference", "--episodes", "5000")
    result = call("benchmark", *too_many, "--jobs", "1", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "learning seed 0: failed: no reference is stored for all of the seeds" in result.stderr


def test_other_evaluation_episodes_need_another_folder(tmp_path: Path) -> None:
    common = ("benchmark", "InvertedPendulum-v5", "--subjects", "zero", "--out", tmp_path)
    assert call(*common, "--episodes", "1").exit_code == 0
    refused = call(*common, "--episodes", "2")
    assert refused.exit_code == 1
    assert "episodes 1 (now 2)" in refused.stderr
    header = json.loads((tmp_path / "control.jsonl").read_text().splitlines()[0])
    assert header["settings"]["episodes"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Pendulm-v1",), "there is no task 'Pendulm-v1'; there are"),
        (("--subjects", "koopman,magic"), "--subjects got 'magic'; there are koopman"),
        (("--conditions", "rain"), "--conditions got 'rain'; there are nominal"),
    ],
)
def test_unknown_names_get_one_sentence(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = call("benchmark", *arguments, "--out", tmp_path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_list_tells_every_subject_and_condition() -> None:
    result = call("benchmark", "--list")
    assert result.exit_code == 0
    listed = {line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")}
    assert listed == {*SUBJECTS, *CONDITIONS}
    assert "--list" in call("benchmark", "--help").stdout


def test_what_is_told_nothing_stands_in_a_table_below_the_tasks_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SUBJECTS, "autopilot", replace(SUBJECTS["autopilot"], train=no_action))
    result = call(*SMALL, "--knowledge", "none", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    own, told_nothing = result.stdout.split("The autopilot, told nothing:")
    assert "| InvertedPendulum | 100 | 1000.00 |" in own
    assert "| InvertedPendulum | 0 |" in told_nothing
    assert (tmp_path / "control.md").read_text("utf-8") in result.stdout


def test_the_autopilot_gets_twice_the_steps_of_a_ready_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def learn(task: Untold, seed: int) -> None:
        asked.append(task.n_steps)
        raise RuntimeError

    monkeypatch.setattr(Untold, "learn", learn)
    for name in ("InvertedPendulum", "Swimmer"):  # of 100 and of 10,000 steps
        with pytest.raises(RuntimeError):
            autopilot(TASKS[name], 0)
    assert asked == [200, 10_000]


def test_a_suite_that_is_not_installed_is_left_out_with_a_remedy(tmp_path: Path) -> None:
    if find_spec("shimmy") is not None:
        pytest.skip("shimmy is installed")
    result = call("benchmark", "pendulum-swingup", "--suite", "dm_control", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "pendulum-swingup is left out: module 'shimmy' cannot be imported" in result.stderr
    assert "pip install 'koopman-control[suites]'" in result.stderr
    assert "| environment | steps | ours | BRO, 100,000 steps |" in result.stdout


def test_our_returns_stand_beside_published_ones() -> None:
    table = beside_published(SUITES["dm_control"], {"cartpole-balance": 997.6})
    assert "| cartpole-balance | 5,000 | 998 | 995 | – | 1000 | 998 |" in table
    assert "walker-stand" not in table
