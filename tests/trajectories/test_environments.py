"""Environments that data can be collected from, and what is said of the others."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.trajectories import collect, require_continuous

BOX = gym.spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)


def test_an_unknown_id_is_a_value_error_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"'Pendulun-v1'.*Pendulum"):
        collect("Pendulun-v1", n_steps=1)
    with pytest.raises(TypeError, match=r"env is 3; expected a gymnasium\.Env"):
        collect(3, n_steps=1)  # type: ignore[arg-type]


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(TypeError, match=r"action space is Discrete\(2\); expected a Box"):
        collect("CartPole-v1", n_steps=1)


def environment(
    observation_space: gym.Space[Any] = BOX, action_space: gym.Space[Any] = BOX
) -> gym.Env[Any, Any]:
    """Return an environment of which nothing but its spaces is looked at."""
    env: gym.Env[Any, Any] = gym.Env()
    env.observation_space, env.action_space = observation_space, action_space
    return env


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.Box(0, 255, (8, 8, 3), np.uint8), "images are not supported"),
        (gym.spaces.Box(0, 255, (8,), np.uint8), "floating-point"),
        (gym.spaces.Dict({"x": gym.spaces.Discrete(2)}), "FlattenObservation"),
        (gym.spaces.Discrete(3), "discrete observations are not supported"),
    ],
)
def test_observations_that_are_no_real_vector_are_refused(
    space: gym.Space[Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        collect(environment(observation_space=space), n_steps=1)


def test_an_unbounded_action_box_is_refused() -> None:
    space = gym.spaces.Box(-np.inf, np.inf, (1,), dtype=np.float32)
    with pytest.raises(ValueError, match="unbounded; give it bounds"):
        collect(environment(action_space=space), n_steps=1)


def test_bounds_that_mean_no_bound_become_infinite() -> None:
    high = np.array([3.4028235e38, 1.0], np.float32)
    env = environment(observation_space=gym.spaces.Box(-high, high, dtype=np.float32))
    observations, _ = require_continuous(env)
    np.testing.assert_array_equal(observations, [[-np.inf, -1.0], [np.inf, 1.0]])
