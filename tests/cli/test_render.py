from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from koopman_control.cli import app
from koopman_control.tasks import Task
from koopman_control.tasks.registry import TaskRegistry
from koopman_control.tasks.saved import save_learned
from tests.benchmark.tiny import tiny_task


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run of a task that is known here, on a machine without ffmpeg."""
    pytest.importorskip("pygame")
    task: Task = tiny_task(name="Tiny")
    registry = TaskRegistry([], "no such group")
    registry.register(task)
    monkeypatch.setattr("koopman_control.tasks.saved.TASKS", registry)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    save_learned(task, task.learn(0), 0, tmp_path)
    return tmp_path


def test_an_episode_becomes_a_gif_and_a_missing_ffmpeg_is_told(run: Path) -> None:
    result = call("render", run, "--seed", "1003")
    assert result.exit_code == 0, result.output
    assert "Tiny, seed 1003: return " in result.stdout
    assert (run / "episode-1003.gif").stat().st_size <= 1_000_000
    assert "No MP4: " in result.stderr and "koopman-control[video]" in result.stderr


def test_settings_that_have_changed_since_are_named(run: Path) -> None:
    then = {"R": 0.5, "horizon": 10, "no_longer_known": 1}
    (run / "metrics.json").write_text(json.dumps({"settings": {"task": then}}))
    result = call("render", run, "--gif")
    assert result.exit_code == 0, result.output
    assert "Note: R of the task have changed since this run" in result.stderr


def test_an_mp4_that_was_asked_for_and_cannot_be_made_is_an_error(run: Path) -> None:
    result = call("render", run, "--mp4")
    assert result.exit_code == 1
    assert "Error: this needs the package imageio_ffmpeg" in result.stderr
    assert not list(run.glob("episode*"))


def test_a_damaged_model_is_told_in_a_sentence(run: Path) -> None:
    (run / "model.npz").write_bytes(b"nothing")
    result = call("render", run)
    assert result.exit_code == 1
    assert "model.npz" in result.stderr and "Traceback" not in result.output
