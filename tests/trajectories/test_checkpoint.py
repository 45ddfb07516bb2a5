"""An interrupted collection goes on, and ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TransformObservation

from koopman_control.common import Array, FileFormatError
from koopman_control.trajectories import (
    CollectionInterrupted,
    HeldUniform,
    OrnsteinUhlenbeck,
    Trajectory,
    collect,
    save_trajectories,
    total_steps,
)

ENV = "Pendulum-v1"  # 200 steps an episode


class Proportional:
    """A controller with a memory, so that a missing reset would show."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain, self.last = gain, 0.0

    def reset(self) -> None:
        self.last = 0.0

    def act(self, observation: Array) -> Array:
        self.last = 0.5 * self.last - self.gain * float(observation[1])
        return np.array([self.last])


def stopped(at: int, **kwargs: Any) -> CollectionInterrupted:
    def stop(steps: int) -> None:
        if steps == at:
            raise KeyboardInterrupt

    with pytest.raises(CollectionInterrupted) as caught:
        collect(ENV, on_step=stop, **kwargs)
    return caught.value


def assert_same(a: list[Trajectory], b: list[Trajectory], folder: Path) -> None:
    save_trajectories(folder / "a.npz", a)
    save_trajectories(folder / "b.npz", b)
    assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()


def test_only_what_was_not_finished_is_collected_again(tmp_path: Path) -> None:
    call: dict[str, Any] = {"n_steps": 700, "seed": 5, "checkpoint": tmp_path / "kept"}
    assert total_steps(stopped(450, **call).trajectories) == 450
    counted: list[int] = []
    found = collect(ENV, on_step=counted.append, **call)
    assert counted == list(range(401, 701))
    assert_same(found, collect(ENV, n_steps=700, seed=5), tmp_path)


def test_a_second_interruption_carries_all_that_was_collected(tmp_path: Path) -> None:
    call: dict[str, Any] = {"n_steps": 900, "checkpoint": tmp_path / "kept"}
    stopped(250, **call)
    assert total_steps(stopped(650, **call).trajectories) == 650
    assert_same(collect(ENV, **call), collect(ENV, n_steps=900), tmp_path)


def test_controllers_with_noise_go_on_as_well(tmp_path: Path) -> None:
    call: dict[str, Any] = {"n_episodes": 3, "noise": OrnsteinUhlenbeck(), "seed": 2}
    stopped(410, policy=Proportional(), checkpoint=tmp_path / "kept", **call)
    found = collect(ENV, Proportional(), checkpoint=tmp_path / "kept", **call)
    assert_same(found, collect(ENV, Proportional(), **call), tmp_path)


def test_a_finished_collection_is_only_read(tmp_path: Path) -> None:
    call: dict[str, Any] = {"n_steps": 500, "checkpoint": tmp_path / "kept"}
    first, counted = collect(ENV, **call), list[int]()
    assert_same(collect(ENV, on_step=counted.append, **call), first, tmp_path)
    assert counted == []


SCRIPT = """
import os, signal, sys
from koopman_control.trajectories import collect, save_trajectories
at, folder, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def kill(steps):
    if steps == at:
        os.kill(os.getpid(), signal.SIGKILL)
save_trajectories(out, collect("Pendulum-v1", n_steps=700, seed=1, on_step=kill, checkpoint=folder))
"""


def test_a_killed_process_leaves_what_the_same_command_goes_on_from(tmp_path: Path) -> None:
    def run(at: int, folder: str) -> int:
        arguments = [str(at), str(tmp_path / folder), str(tmp_path / f"{folder}.npz")]
        return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=False).returncode

    assert run(0, "whole") == 0
    assert run(250, "killed") == -signal.SIGKILL
    assert run(650, "killed") == -signal.SIGKILL
    assert not (tmp_path / "killed.npz").exists()
    assert run(0, "killed") == 0
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"n_steps": 800},
        {"env": "koopman_envs/Duffing-v0"},
        {"env": TransformObservation(gym.make(ENV), lambda y: 0.5 * y, None)},  # of the same id
        {"policy": HeldUniform(hold=2)},
        {"policy": Proportional()},
        {"until": lambda observation: False},
    ],
)
def test_a_checkpoint_of_another_collection_is_refused(
    other: dict[str, Any], tmp_path: Path
) -> None:
    call: dict[str, Any] = {"env": ENV, "n_steps": 500, "checkpoint": tmp_path}
    collect(**call)
    with pytest.raises(ValueError, match=r"is of another collection.*choose another folder"):
        collect(**call | other)


def test_another_controller_is_noticed_by_what_it_does(tmp_path: Path) -> None:
    collect(ENV, Proportional(1.0), n_steps=300, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="is of another collection"):
        collect(ENV, Proportional(1.0 + 1e-6), n_steps=300, checkpoint=tmp_path)


def test_a_damaged_episode_is_refused_and_collected_again_once_deleted(tmp_path: Path) -> None:
    call: dict[str, Any] = {"n_steps": 700, "checkpoint": tmp_path / "kept"}
    whole = collect(ENV, **call)
    damaged = tmp_path / "kept" / "episode-000001.npz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 4
    damaged.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"episode-000001.npz .*make it again"):
        collect(ENV, **call)
    damaged.unlink()
    assert_same(collect(ENV, **call), whole, tmp_path)


def test_files_that_a_kill_left_half_written_are_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".episode-000000.npz.0123.tmp").write_bytes(b"half")
    collect(ENV, n_steps=100, checkpoint=tmp_path)
    assert os.listdir(tmp_path) == ["episode-000000.npz"]
