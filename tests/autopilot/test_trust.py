"""Where a smooth model is lost, plans are kept away."""

import numpy as np
from numpy.typing import NDArray

from koopman_control.autopilot.reward import Samples
from koopman_control.autopilot.trust import trusted_box
from koopman_control.common.arrays import Array
from tests.autopilot.plants import pendulum

MODEL = pendulum()  # states: an angle, and its speed
RNG = np.random.default_rng(0)


def limits(lost: NDArray[np.bool_], speed: Array) -> Array:
    x = np.column_stack([RNG.uniform(-3.0, 3.0, len(speed)), speed])
    samples = Samples(x, speed[:, None], x, speed, np.zeros(len(x), dtype=bool))
    return trusted_box(samples, np.where(lost, 1.0, 1e-3), MODEL)


def test_a_stop_at_one_end_of_a_state_is_a_limit_there() -> None:
    speed = RNG.uniform(-5.0, 5.0, 1000)
    box = limits(speed > 4.0, speed)
    assert np.isinf(box[:, 0]).all() and np.isneginf(box[0, 1])
    assert speed[speed <= 4.0].max() < box[1, 1] < speed[speed > 4.0].min()


def test_a_limit_needs_units_of_no_kind() -> None:
    speed = RNG.uniform(-5.0, 5.0, 1000)
    small, large = limits(speed < -4.0, speed), limits(speed < -4.0, 2.0**20 * speed)
    np.testing.assert_array_equal(2.0**20 * small, large)


def test_what_is_lost_here_and_there_makes_no_limit() -> None:
    speed = RNG.uniform(-5.0, 5.0, 1000)
    assert np.isinf(limits(RNG.uniform(size=1000) < 0.1, speed)).all()
    assert np.isinf(limits(np.abs(speed) < 1.0, speed)).all()


def test_all_samples_at_one_value_are_on_one_side() -> None:
    speed = np.concatenate([RNG.uniform(-5.0, 4.0, 900), np.full(100, 4.0)])
    box = limits(np.arange(1000) >= 900, speed)
    assert speed[:900].max() < box[1, 1] < 4.0
