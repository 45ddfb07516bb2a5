from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koopman_control import KoopmanMPC
from koopman_control.autopilot.controller import Held
from koopman_control.common import FileFormatError, begin_episode
from koopman_control.tasks import TASKS, UnknownTaskError
from koopman_control.tasks.saved import load_learned, save_learned
from koopman_control.tasks.swimmer import SWIMMER
from koopman_control.tasks.untold import Untold
from koopman_control.trajectories import load_trajectories, save_trajectories
from tests.benchmark.tiny import tiny_task

SMALL_SWIMMER = replace(SWIMMER, n_steps=1150, first_steps=500, n_features=(10,))


@pytest.mark.parametrize("task", [tiny_task(), SMALL_SWIMMER], ids=["oscillator", "swimmer"])
def test_a_saved_controller_acts_as_the_learned_one(task: object, tmp_path: Path) -> None:
    assert isinstance(task, type(TASKS["Pendulum"]))
    if task.name == "Swimmer":
        pytest.importorskip("mujoco")
    learned = task.learn(3)
    save_learned(task, learned, 3, tmp_path)
    found, controller = load_learned(tmp_path, task)
    assert found is task
    observations = learned.data[-1].observations[:10]
    played = []
    for one in (learned.controller, controller):
        begin_episode(one, 0)
        played.append([one.act(observation) for observation in observations])
    np.testing.assert_array_equal(played[0], played[1])


def test_the_task_of_a_folder_is_found_by_its_name(tmp_path: Path) -> None:
    learned = tiny_task().learn(0)
    save_learned(tiny_task(), learned, 0, tmp_path)
    task, controller = load_learned(tmp_path)
    assert task is TASKS["VanDerPol"]
    np.testing.assert_array_equal(controller.model.A, learned.model.A)
    save_learned(replace(tiny_task(), name="Mine"), learned, 0, tmp_path)
    with pytest.raises(UnknownTaskError, match="there is no task 'Mine'"):
        load_learned(tmp_path)


def test_a_controller_that_holds_its_inputs_is_saved_without_its_pace(tmp_path: Path) -> None:
    learned = tiny_task().learn(0)
    controller = learned.controller
    assert isinstance(controller, KoopmanMPC)
    untold = Untold("koopman_envs/VanDerPol-v0", 100)
    assert not save_learned(untold, replace(learned, controller=Held(controller, 2)), 0, tmp_path)
    loaded = KoopmanMPC.load(tmp_path / "controller.npz")
    y = learned.data[-1].observations[0]
    controller.reset()
    np.testing.assert_array_equal(loaded.act(y), controller.act(y))
    with pytest.raises(ValueError, match=r"load it with KoopmanMPC\.load\(.*controller\.npz"):
        load_learned(tmp_path)


def test_a_folder_without_a_saved_run_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no saved run in .*: it has no model\.npz"):
        load_learned(tmp_path)
    task = tiny_task()
    save_learned(task, task.learn(0), 0, tmp_path)
    data = load_trajectories(tmp_path / "trajectories.npz")
    save_trajectories(tmp_path / "trajectories.npz", data)  # as an interrupted run leaves them
    with pytest.raises(FileFormatError, match="does not say of which task"):
        load_learned(tmp_path)
    (tmp_path / "trajectories.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"it has no trajectories\.npz"):
        load_learned(tmp_path)
