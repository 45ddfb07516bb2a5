"""The first steps of the autopilot: full inputs, gentle ones where no model follows those."""

import gymnasium as gym
import numpy as np

import koopman_envs  # noqa: F401
from koopman_control.autopilot.exploring import BRIEF, GENTLE, AtLimits, explored
from koopman_control.autopilot.logbook import Logbook
from koopman_control.trajectories import Trajectory, total_steps


def first_steps(env_id: str, n: int, look: bool = True) -> tuple[AtLimits | None, list[Trajectory]]:
    book = Logbook(gym.make(env_id), 20, [], None, None)
    return explored(book, n, look), book.data


def test_a_plant_that_a_smooth_model_follows_is_explored_with_full_inputs() -> None:
    ends, data = first_steps("Pendulum-v1", 300)
    assert ends is None and total_steps(data) == 300
    assert np.abs(data[-1].actions).max() > 1.5


def test_where_full_inputs_end_at_stops_the_others_are_gentle_and_brief() -> None:
    ends, data = first_steps("koopman_envs/PlanarQuadrotor-v0", 400)
    assert ends is not None and total_steps(data) == 400
    gentle = [t for t in data if np.abs(t.actions).max() <= max(GENTLE)]
    assert total_steps(gentle) >= 200 and max(map(len, gentle)) <= BRIEF
    smallest = [np.abs(t.actions).max() <= min(GENTLE) for t in gentle]
    assert any(smallest) and not all(smallest)
    assert not any(ends(y) for t in gentle for y in t.observations[:-1])
    # Under full inputs most steps were at a stop.
    wild = [
        ends(y) for t in data if np.abs(t.actions).max() > max(GENTLE) for y in t.observations[1:]
    ]
    assert np.mean(wild) > 0.5


def test_without_looking_all_are_under_full_inputs() -> None:
    ends, data = first_steps("koopman_envs/PlanarQuadrotor-v0", 400, look=False)
    assert ends is None and [len(t) for t in data] == [250, 150]


def test_a_column_without_limits_is_never_at_one() -> None:
    ends = AtLimits(np.array([-np.inf, -1.0]), np.array([np.inf, np.inf]))
    assert not ends(np.array([1e30, 5.0])) and ends(np.array([0.0, -1.0]))
