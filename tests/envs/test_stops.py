import numpy as np

from koopman_envs.stops import bounded, excess, stopped

PLACES = [-3.0, -1.0, 0.5, 2.0, 7.0]


def test_values_move_into_their_bounds() -> None:
    assert [float(bounded(x, -1.0, 2.0)) for x in PLACES] == [-1.0, -1.0, 0.5, 2.0, 2.0]
    np.testing.assert_array_equal(bounded(np.array(PLACES), -1.0, 2.0), [-1.0, -1.0, 0.5, 2.0, 2.0])


def test_a_stop_that_is_hit_takes_the_speed() -> None:
    position, speed = stopped(np.array(PLACES), np.full(5, 4.0), -1.0, 2.0)
    np.testing.assert_array_equal(position, [-1.0, -1.0, 0.5, 2.0, 2.0])
    np.testing.assert_array_equal(speed, [0.0, 4.0, 4.0, 4.0, 0.0])
    assert [float(v) for v in stopped(7.0, 4.0, -1.0, 2.0)] == [2.0, 0.0]


def test_excess_is_the_distance_to_the_bounds() -> None:
    assert [float(excess(x, -1.0, 2.0)) for x in PLACES] == [2.0, 0.0, 0.0, 0.0, 5.0]
    np.testing.assert_array_equal(excess(np.array(PLACES), -1.0, 2.0), [2.0, 0.0, 0.0, 0.0, 5.0])
