"""A search finds the same however it is carried out, and what it finds can be run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from koopman_control.cli import app
from koopman_control.common import FileFormatError, FileNotWritableError, check_contents
from koopman_control.common.files import Claim
from koopman_control.evaluation.summary import number
from koopman_control.mpc import Cost, Search
from koopman_control.tasks import TASKS
from koopman_control.tasks.in_file import task_in_file
from koopman_control.tuning import (
    Judgement,
    Range,
    Tried,
    Tuned,
    settings_of,
    tune,
    tuned,
    write_tuned,
)
from tests.common.test_full_disk import files_of_at_most
from tests.tuning.small import small_search

optuna = pytest.importorskip("optuna", reason="needs pip install 'koopman-control[tuning]'")
ROOT = Path(__file__).parents[2]


def without_times(found: Tuned) -> list[Any]:
    """All that does not depend on the clock."""
    trials = [
        (t.number, t.values, None if t.found is None else replace(t.found, act_p99=0.0))
        for t in found.trials
    ]
    finals = {n: replace(judged, act_p99=0.0) for n, judged in found.finals.items()}
    return [trials, finals, found.importance, found.steps]


def by_formula(unit: Any) -> Judgement:
    """Judge settings in no time: the cheaper the inputs, the better."""
    noise = np.random.default_rng(unit.learning_seed).normal(size=len(unit.reset_seeds))
    return Judgement(tuple((-unit.task.R + 0.001 * noise).tolist()), 10, 10, 50.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koopman_control.tuning.study._judged", by_formula)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned]:
    """A search in one process, and its file."""
    path = tmp_path_factory.mktemp("search") / "trials.log"
    return path, tune(small_search(), path, 1)


def test_every_trial_uses_the_seeds_kept_for_tuning_and_counts_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[int, range]] = []

    def noted(unit: Any) -> Judgement:
        used.append((unit.learning_seed, unit.reset_seeds))
        return Judgement((1.0,) * len(unit.reset_seeds), 3, 2)

    monkeypatch.setattr("koopman_control.tuning.study._judged", noted)
    found = tune(small_search(trials=1, seeds=2, episodes=2), tmp_path / "noted.log", 1)
    assert {learning for learning, _ in used} == {20, 21, 520, 521, 522}
    assert {resets for _, resets in used} == {range(20_000, 20_002), range(520_000, 520_004)}
    assert found.steps == {
        "search, learning": 2 * 3,
        "search, judging": 2 * 2,
        "final, learning": 2 * 3 * 3,  # the trial and the task as it is, three seeds each
        "final, judging": 2 * 3 * 2,
    }
    assert found.best is None  # alike is not better


@pytest.mark.usefixtures("quick")
def test_the_first_trial_has_the_tasks_own_settings(tmp_path: Path) -> None:
    found = tune(small_search(), tmp_path / "trials.log", 1)
    assert found.trials[0].values == {"features": 5, "horizon": 10, "R": 1.0, "Q1": 1.0}
    assert len(found.finals) == 4
    assert [trial.number for trial in found.trials] == list(range(6))
    assert len({json.dumps(dict(trial.values)) for trial in found.trials}) == 6
    assert sum(found.importance.values()) == pytest.approx(1.0)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_two_processes_and_a_database_find_the_same(
    done: tuple[Path, Tuned], tmp_path: Path
) -> None:
    found = tune(small_search(), tmp_path / "trials.db", 2)
    assert without_times(found) == without_times(done[1])
    assert found.finals[0].returns == found.finals[-1].returns  # of the task as it is
    assert found.steps["search, learning"] == 6 * 240
    assert found.steps["search, judging"] == 6 * 20


@pytest.mark.slow
@pytest.mark.parametrize("after", [2, 5])
def test_a_search_that_was_killed_goes_on_to_the_same(
    done: tuple[Path, Tuned], tmp_path: Path, after: int
) -> None:
    path = tmp_path / "trials.log"
    command = [sys.executable, "-m", "tests.tuning.small", str(path), str(after)]
    killed = subprocess.run(command, cwd=ROOT, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    judged: list[int] = []
    found = tune(small_search(), path, 1, lambda n, mean: judged.append(n))
    assert sorted(judged) == list(range(after, 6))
    assert without_times(found) == without_times(done[1])
    assert without_times(tune(small_search(), path, 1)) == without_times(found)


@pytest.mark.usefixtures("quick")
def test_two_searches_with_one_file_share_the_trials(tmp_path: Path) -> None:
    path, judged = tmp_path / "trials.log", []
    found: list[Tuned] = []

    def work() -> None:
        found.append(tune(small_search(), path, 1, lambda n, mean: judged.append(n)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert sorted(judged) == list(range(6))
    assert without_times(found[0]) == without_times(found[1])


@pytest.mark.usefixtures("quick")
def test_a_search_waits_for_the_trials_of_another_and_takes_over_what_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trials.log"

    def stop(n: int, mean: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(small_search(trials=4), path, 1, stop)
    other = Claim(tmp_path / ".trials.log-3.claim")
    assert other.take()
    before: list[int] = []

    def wait(seconds: float) -> None:
        assert before == [1, 2]
        other.release()  # as the system does when its process ends

    monkeypatch.setattr("koopman_control.tuning.study.time.sleep", wait)
    tune(small_search(trials=4), path, 1, lambda n, mean: before.append(n))
    assert before == [1, 2, 3]


@pytest.mark.usefixtures("quick")
def test_a_trial_that_was_left_while_it_was_proposed_gets_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tune(small_search(trials=8), tmp_path / "whole.log", 1)
    suggested, count = Range.suggested, 0

    def stops(self: Range, trial: Any, name: str) -> Any:
        nonlocal count
        count += 1
        if count == 4 * 5 + 3:  # within the sixth trial
            raise KeyboardInterrupt
        return suggested(self, trial, name)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Range, "suggested", stops)
        tune(small_search(trials=8), tmp_path / "left.log", 1)
    assert without_times(tune(small_search(trials=8), tmp_path / "left.log", 1)) == without_times(
        whole
    )


def test_trials_that_cannot_be_run_are_kept_with_the_reason_and_are_the_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_far_away(unit: Any) -> Judgement:
        if unit.task.horizon > 10:
            return Judgement(learning_steps=5, error="ValueError: too long")
        return Judgement((-float(unit.task.horizon),) * 2, 5, 2)

    monkeypatch.setattr("koopman_control.tuning.study._judged", fails_far_away)
    found = tune(small_search(trials=30, names=("horizon",)), tmp_path / "trials.log", 1)
    failed = [t for t in found.trials if t.found is not None and t.found.error]
    assert failed and all(t.values["horizon"] > 10 for t in failed)
    assert all(t.found is not None and t.found.learning_steps == 5 for t in failed)
    late = [t for t in found.trials[15:] if t in failed]
    assert len(late) < 5  # the sampler stays away
    assert found.best is not None and found.best.values["horizon"] == 5
    page = write_tuned(tmp_path, found).read_text("utf-8")
    assert "ValueError: too long" in page


@pytest.mark.usefixtures("quick")
def test_a_file_of_another_search_or_of_something_else_is_refused(tmp_path: Path) -> None:
    tune(small_search(trials=1), tmp_path / "trials.log", 1)
    with pytest.raises(ValueError, match=r"holds a search with episodes 1 \(now 3\)"):
        tune(small_search(episodes=3), tmp_path / "trials.log", 1)
    others = [b"something else\nand more\n" * 50, b'{"a": 1}\n', b"[1, 2]\n", bytes(range(256))]
    for name, content in [
        *((f"{n}.log", other) for n, other in enumerate(others)),
        ("a.db", b"x" * 999),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=r"is no file of trials, or it cannot be read"):
            tune(small_search(), tmp_path / name, 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="choose another folder"):
        tune(small_search(), tmp_path / "file" / "trials.log", 1)


@pytest.mark.usefixtures("quick")
def test_a_full_disk_loses_no_trial(tmp_path: Path) -> None:
    path = tmp_path / "trials.log"
    tune(small_search(trials=4), path, 1)
    size = path.stat().st_size
    with files_of_at_most(size + 1000), pytest.raises(FileNotWritableError, match="make room"):
        tune(small_search(trials=40), path, 1)
    found = tune(small_search(trials=40), path, 1)
    assert [t.found is not None for t in found.trials] == [True] * 40


def test_settings_are_those_of_the_task_and_change_nothing_else() -> None:
    task = TASKS["Pendulum"]
    assert list(settings_of(task, ("Q",))) == ["Q1"]
    every = settings_of(task)
    own = {name: setting.range(task).own for name, setting in every.items()}
    same = tuned(task, own)
    changed = {n for n, v in same.settings().items() if v != task.settings()[n]}
    assert changed <= {"name", "n_features", "steepness"}  # several candidates become one
    found = tuned(task, {"trust": 0.1, "guesses": 2, "rollout": "linear", "draws": 3})
    assert (found.rollout, found.coupling, found.n_draws) == ("linear", "linear", 3)
    assert found.mpc["cost"] == Cost(trust=0.1)
    assert found.mpc["search"] == Search(guesses=2, first_guesses=128)
    assert tuned(task, {"draws": 3}).n_draws == 1  # only linear roll-outs are averaged
    with pytest.raises(
        ValueError, match=r"'horizn', which is no setting; there are .* Did you mean horizon\?"
    ):
        tuned(task, {"horizn": 3})


def better(path: Path) -> Tuned:
    """A search whose second trial is better than the task."""
    values = {"features": 7, "horizon": 12, "R": 0.5, "Q1": 2.0}
    own = {"features": 5, "horizon": 10, "R": 1.0, "Q1": 1.0}
    rng = np.random.default_rng(0)
    given = rng.normal(-9.0, 1.0, 12)
    trials = tuple(
        Tried(n, v, Judgement(tuple(given[:4] + n), 480, 80, 900.0))
        for n, v in enumerate((own, values))
    )
    finals = {n - 1: Judgement(tuple(given + max(0, n - 1)), 720, 240, 900.0) for n in range(3)}
    return Tuned(small_search(), trials, finals, {"horizon": 0.7, "R": 0.3})


def test_what_is_better_becomes_a_file_that_run_takes(tmp_path: Path) -> None:
    found = better(tmp_path)
    assert found.best is found.trials[1]
    page = write_tuned(tmp_path / "out", found)
    text = page.read_text("utf-8")
    assert f"Trial 1 returns {number(found.finals[1].mean)} on seeds that no trial" in text
    assert f"{2 * (480 + 80) + 3 * (720 + 240):,} environment steps were spent" in text
    task = """from tests.tuning.small import small_search

