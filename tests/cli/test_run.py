from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress
from typer.testing import CliRunner, Result

from koopman_control import KoopmanMPC, LiftedModel, load_trajectories
from koopman_control.cli import app
from koopman_control.common import FileNotWritableError, check_contents
from koopman_control.tasks import TASKS, Task
from koopman_control.tasks.registry import TaskRegistry
from koopman_control.trajectories import CollectionInterrupted, collect
from koopman_control.trajectories.store import load_with_settings

ENV = "koopman_envs/VanDerPol-v0"
KEYS = {
    "env_id", "seeds", "returns", "return_mean", "return_ci95", "return_iqm", "return_worst",
    "references", "data_steps", "fit_seconds", "learn_seconds", "act_us", "fallback_share", "rungs",
    "violations", "prediction_error", "versions", "settings", "normalised_score",
}  # fmt: skip


def call(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def registry_of(task: Task) -> TaskRegistry:
    registry = TaskRegistry([], "no such group")
    registry.register(task)
    return registry


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the ready task one that learns from a few steps."""
    task = replace(TASKS[ENV], n_steps=300, first_steps=250, n_features=(5,), n_draws=1)
    monkeypatch.setattr("koopman_control.tasks.TASKS", registry_of(task))


def only_folder(parent: Path) -> Path:
    (folder,) = parent.iterdir()
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    parent = tmp_path_factory.mktemp("runs")
    result = call("run", ENV, "--episodes", "3", "--workers", "1", "--json", "--output", parent)
    assert result.exit_code == 0, result.output
    return result, only_folder(parent)


def test_json_prints_the_metrics_and_nothing_else(finished: tuple[Result, Path]) -> None:
    result, folder = finished
    metrics = json.loads(result.stdout)
    assert set(metrics) == KEYS
    assert result.stdout.strip() == (folder / "metrics.json").read_text("utf-8").strip()


def test_metrics_hold_what_was_asked_for(finished: tuple[Result, Path]) -> None:
    metrics = json.loads(finished[0].stdout)
    assert metrics["env_id"] == ENV
    assert metrics["seeds"] == [1000, 1001, 1002]
    assert metrics["data_steps"] == TASKS[ENV].n_steps
    assert set(metrics["references"]) >= {"random", "zero"}
    assert set(metrics["prediction_error"]) == {"linear", "relifted"}
    assert metrics["return_mean"] == pytest.approx(np.mean(metrics["returns"]))
    assert metrics["settings"]["learning_seed"] == 0


def test_a_run_folder_holds_report_model_data_and_figures(finished: tuple[Result, Path]) -> None:
    folder = finished[1]
    assert check_contents(folder)["learning_seed"] == 0
    _, made_by = load_with_settings(folder / "trajectories.npz")
    assert made_by == {"task": "VanDerPol", "learning_seed": 0}
    mpc = KoopmanMPC.load(folder / "controller.npz")
    assert mpc.horizon == TASKS[ENV].horizon
    page = (folder / "report.html").read_text("utf-8")
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http://www.w3.org", "")
    names = {path.stem for path in folder.glob("*.png")}
    assert names >= {
        "learning_curve", "prediction_fan", "eigenvalues", "eigenvalue_residuals",
        "pseudospectrum", "closed_loop", "return_distribution",
        "step_times",
    }  # fmt: skip


def test_the_saved_model_and_data_are_those_of_the_run(finished: tuple[Result, Path]) -> None:
    folder = finished[1]
    model = LiftedModel.load(folder / "model.npz")
    data = load_trajectories(folder / "trajectories.npz")
    assert sum(len(t) for t in data) == TASKS[ENV].n_steps
    one_step = model.predict(model.state(data[0].observations[0]), data[0].actions[:1])
    np.testing.assert_allclose(one_step[0], data[0].observations[1][:2], atol=1e-2)


def test_without_json_a_table_is_printed(tmp_path: Path, quick: None) -> None:
    result = call("run", ENV, "--episodes", "1", "--workers", "1", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    for label in ("return, mean", "random, mean", "environment steps used", "steps that fell back"):
        assert label in result.stdout


def test_other_learning_seeds_and_evaluation_seeds_can_be_chosen(
    tmp_path: Path, quick: None
) -> None:
    arguments = ["--episodes", "2", "--seed", "7", "--learning-seed", "3", "--workers", "1"]
    result = call("run", ENV, *arguments, "--output", tmp_path)
    assert "score" not in result.stdout  # no reference is stored for these seeds
    metrics = json.loads((only_folder(tmp_path) / "metrics.json").read_text("utf-8"))
    assert metrics["seeds"] == [7, 8]
    assert metrics["settings"]["learning_seed"] == 3
    assert ENV not in metrics["references"]
    assert set(metrics["references"]) == {"random", "zero"}


def test_tasks_are_listed_one_a_line() -> None:
    lines = call("tasks").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [name, task.env_id] for name, task in TASKS.items()
    ]


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Pendulum-v7", "Pendulum-v1"),
        ("Pendulm-v1", "Did you mean Pendulum-v1?"),
        ("CartPole-v1", "discrete actions are not supported"),
        ("nowhere/Nothing-v0", "Gymnasium cannot make"),
        ("my environment", "Gymnasium cannot make 'my environment': Malformed environment ID"),
    ],
)
def test_an_environment_that_will_not_do_gets_one_sentence(
    env_id: str, message: str, tmp_path: Path
) -> None:
    result = call("run", env_id, "--output", tmp_path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_run_folder_is_noticed_before_anything_is_learned(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    result = call("run", ENV, "--output", blocked)
    assert result.exit_code == 1
    assert "cannot write to the folder" in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = call("run", "CartPole-v1", "--debug", "--output", tmp_path)
    assert isinstance(result.exception, TypeError)


def test_ctrl_c_during_the_evaluation_keeps_model_and_data(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("koopman_control.tasks.run.evaluate", interrupted)
    result = call("run", ENV, "--output", tmp_path)
    assert result.exit_code == 130
    folder = only_folder(tmp_path)
    assert folder.name in result.stderr.replace("\n", "")
    kept = {"model.npz", "controller.npz", "trajectories.npz", "checkpoint"}
    assert {path.name for path in folder.iterdir()} == kept
    assert "model.npz, trajectories.npz" in result.stderr


def test_an_interrupted_run_goes_on_and_leaves_no_checkpoint(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = call("run", ENV, "--episodes", 1, "--workers", 1, "--output", tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    with monkeypatch.context() as patched:
        step = Progress.update

        def interrupted(bar: Progress, *given: Any, completed: float = 0, **other: Any) -> None:
            if completed == 295:
                raise KeyboardInterrupt
            step(bar, *given, completed=completed, **other)

        patched.setattr(Progress, "update", interrupted)
        stopped = call("run", ENV, "--output", tmp_path / "stopped")
    assert stopped.exit_code == 130
    folder = only_folder(tmp_path / "stopped")
    told = stopped.stderr.replace("\n", "")
    assert f"Go on with: koopman-control run {ENV} --resume {folder}" in told
    again = call("run", ENV, "--episodes", 1, "--workers", 1, "--resume", folder)
    assert again.exit_code == 0, again.output
    assert not (folder / "checkpoint").exists()
    for name in ("model.npz", "trajectories.npz"):
        expected = (only_folder(tmp_path / "whole") / name).read_bytes()
        assert (folder / name).read_bytes() == expected
    finished = call("run", ENV, "--resume", folder)
    assert finished.exit_code == 1
    assert "there is nothing to go on from" in finished.stderr


def test_a_full_disk_after_learning_says_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise FileNotWritableError("cannot write report.html: No space left on device")

    quick = replace(TASKS[ENV], n_steps=200, first_steps=200, n_rounds=0)
    monkeypatch.setattr("koopman_control.tasks.TASKS", registry_of(quick))
    monkeypatch.setattr("koopman_control.tasks.run.evaluate", full)
    result = call("run", ENV, "--output", tmp_path)
    assert result.exit_code == 1
    told = result.stderr.replace("\n", "")
    assert f"Saved in {only_folder(tmp_path)}: controller.npz, model.npz, trajectories.npz." in told
    assert "Error: cannot write report.html: No space left on device" in told
    assert "--resume" in told


@pytest.mark.parametrize("n_steps", [30, 0])
def test_ctrl_c_saves_what_was_collected(
    n_steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = collect(ENV, n_steps=n_steps) if n_steps else []

    def interrupted(*_: Any, **__: Any) -> None:
        raise CollectionInterrupted(data)

    monkeypatch.setattr("koopman_control.tasks.run.run_task", interrupted)
    result = call("run", ENV, "--output", tmp_path)
    assert result.exit_code == 130
    path = only_folder(tmp_path) / "trajectories.npz"
    assert (str(path) in result.stderr.replace("\n", "")) == bool(n_steps)
    assert path.exists() == bool(n_steps)
    if n_steps:
        assert sum(len(t) for t in load_trajectories(path)) == n_steps
