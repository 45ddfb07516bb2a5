"""How long an input is held, and data read at that pace."""

import numpy as np

from koopman_control.autopilot.pace import Exploration, at_pace, pace_of
from koopman_control.trajectories import Trajectory


def wave(period: float, n: int = 400) -> Trajectory:
    angle = 2.0 * np.pi * np.arange(n + 1) / period
    return Trajectory(np.stack([np.sin(angle), np.ones(n + 1)], axis=1), np.zeros((n, 1)), dt=0.1)


def test_slow_plants_are_given_longer_decisions() -> None:
    assert [pace_of([wave(period)]) for period in (10.0, 60.0, 300.0)] == [1, 2, 4]


def test_the_pace_does_not_depend_on_units() -> None:
    data = wave(60.0)
    other = Trajectory(1e6 * data.observations, data.actions)
    assert pace_of([other]) == pace_of([data])


def test_rewards_of_a_decision_add_up_and_only_a_true_end_is_kept_unfinished() -> None:
    seen, u = np.arange(8.0)[:, None], np.repeat([[0.0], [1.0], [2.0]], [3, 3, 1], axis=0)
    data = Trajectory(seen, u, rewards=np.arange(7.0), dt=0.1, truncated=True)
    (slow,) = at_pace([data], 3)
    np.testing.assert_array_equal(slow.observations[:, 0], [0.0, 3.0, 6.0])
    np.testing.assert_array_equal(slow.actions[:, 0], [0.0, 1.0])
    assert slow.rewards is not None
    np.testing.assert_array_equal(slow.rewards, [3.0, 12.0])
    assert slow.dt is not None and round(slow.dt, 9) == 0.3
    ended = Trajectory(seen, u, rewards=np.arange(7.0), terminated=True)
    (slow,) = at_pace([ended], 3)
    np.testing.assert_array_equal(slow.observations[:, 0], [0.0, 3.0, 6.0, 7.0])
    assert slow.terminated and slow.rewards is not None
    np.testing.assert_array_equal(slow.rewards, [3.0, 12.0, 6.0])


def test_exploring_inputs_are_held_for_whole_decisions_at_every_pace() -> None:
    u = Exploration().sample(202, [-1.0], [3.0], np.random.default_rng(0))
    assert u.shape == (202, 1) and u.min() >= -1.0 and u.max() <= 3.0
    blocks = u[:200].reshape(50, 4)
    assert (blocks == blocks[:, :1]).all()
