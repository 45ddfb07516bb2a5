import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import typer

from examples.benchmarks import control
from koopman_control.tasks import TASKS
from koopman_control.tasks.run import Run, run_task

SMALL = replace(
    TASKS["koopman_envs/BilinearMotor-v0"],
    n_steps=100,
    first_steps=100,
    n_features=(10,),
    steepness=(0.25,),
)


class Runs:
    """Notes what is run; stops where it is told to, and misses the package of one environment."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.done: list[tuple[str, int]] = []
        self._stop_at = stop_at

    def __call__(self, task: Any, **settings: Any) -> Run:
        if task.env_id == "LunarLander-v3":
            raise gym.error.DependencyNotInstalled("Box2D is not installed")
        if len(self.done) == self._stop_at:
            raise KeyboardInterrupt
        self.done.append((task.env_id, settings["learning_seed"]))
        return run_task(task, **settings)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(SMALL, env_id="LunarLander-v3")
    monkeypatch.setattr(control, "TASKS", {absent.env_id: absent, SMALL.env_id: SMALL})


def run(
    monkeypatch: pytest.MonkeyPatch, runs: Runs, out: Path, episodes: int = 2
) -> dict[str, Any]:
    monkeypatch.setattr(control, "run_task", runs)
    control.main(learning_seeds=2, episodes=episodes, workers=1, out=out)
    table: dict[str, Any] = json.loads(out.read_text())
    return table


@pytest.mark.usefixtures("small")
def test_an_interrupted_table_goes_on_where_it_was_and_leaves_out_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "control.json"
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, Runs(stop_at=1), out)
    assert not out.exists()
    kept = json.loads((tmp_path / "control.partial.json").read_text())["tasks"]
    with pytest.raises(typer.BadParameter, match="another number of episodes"):
        run(monkeypatch, Runs(), out, episodes=3)

    rest = Runs()
    table = run(monkeypatch, rest, out)["tasks"]
    assert rest.done == [(SMALL.env_id, 1)]
    assert list(table[SMALL.env_id]) == ["0", "1"]
    assert table[SMALL.env_id]["0"] == kept[SMALL.env_id]["0"]
    assert [path.name for path in tmp_path.iterdir()] == ["control.json"]

    printed = capsys.readouterr().out.splitlines()
    assert "LunarLander-v3 is left out: Box2D is not installed" in printed
    head, _, last = printed[-3:]
    assert head.count("|") == last.count("|") == len(control.COLUMNS) + 1
    assert last.startswith(f"| {SMALL.env_id} | 100 | ")


def metrics(mean: float, violated: int | None) -> dict[str, Any]:
    total = None if violated is None else 0.25 * violated
    return {
        "return_mean": mean,
        "return_iqm": mean + 1.0,
        "return_worst": 2.0 * mean,
        "references": {"random": -900.0, "zero": -800.0, "optimum": -10.0},
        "normalised_score": 1.0 + mean / 1000.0,
        "violations": {"total": total, "episodes": violated},
        "learn_seconds": -mean,
        "act_us": {"p50": -mean, "p99": -2.0 * mean},
    }


@pytest.mark.usefixtures("small")
def test_a_row_shows_the_worst_learning_seed_and_the_violations_of_all() -> None:
    runs = [metrics(-20.0, 1), metrics(-30.0, 2), metrics(-10.0, 0)]
    assert control.row(SMALL.env_id, runs) == (
        "| koopman_envs/BilinearMotor-v0 | 100 | -30.00 | -29.00 | -60.00 | -10.00 (optimum) "
        "| 0.9700 | 0.75 in 3 episodes | 30.0 | 20 / 40 |"
    )


def test_violations_that_did_not_occur_differ_from_those_nobody_reports() -> None:
    assert control.violations([metrics(-1.0, 0)]) == "none"
    assert control.violations([metrics(-1.0, None)]) == "not reported"
