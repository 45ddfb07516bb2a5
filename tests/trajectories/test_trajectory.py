import dataclasses
from typing import Any

import numpy as np
import pytest

from koopman_control.trajectories import Trajectory, check_trajectories, total_steps


def example(steps: int = 4, **fields: Any) -> Trajectory:
    observations = fields.pop("observations", np.arange(2.0 * (steps + 1)).reshape(-1, 2))
    actions = fields.pop("actions", np.linspace(-1, 1, steps)[:, None])
    return Trajectory(observations, actions, **fields)


def test_lists_become_read_only_float64_arrays() -> None:
    run = Trajectory([[0], [1], [3]], [[1], [2]], rewards=[0, 1])  # type: ignore[arg-type]
    assert run.rewards is not None
    for array in (run.observations, run.actions, run.rewards):
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0


def test_later_changes_of_the_source_do_not_reach_the_trajectory() -> None:
    source = np.zeros((3, 1))
    run = Trajectory(source, np.zeros((2, 1)))
    source[:] = 1.0
    assert not run.observations.any()


def test_its_length_is_the_number_of_steps_and_it_prints_in_one_line() -> None:
    run = example(4, dt=0.1)
    assert len(run) == 4
    assert repr(run) == "Trajectory(4 steps, 2 observations, 1 actions, dt=0.1)"


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        example().dt = 1.0  # type: ignore[misc]


def test_replacing_a_field_checks_again() -> None:
    with pytest.raises(ValueError, match="dt"):
        dataclasses.replace(example(), dt=-1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"observations": np.zeros((4, 2))}, "4 rows for 4 actions; expected 5"),
        ({"observations": np.zeros((5, 2, 2))}, "observations has 3 dimensions"),
        ({"observations": np.zeros((5, 0))}, "at least one of each"),
        ({"observations": np.full((5, 2), np.nan)}, "observations holds nan .* row 0"),
        ({"actions": np.zeros((0, 1)), "observations": np.zeros((1, 2))}, "at least one step"),
        ({"rewards": np.zeros(5)}, r"rewards has shape \(5,\); expected \(4\)"),
        ({"dt": 0.0}, "dt is 0.0"),
        ({"action_bounds": [[-0.5], [0.5]]}, "actions holds -1.0 in row 0, column 0"),
        ({"action_bounds": [[1.0], [-1.0]]}, "low 1.0 above high -1.0"),
        ({"observation_bounds": [[0.0], [1.0]]}, "observation_bounds has shape"),
        ({"observation_names": ("x", "x")}, "2 different names"),
        ({"action_names": ("u", "v")}, "1 different names"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example(4, **fields)


def test_a_text_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match="a text for each entry"):
        example(action_names="u")


def test_actions_rounded_to_float32_stay_within_their_bounds() -> None:
    high = 0.1
    actions = np.full((4, 1), np.float32(high), dtype=np.float32)
    assert actions[0, 0].astype(np.float64) > high
    example(4, actions=actions, action_bounds=[[-high], [high]])


def test_unknown_bounds_are_infinite() -> None:
    run = example(observation_bounds=[[-np.inf, 0.0], [np.inf, 100.0]])
    assert run.observation_bounds is not None
    np.testing.assert_array_equal(run.observation_bounds, [[-np.inf, 0.0], [np.inf, 100.0]])


def test_one_trajectory_is_a_list_of_one() -> None:
    run = example()
    assert check_trajectories(run) == [run]
    assert check_trajectories(iter([run, run])) == [run, run]


def test_steps_are_counted_over_all_trajectories() -> None:
    assert total_steps([example(3), example(4)]) == 7


def test_trajectories_of_different_systems_are_refused() -> None:
    other = Trajectory(np.zeros((3, 3)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"data\[1\] has 3 as its observation columns"):
        check_trajectories([example(), other])
    with pytest.raises(ValueError, match=r"data\[1\] has 0.1 as its dt"):
        check_trajectories([example(), example(dt=0.1)])


def test_what_is_no_trajectory_is_refused() -> None:
    with pytest.raises(ValueError, match="data is empty"):
        check_trajectories([])
    with pytest.raises(TypeError, match=r"data\[0\] is a ndarray"):
        check_trajectories([np.zeros(3)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="data is a int"):
        check_trajectories(3)  # type: ignore[arg-type]
