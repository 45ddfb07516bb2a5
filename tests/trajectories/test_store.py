import dataclasses
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common import FileFormatError, save_npz
from koopman_control.trajectories import Trajectory, load_trajectories, save_trajectories


def runs() -> list[Trajectory]:
    rng = np.random.default_rng(0)
    bare = Trajectory(rng.normal(size=(3, 2)), rng.uniform(-1, 1, size=(2, 1)), dt=0.1)
    full = Trajectory(
        rng.normal(size=(6, 2)),
        rng.uniform(-1, 1, size=(5, 1)),
        rewards=rng.normal(size=5),
        dt=0.1,
        observation_bounds=np.array([[-np.inf, -8.0], [np.inf, 8.0]]),
        action_bounds=np.array([[-1.0], [1.0]]),
        terminated=True,
        seed=2**32 - 1,
        env_id="koopman_envs/VanDerPol-v0",
        observation_names=("x", "µ"),
        action_names=("u",),
    )
    return [bare, full, bare, full]


def assert_same(a: Trajectory, b: Trajectory) -> None:
    for field in dataclasses.fields(Trajectory):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right, field.name


def test_trajectories_come_back_to_the_last_bit(tmp_path: Path) -> None:
    save_trajectories(tmp_path / "t.npz", runs())
    loaded = load_trajectories(tmp_path / "t.npz")
    assert len(loaded) == 4
    for a, b in zip(runs(), loaded, strict=True):
        assert_same(a, b)


def test_a_single_trajectory_can_be_saved(tmp_path: Path) -> None:
    save_trajectories(tmp_path / "t.npz", runs()[0])
    assert_same(load_trajectories(tmp_path / "t.npz")[0], runs()[0])


def test_a_file_that_misses_rows_is_refused(tmp_path: Path) -> None:
    save_npz(tmp_path / "t.npz", "trajectories", 2, {"lengths": np.array([3])}, {})
    with pytest.raises(FileFormatError, match="whole trajectories"):
        load_trajectories(tmp_path / "t.npz")
