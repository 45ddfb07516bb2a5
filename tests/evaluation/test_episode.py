from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.evaluation import ZeroPolicy, action_bounds, episode, run_episode


def test_an_episode_records_exactly_what_happened(adder: Any, constant: Any) -> None:
    controller = constant([0.5])
    result = run_episode(controller, adder(), seed=2)
    np.testing.assert_array_equal(result.observations[:, 0], [0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    np.testing.assert_array_equal(result.actions, np.full((5, 1), 0.5))
    np.testing.assert_array_equal(result.rewards, [-1.5, -1.0, -0.5, 0.0, -0.5])
    assert (result.seed, result.episode_return, result.length) == (2, -3.5, 5)
    assert result.terminated
    assert controller.resets == 1
    assert result.observations.dtype == result.actions.dtype == np.float64


def test_actions_are_clipped_to_the_box_and_recorded_as_applied(adder: Any, constant: Any) -> None:
    low = run_episode(constant([-7.0]), adder(), seed=0)
    high = run_episode(constant(np.array([0.1], dtype=np.float32)), adder(), seed=0)
    np.testing.assert_array_equal(low.actions, np.full((5, 1), -1.0))
    np.testing.assert_array_equal(high.actions, np.full((5, 1), np.float32(0.1)))


def test_fallbacks_and_violations_are_counted(adder: Any, constant: Any) -> None:
    result = run_episode(constant([0.5]), adder(), seed=0)
    np.testing.assert_array_equal(result.fallbacks, [False, True, False, True, False])
    assert (result.violation, result.violation_steps) == (0.5 + 1.0 + 1.5, 3)


def test_an_environment_without_violations_reports_none(adder: Any) -> None:
    env = adder(defect="silent")
    result = run_episode(ZeroPolicy(action_bounds(env)), env, seed=0)
    assert (result.violation, result.violation_steps) == (None, 0)
    assert not result.fallbacks.any()


def test_only_the_controller_is_timed(adder: Any, constant: Any) -> None:
    seconds = run_episode(constant([0.0]), adder(), seed=0).act_seconds
    assert seconds.shape == (5,)
    assert (seconds > 0.0).all() and seconds.sum() < 1.0


def test_a_time_limit_ends_an_episode_without_terminating_it(constant: Any) -> None:
    env = gym.make("Pendulum-v1", max_episode_steps=3)
    result = run_episode(constant([0.0]), env, seed=1000)
    assert (result.length, result.terminated) == (3, False)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan], r"returned the action \[nan\] in step 0 of the episode with seed 4"),
        ([0.0, 0.0], r"shape \(2,\) in step 0 .* must return one of shape \(1,\)"),
        (0.0, r"shape \(\)"),
    ],
)
def test_bad_actions_are_refused(adder: Any, constant: Any, action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_episode(constant(action), adder(), seed=4)


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("observation", r"the observation \[nan\] in step 2 of the episode with seed 4"),
        ("reward", "the reward inf in step 2 of the episode with seed 4"),
    ],
)
def test_numbers_from_the_environment_must_be_finite(
    adder: Any, constant: Any, defect: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run_episode(constant([0.0]), adder(defect=defect), seed=4)


def test_an_episode_that_never_ends_is_an_error(
    adder: Any, constant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episode, "LONGEST_EPISODE", 10)
    with pytest.raises(ValueError, match="did not end within 10 steps"):
        run_episode(constant([0.0]), adder(length=11), seed=0)


def test_discrete_actions_are_refused(constant: Any) -> None:
    with pytest.raises(TypeError, match="discrete"):
        run_episode(constant([0.0]), gym.make("CartPole-v1"), seed=0)
