import numpy as np
import pytest

from koopman_control.trajectories import Trajectory, stretches

RUN = Trajectory(
    np.array([[0.0], [1.0], [9.0], [2.0], [3.0], [4.0], [8.0], [5.0]]),
    np.arange(7.0)[:, None],
    rewards=np.arange(7.0),
    terminated=True,
)


def test_only_steps_between_described_observations_are_left() -> None:
    first, second = stretches([RUN], lambda y: y[:, 0] < 6.0)
    assert first.observations.ravel().tolist() == [0.0, 1.0]
    assert first.actions.ravel().tolist() == [0.0]
    assert second.observations.ravel().tolist() == [2.0, 3.0, 4.0]
    assert second.actions.ravel().tolist() == [3.0, 4.0]
    assert second.rewards is not None
    assert second.rewards.tolist() == [3.0, 4.0]


def test_the_observation_that_ended_a_run_is_left_out() -> None:
    parts = stretches([RUN], lambda y: y[:, 0] != 9.0)
    assert parts[1].observations.ravel().tolist() == [2.0, 3.0, 4.0, 8.0]
    assert [part.terminated for part in parts] == [False, False]
    assert [part.truncated for part in parts] == [True, True]


def test_a_wrong_number_of_truth_values_is_refused() -> None:
    with pytest.raises(ValueError, match="one truth value for each"):
        stretches([RUN], lambda y: y < 6.0)


def test_leaving_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no step at all"):
        stretches([RUN], lambda y: y[:, 0] > 100.0)
