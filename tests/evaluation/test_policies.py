import numpy as np
import pytest

from koopman_control.common.protocols import Controller, begin_episode
from koopman_control.evaluation import RandomPolicy, ZeroPolicy

BOX = [[-2.0, 1.0], [2.0, 3.0]]
NOTHING = np.zeros(3)


def _actions(policy: RandomPolicy, count: int = 4) -> np.ndarray:
    return np.stack([policy.act(NOTHING) for _ in range(count)])


def test_both_baselines_are_controllers() -> None:
    assert isinstance(RandomPolicy(BOX), Controller)
    assert isinstance(ZeroPolicy(BOX), Controller)


def test_the_random_policy_fills_the_action_box_evenly() -> None:
    actions = _actions(RandomPolicy(BOX), 4000)
    assert (actions >= BOX[0]).all() and (actions <= BOX[1]).all()
    np.testing.assert_allclose(actions.mean(axis=0), [0.0, 2.0], atol=0.1)
    np.testing.assert_allclose(actions.std(axis=0), [4 / 12**0.5, 2 / 12**0.5], rtol=0.05)


def test_an_episode_seed_decides_the_random_actions_whatever_came_before() -> None:
    fresh, used = RandomPolicy(BOX, seed=7), RandomPolicy(BOX, seed=7)
    _actions(used)
    used.reset()
    begin_episode(fresh, 1000)
    begin_episode(used, 1000)
    np.testing.assert_array_equal(_actions(fresh), _actions(used))


def test_random_episodes_differ_with_and_without_a_seed_of_their_own() -> None:
    policy = RandomPolicy(BOX)
    streams = [_actions(policy)]
    policy.reset()
    streams.append(_actions(policy))
    for seed in (0, 1):
        begin_episode(policy, seed)
        streams.append(_actions(policy))
    streams.append(_actions(RandomPolicy(BOX, seed=1)))
    assert len({stream.tobytes() for stream in streams}) == 5


def test_the_zero_policy_returns_the_point_of_the_box_nearest_to_zero() -> None:
    policy = ZeroPolicy(BOX)
    policy.act(NOTHING)[:] = 5.0
    np.testing.assert_array_equal(policy.act(NOTHING), [0.0, 1.0])


def test_a_box_with_its_rows_exchanged_is_refused() -> None:
    with pytest.raises(ValueError, match="action_bounds has low 2"):
        ZeroPolicy([[2.0], [-2.0]])
