"""Several workers get the environment as it is (Gymnasium #256, CleanRL #556)."""

import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import NormalizeObservation

from koopman_control import evaluate
from koopman_control.common.arrays import Array
from koopman_control.evaluation import RandomPolicy, ZeroPolicy, action_bounds

SEEDS = range(4)


def damper(gain: float) -> Any:
    """Make a controller that looks at what it observes; a class that no module knows by name."""

    class Damper:
        def reset(self) -> None:
            pass

        def act(self, observation: Array) -> Array:
            return np.array([-gain * observation[-1]]).clip(-2.0, 2.0)

    return Damper()


def returns(env: gym.Env[Any, Any], controller: Any, workers: int) -> Array:
    return evaluate(controller, env, SEEDS, workers=workers).returns


def test_fitted_statistics_of_a_wrapper_reach_the_workers() -> None:
    env = NormalizeObservation(gym.make("Pendulum-v1"))
    env.reset(seed=0)
    for u in np.linspace(-2.0, 2.0, 150, dtype=np.float32):
        env.step(np.array([u]))
    env.update_running_mean = False
    one = returns(env, damper(1.0), 1)
    np.testing.assert_array_equal(one, returns(env, damper(1.0), 2))
    fresh = returns(NormalizeObservation(gym.make("Pendulum-v1")), damper(1.0), 1)
    assert np.abs(one - fresh).max() > 1.0  # it does make a difference


def test_running_statistics_are_refused_with_what_to_do() -> None:
    env = NormalizeObservation(gym.make("Pendulum-v1"))
    with pytest.raises(ValueError, match=r"begins otherwise.*update_running_mean = False"):
        returns(env, damper(1.0), 2)


def test_a_changed_plant_reaches_the_workers() -> None:
    env: Any = gym.make("Pendulum-v1")
    env.unwrapped.g = 2.0
    one = returns(env, damper(1.0), 1)
    np.testing.assert_array_equal(one, returns(env, damper(1.0), 2))
    assert np.abs(one - returns(gym.make("Pendulum-v1"), damper(1.0), 1)).max() > 100.0


def test_so_does_one_that_pickles_only_what_it_was_made_with() -> None:
    env: Any = gym.make("Swimmer-v5", max_episode_steps=20)
    env.unwrapped.model.opt.viscosity = 1.0
    policy = RandomPolicy(action_bounds(env))
    one = returns(env, policy, 1)
    np.testing.assert_array_equal(one, returns(env, policy, 2))
    stock = returns(gym.make("Swimmer-v5", max_episode_steps=20), policy, 1)
    assert not np.allclose(one, stock, rtol=1e-3)


def test_an_environment_without_a_spec_is_copied() -> None:
    class Counter(gym.Env[Any, Any]):
        observation_space = gym.spaces.Box(-1e3, 1e3, (1,), np.float64)
        action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float64)
        gain = 1.0

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.x, self.steps = self.np_random.normal(size=1), 0
            return self.x, {}

        def step(self, action: Any) -> Any:
            self.x, self.steps = self.x + self.gain * action, self.steps + 1
            return self.x, -float(self.x[0] ** 2), False, self.steps >= 7, {}

    env = Counter()
    env.gain = 0.3
    np.testing.assert_array_equal(returns(env, damper(0.5), 1), returns(env, damper(0.5), 2))


def test_what_cannot_be_copied_is_refused_in_words() -> None:
    env: Any = gym.make("Pendulum-v1")
    env.unwrapped.lock = threading.Lock()
    same = returns(env, damper(1.0), 2)  # made anew from its spec, it is seen to be alike
    np.testing.assert_array_equal(same, returns(env, damper(1.0), 1))
    env.unwrapped.g = 2.0
    with pytest.raises(ValueError, match=r"cannot pickle .*it behaves otherwise.*workers=1"):
        returns(env, damper(1.0), 2)


def test_a_controller_that_cannot_travel_is_refused_in_words() -> None:
    controller: Any = ZeroPolicy([[-2.0], [2.0]])
    controller.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"ZeroPolicy that other processes cannot be given.*lock"):
        evaluate(controller, "Pendulum-v1", SEEDS, workers=2)