SEARCH = small_search()
TASK = SEARCH.task
"""
    (tmp_path / "given.py").write_text(task)
    write_tuned(tmp_path / "out", found, tmp_path / "given.py")
    again = task_in_file(tmp_path / "out" / "task.py")
    assert again.settings() == found.task.settings()
    settings = json.loads((tmp_path / "out" / "settings.json").read_text("utf-8"))
    assert settings["settings"] == dict(found.trials[1].values)
    assert settings["steps"] == found.steps
    assert check_contents(tmp_path / "out")["task"] == found.search.task.name
    worse = replace(found, finals={-1: found.finals[1], 0: found.finals[0]})
    write_tuned(tmp_path / "out", worse)
    assert not (tmp_path / "out" / "task.py").exists()
    assert "No settings were found that are better" in page.read_text("utf-8")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["tune", *(str(argument) for argument in arguments)])


@pytest.mark.usefixtures("quick")
def test_the_command_writes_page_figures_and_task(tmp_path: Path) -> None:
    options = ("--trials", "12", "--settings", "R,horizon", "--jobs", "1", "--out", tmp_path)
    first = call("Pendulum", *options)
    assert first.exit_code == 0, first.output
    assert first.stderr.count("mean return") == 12
    assert f"koopman-control run {tmp_path / 'task.py'}" in first.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert {"tune.html", "settings.json", "task.py", "trials.log", "history.png"} <= names
    assert {"importance.png", "settings.png"} <= names
    assert task_in_file(tmp_path / "task.py").R < TASKS["Pendulum"].R
    second = call("Pendulum", *options)
    assert second.stdout == first.stdout
    assert "mean return" not in second.stderr
    refused = call("Pendulum", *options, "--episodes", "3")
    assert refused.exit_code == 1
    assert "episodes 10 (now 3)" in refused.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("koopman_control.tuning.tune", interrupted)
    result = call("Pendulum", "--out", tmp_path)
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
