"""Environments of other authors as continuous control wants them."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.evaluation import RandomPolicy, action_bounds, evaluate
from koopman_control.trajectories import adapted, collect, require_continuous

REAL = gym.spaces.Box(-1.0, 1.0, (2,), dtype=np.float64)


class Walk(gym.Env[Any, Any]):
    """Adds actions up; what it observes and takes is what its spaces say, and it never ends."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.taken: list[Any] = []
        self.render_mode = None

    def _observed(self) -> Any:
        numbers = np.arange(1.0, 1.0 + gym.spaces.flatdim(self.observation_space))
        return gym.spaces.unflatten(self.observation_space, numbers)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._observed(), {}

    def step(self, action: Any) -> Any:
        self.taken.append(action)
        return self._observed(), 0.0, False, False, {}


def box(*shape: int) -> gym.spaces.Box:
    return gym.spaces.Box(-np.inf, np.inf, shape, dtype=np.float64)


def test_an_environment_that_is_right_is_returned_as_it_is() -> None:
    env = gym.make("Pendulum-v1")
    assert adapted(env) is env


def test_a_dict_is_flattened_and_keeps_its_names() -> None:
    space = gym.spaces.Dict(
        {"position": box(3), "height": box(), "velocity": box(2), "more": gym.spaces.Dict(a=box(1))}
    )
    env = adapted(Walk(space, REAL))
    (run,) = collect(env, n_steps=3)
    assert run.observation_names == (
        *("height", "more.a", "position[0]", "position[1]", "position[2]"),
        *("velocity[0]", "velocity[1]"),
    )
    assert run.observations[0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert np.isinf(require_continuous(env)[0]).all()


def test_a_tuple_goes_by_numbers_and_a_matrix_by_rows_and_columns() -> None:
    env = adapted(Walk(gym.spaces.Tuple([box(2), box(1)]), REAL))
    assert collect(env, n_steps=1)[0].observation_names == ("0[0]", "0[1]", "1")
    env = adapted(Walk(box(2, 2), REAL))
    assert collect(env, n_steps=1)[0].observation_names == ("y[0,0]", "y[0,1]", "y[1,0]", "y[1,1]")


def test_actions_of_a_dict_come_apart_again() -> None:
    env = adapted(Walk(box(1), gym.spaces.Dict({"left": REAL, "right": REAL})))
    assert require_continuous(env)[1].shape == (2, 4)
    env.reset(seed=0)
    env.step(np.array([0.1, 0.2, 0.3, 0.4]))
    (action,) = env.unwrapped.taken  # type: ignore[attr-defined]
    assert action["left"].tolist() == [0.1, 0.2]
    assert action["right"].tolist() == [0.3, 0.4]


def test_an_input_without_bounds_gets_some_and_it_is_said() -> None:
    space = gym.spaces.Box(
        np.array([-np.inf, 0.0, -np.inf, 5.0]),
        np.array([np.inf, np.inf, -3.0, 6.0]),
        dtype=np.float64,
    )
    with pytest.warns(UserWarning, match="inputs without bounds; -1 and 1 are assumed"):
        env = adapted(Walk(box(1), space))
    low, high = require_continuous(env)[1]
    assert low.tolist() == [-1.0, 0.0, -4.0, 5.0]
    assert high.tolist() == [1.0, 1.0, -3.0, 6.0]


def test_an_episode_without_end_gets_one() -> None:
    env = adapted(Walk(box(1), REAL), max_episode_steps=7)
    assert [len(run) for run in collect(env, n_steps=14)] == [7, 7]
    result = evaluate(RandomPolicy(action_bounds(env)), env, range(1000, 1002), 1)
    assert [len(episode.actions) for episode in result.episodes] == [7, 7]


def test_an_adapted_environment_goes_to_other_processes() -> None:
    env = adapted(gym.make("Pendulum-v1"), max_episode_steps=5)
    result = evaluate(RandomPolicy(action_bounds(env)), env, range(1000, 1004), 2)
    assert len(result.returns) == 4


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), REAL, r"it is a picture.*not supported"),
        (
            gym.spaces.Dict({"camera": gym.spaces.Box(0, 255, (8, 8), np.uint8), "x": box(1)}),
            REAL,
            r"its part 'camera' is a picture of shape \(8, 8\)",
        ),
        (box(3000), REAL, "picture"),
        (
            box(1),
            gym.spaces.Discrete(3),
            r"action space is Discrete\(3\).*it is discrete: discrete",
        ),
        (
            box(1),
            gym.spaces.Tuple([REAL, gym.spaces.Discrete(2)]),
            "its part '1' is discrete",
        ),
        (gym.spaces.Discrete(3), REAL, "observation space is .* it is discrete"),
        (gym.spaces.Text(5), REAL, "it is a Text: turn it into numbers"),
    ],
)
def test_pictures_and_symbols_are_refused_in_one_sentence(
    observations: gym.Space[Any], actions: gym.Space[Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        adapted(Walk(observations, actions))


def test_nothing_is_said_where_nothing_is_assumed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapted(Walk(gym.spaces.Dict(x=box(1)), REAL), max_episode_steps=3)
