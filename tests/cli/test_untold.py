"""Environments without a ready task, on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from koopman_control.cli import app
from koopman_control.common import check_contents
from koopman_control.tasks.saved import load_learned
from koopman_control.trajectories import load_trajectories, total_steps

DUFFING = "koopman_envs/Duffing-v0"


def call(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Nested(gym.Env[Any, Any]):
    """A mass on a spring that observes a dict, and breaks in the step that it is told to.

    Its reward can be what is given instead, and its episodes can end at once.
    """

    observation_space = gym.spaces.Dict(
        position=gym.spaces.Box(-np.inf, np.inf, ()), speed=gym.spaces.Box(-np.inf, np.inf, (1,))
    )
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))
    dt = 0.1

    def __init__(
        self,
        breaks: int | None = None,
        reward: float | None = None,
        ends: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.breaks, self.reward, self.ends = breaks, reward, ends
        self.render_mode, self.steps = render_mode, 0

    def _observed(self) -> dict[str, Any]:
        position, speed = self.state.astype(np.float32)
        return {"position": position, "speed": np.array([speed])}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1.0, 1.0, 2)
        return self._observed(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == self.breaks:
            raise RuntimeError("the spring is broken")
        position, speed = self.state
        speed += 0.1 * (float(action[0]) - position)
        self.state = np.array([position + 0.1 * speed, speed])
        reward = -float(position**2) if self.reward is None else self.reward
        return self._observed(), reward, self.ends, False, {}


FAULTS: dict[str, dict[str, Any]] = {
    "NaN-v0": {"reward": float("nan")},
    "Nothing-v0": {"reward": 0.0},
    "AtOnce-v0": {"ends": True},
}


@pytest.fixture
def registered() -> Iterator[None]:
    gym.register("Nested-v0", lambda **arguments: Nested(**arguments))
    gym.register("Breaking-v0", lambda **arguments: Nested(**arguments), kwargs={"breaks": 150})
    for name, fault in FAULTS.items():
        gym.register(name, lambda **arguments: Nested(**arguments), kwargs=fault)
    yield
    for name in ("Nested-v0", "Breaking-v0", *FAULTS):
        del gym.registry[name]


def test_describe_prints_a_line_for_each_finding() -> None:
    result = call("describe", "Pendulum-v1", "--steps", 300)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("from 300 steps:\nangles    y0 and y1 are cosine and sine [off")
    assert "the reward is a quadratic of y0, y1, y2" in result.stdout


def test_describe_prints_json_and_nothing_else() -> None:
    result = call("describe", "Pendulum-v1", "--steps", 200, "--json")
    assert json.loads(result.stdout)["findings"]["angles"]["value"] == [[0, 1]]


def test_a_dict_keeps_its_names_and_an_episode_without_end_is_cut(registered: None) -> None:
    result = call("describe", "Nested-v0", "--steps", 200, "--max-episode-steps", 50)
    assert result.exit_code == 0, result.output
    assert "speed is the speed of position" in result.stdout


def test_an_environment_that_breaks_is_told_in_a_sentence(registered: None) -> None:
    result = call("describe", "Breaking-v0", "--steps", 300)
    assert result.exit_code == 1
    assert "raised RuntimeError in step 149" in result.output
    assert "the spring is broken" in result.output


@pytest.mark.parametrize(
    ("env_id", "status", "said"),
    [
        ("NaN-v0", 1, "gave the reward nan in step 0"),
        ("Nothing-v0", 0, "the reward was 0 in all 150 steps, so there is nothing to learn from"),
        ("AtOnce-v0", 0, "perhaps: every episode ends at once"),
    ],
)
def test_rewards_and_ends_of_no_use_are_told(
    registered: None, env_id: str, status: int, said: str
) -> None:
    result = call("describe", env_id, "--steps", 150)
    assert result.exit_code == status
    assert said in result.output


def test_a_run_that_breaks_keeps_what_was_collected_and_says_how_to_go_on(
    registered: None, tmp_path: Path
) -> None:
    options = ("--budget", 1000, "--max-episode-steps", 50)
    result = call("run", "Breaking-v0", *options, "--episodes", 1, "--output", tmp_path)
    assert result.exit_code == 1
    assert "the spring is broken" in result.stderr
    (kept,) = tmp_path.glob("*/trajectories.npz")
    assert total_steps(load_trajectories(kept)) == 149
    assert "run Breaking-v0 --budget 1000 --max-episode-steps 50 --resume" in result.stderr


def test_a_module_is_imported_that_registers_the_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_suite.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "gymnasium.register('MyPendulum-v3', PendulumEnv, max_episode_steps=100)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = call("describe", "MyPendulum-v3", "--import", "my_suite", "--steps", 150)
    assert result.exit_code == 0, result.output
    del gym.registry["MyPendulum-v3"], sys.modules["my_suite"]
    result = call("describe", "my_suite:MyPendulum-v3", "--steps", 150)
    assert result.exit_code == 0, result.output
    del gym.registry["MyPendulum-v3"], sys.modules["my_suite"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("describe", "CartPole-v1"), "discrete actions are not supported"),
        (("run", "CartPole-v1"), "discrete actions are not supported"),
        (("run", "Pendulun-v1"), "Did you mean Pendulum-v1?"),
        (("run", "dm_control/cartpole-swingup-v0"), "--import shimmy"),
        (
            ("describe", "Pendulum-v1", "--import", "no_such_suite"),
            "No module named 'no_such_suite'",
        ),
        (("run", "Pendulum", "--budget", "500"), "--budget is for environments of which nothing"),
        (("run", "Pendulum", "--import", "os"), "add --knowledge none to leave it aside"),
        (("run", "no_such_task.py"), "there is no file no_such_task.py"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_file_without_a_task_is_told_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("")
    assert "holds 0 tasks; expected one Task" in call("run", file).output
    file.write_text("1 / 0")
    assert "cannot be imported: ZeroDivisionError" in call("run", file).output


@pytest.mark.slow
def test_a_written_task_is_corrected_and_run(tmp_path: Path) -> None:
    file = tmp_path / "my_duffing.py"
    assert call("describe", DUFFING, "--steps", 600, "--write-task", file).exit_code == 0
    text = file.read_text("utf-8")
    assert "y[2],  # y0" in text  # the set-point, read from the reward
    for old, new in (("n_steps=5000", "n_steps=300"), ("first_steps=2500", "first_steps=200")):
        assert old in text
        text = text.replace(old, new)
    text = text.replace("horizon=50", "horizon=15").replace("n_rounds=2", "n_rounds=0")
    for word in ("relifted", "bilinear"):
        text = text.replace(f'"{word}"', '"linear"')
    file.write_text(text, "utf-8")
    result = call("run", file, "--episodes", 2, "--workers", 2, "--output", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["data_steps"] == 300
    assert metrics["return_mean"] > metrics["references"]["zero"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    parent = tmp_path_factory.mktemp("runs")
    options = ("--budget", 200, "--max-episode-steps", 40, "--episodes", 2, "--workers", 1)
    task = ("--write-task", parent / "found.py")
    result = call("run", DUFFING, "--knowledge", "none", *options, *task, "--output", parent)
    assert result.exit_code == 0, result.output
    (folder,) = parent.glob("Duffing-*")
    return result, folder


@pytest.mark.slow
def test_a_run_that_is_told_nothing_ends_with_the_same_table(learned: tuple[Result, Path]) -> None:
    result, _ = learned
    assert "environment steps used" in result.stdout
    assert "200" in result.stdout
    assert "score" not in result.stdout  # the stored reference is for whole episodes


@pytest.mark.slow
def test_its_folder_is_complete(learned: tuple[Result, Path]) -> None:
    _, folder = learned
    names = {"report.html", "metrics.json", "model.npz", "trajectories.npz", "findings.json"}
    assert names <= {path.name for path in folder.iterdir()}
    assert (folder.parent / "found.py").is_file()
    check_contents(folder)
    page = (folder / "report.html").read_text("utf-8")
    assert "What was found out" in page


@pytest.mark.slow
def test_its_controller_is_not_made_again_from_the_model_alone(
    learned: tuple[Result, Path],
) -> None:
    with pytest.raises(ValueError, match="was told nothing, and its controller is made of more"):
        load_learned(learned[1])
