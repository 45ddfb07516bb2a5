"""Choices of a run of the autopilot that need no environment."""

from typing import Any

import numpy as np

from koopman_control.autopilot.judging import best_of, outdone
from koopman_control.autopilot.learning import towards
from koopman_control.trajectories import Trajectory


def episode(rewards: list[float], terminated: bool = False) -> Trajectory:
    n = len(rewards)
    seen, u = np.zeros((n + 1, 1)), np.zeros((n, 1))
    return Trajectory(seen, u, rewards=np.array(rewards), terminated=terminated)


def chosen(*tested: list[Trajectory]) -> Any:
    return best_of(list(enumerate(tested)))


def test_the_controller_that_earned_most_in_as_many_steps_acts() -> None:
    assert chosen([episode([0.0, 5.0])], [episode([1.0, 1.0, 9.0])]) == 0
    assert chosen([episode([0.0, 1.0])], [episode([1.0, 1.0, 9.0])]) == 1


def test_of_those_that_did_about_as_well_the_latest_acts() -> None:
    assert chosen([episode([10.0])], [episode([0.0])], [episode([9.8])]) == 2
    assert chosen([episode([10.0])], [episode([0.0])], [episode([9.0])]) == 0


def test_an_episode_that_ended_is_not_paid_for_what_others_go_on_to_do() -> None:
    alive, fell = [episode([1.0] * 6)], [episode([1.0] * 3, terminated=True)]
    assert chosen(alive, fell) == 0
    reached = [episode([-1.0, 100.0], terminated=True), episode([-1.0])]
    assert chosen([episode([0.0] * 6)], reached) == 1


def test_an_episode_that_was_broken_off_does_not_count_beside_whole_ones() -> None:
    often = [episode([-1.0, 90.0], terminated=True)] * 3 + [episode([-1.0])]
    better = [episode([-1.0, 95.0], terminated=True), episode([-1.0])]
    assert chosen(often, better, [episode([0.0] * 8)]) == 1


def test_what_is_promised_clearly_more_outdoes_every_controller() -> None:
    tests = [[episode([-1.0] * 4)], [episode([-2.0] * 6)]]  # of four steps each: -4 and -8
    asked: list[int] = []

    def promised(length: int) -> float:
        asked.append(length)
        return -0.99 * length

    assert not outdone(tests, promised)
    assert outdone(tests, lambda length: -0.9 * length)
    assert asked == [4]


def test_a_reference_pays_by_the_distance_in_spreads_and_leaves_the_rest_free() -> None:
    seen = np.array([[0.0, 0.0, 5.0], [2.0, 2000.0, 5.0]])  # spreads 1, 1000 and 0
    reward = towards([1.0, np.nan, 0.0], seen)
    after = np.array([[1.0, 9.0, 7.0], [3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(reward(after, after, after), [0.0, -4.0])
    both = towards([1.0, 0.0, np.nan], seen)
    np.testing.assert_array_equal(np.asarray(both(after, after, after))[1], -4.0)
