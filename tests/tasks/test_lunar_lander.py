from __future__ import annotations

import numpy as np
import pytest

from koopman_control.evaluation import evaluate
from koopman_control.tasks.lunar_lander import LUNAR_LANDER, descent
from koopman_control.trajectories import total_steps


def test_the_descent_asks_for_nothing_once_a_leg_touches_the_ground() -> None:
    assert descent(np.eye(8)[7]) is None


@pytest.mark.slow
def test_landers_are_set_down_on_the_pad_after_1000_steps_of_data() -> None:
    learned = LUNAR_LANDER.learn(seed=11)
    assert total_steps(learned.data) == 1000
    result = evaluate(learned.controller, LUNAR_LANDER.env_id, range(2000, 2020))
    assert result.mean > 270.0
    assert result.worst > 200.0
