"""Tasks written from what was found out."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from koopman_control.autopilot import find
from koopman_control.tasks import Task
from koopman_control.tasks.untold import Untold
from koopman_control.tasks.writing import write_task
from koopman_control.trajectories import HeldUniform, collect


def written(path: Path, env_id: str, n_steps: int = 600) -> Task:
    """Look into an environment, write its task and import it."""
    data = collect(env_id, HeldUniform((1, 10)), n_steps=n_steps, seed=0)
    spec = importlib.util.spec_from_file_location(
        "written", write_task(path / "written.py", Untold(env_id, n_steps=800), find(data), data)
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.TASK, Task)
    return module.TASK


def test_the_weights_of_a_quadratic_reward_are_read_from_it(tmp_path: Path) -> None:
    task = written(tmp_path, "Pendulum-v1")
    assert task.angles == ((0, 1),)
    assert task.Q == pytest.approx((1.0, 0.1), rel=1e-3)  # as its documentation says
    assert task.R == pytest.approx(0.001, rel=1e-2)
    assert task.n_steps == 800
    assert task.name == "PendulumWritten"


def test_a_target_that_is_a_goal_in_the_observation_is_a_function_of_it(tmp_path: Path) -> None:
    task = written(tmp_path, "koopman_envs/CartPoleSwingUp-v0", 1000)
    assert callable(task.reference)
    y = np.array([0.3, 0.0, 1.0, 0.0, 0.0, -0.7])
    assert task.reference(y) == pytest.approx([-0.7, 0.0, 0.0, 0.0])
    assert task.ignored == (0,)  # the cart's position


def test_columns_that_the_reward_is_not_told_by_weigh_nothing(tmp_path: Path) -> None:
    task = written(tmp_path, "Reacher-v5", 1000)
    weighty = [state for state, weight in enumerate(task.Q) if weight > 0.0]
    assert weighty == [4, 5]  # the way from the goal to the tip


def test_a_reward_for_staying_alive_keeps_away_from_the_end(tmp_path: Path) -> None:
    task = written(tmp_path, "InvertedPendulum-v5")
    assert np.argmax(task.Q) == 1
    assert task.Q[1] == pytest.approx(1.0 / 0.2**2, rel=0.1)


def test_the_file_says_what_was_found_and_how_to_run_it(tmp_path: Path) -> None:
    written(tmp_path, "Pendulum-v1")
    text = (tmp_path / "written.py").read_text("utf-8")
    assert "koopman-control run written.py" in text
    assert "- angles: y0 and y1 are cosine and sine." in text
