"""Trajectories go to other packages and come back as they were."""

import types
from pathlib import Path

import numpy as np
import pytest

from koopman_control.trajectories import (
    Trajectory,
    from_minari,
    from_table,
    to_frame,
    to_minari,
)


def runs() -> list[Trajectory]:
    rng = np.random.default_rng(0)
    return [
        Trajectory(
            rng.normal(size=(steps + 1, 2)),
            rng.uniform(-1.0, 1.0, (steps, 1)),
            rewards=rng.normal(size=steps),
            dt=0.5,
            action_bounds=np.array([[-1.0], [1.0]]),
            observation_names=("x (m)", "v (m/s)"),
            action_names=("force (N)",),
            terminated=steps == 4,
        )
        for steps in (6, 4)
    ]


def test_a_frame_is_read_again_with_units_in_its_names() -> None:
    pytest.importorskip("pandas")
    frame = to_frame(runs())
    back, _ = from_table(frame, ["x (m)", "v (m/s)"], ["force (N)"], time="time", run="run")
    for run, other in zip(runs(), back, strict=True):
        np.testing.assert_allclose(other.observations, run.observations, atol=1e-12)
        np.testing.assert_allclose(other.actions, run.actions, atol=1e-12)
        assert other.observation_names == run.observation_names


def test_xarray_data_sets_are_tables() -> None:
    xarray = pytest.importorskip("xarray")
    rows = {"t": np.arange(4.0), "y": np.arange(4.0) ** 2, "u": np.ones(4)}
    table = xarray.Dataset({name: ("row", values) for name, values in rows.items()})
    data, _ = from_table(table, ["y"], ["u"], time="t")
    np.testing.assert_array_equal(data[0].observations[:, 0], rows["y"])


def test_episodes_go_to_minari_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = to_minari(runs(), "koopman/test-v0")
    for run, other in zip(runs(), from_minari(dataset), strict=True):
        np.testing.assert_array_equal(other.observations, run.observations)
        np.testing.assert_array_equal(other.actions, run.actions)
        np.testing.assert_array_equal(other.rewards, run.rewards)
        assert other.terminated == run.terminated
    assert len(from_minari("koopman/test-v0", 1)) == 1


def test_spaces_that_are_no_flat_box_are_refused() -> None:
    image = types.SimpleNamespace(shape=(3, 3))
    dataset = types.SimpleNamespace(observation_space=image, action_space=image)
    with pytest.raises(ValueError, match="expected a Minari data set with a flat Box"):
        from_minari(dataset)
