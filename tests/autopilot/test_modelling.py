"""What the neurons of a model need to see is told by errors on data not seen."""

from dataclasses import replace

import numpy as np

from koopman_control.autopilot.modelling import Structure, ignorable, smooth_pieces, worth_products
from koopman_control.trajectories import Trajectory, total_steps
from tests.autopilot.plants import pendulum_data


def with_columns(t: Trajectory) -> Trajectory:
    """Add how far the pendulum has turned since the reset, and a place that its speed moves."""
    speed = t.observations[:, 2]
    moved = np.concatenate([[0.0], np.cumsum(0.05 * speed[1:])])
    place = 3.0 + np.concatenate([[0.0], np.cumsum(0.01 * speed[:-1])])
    seen = np.column_stack([t.observations, moved, place])
    return replace(t, observations=seen, observation_names=None, observation_bounds=None)


DATA = [with_columns(t) for t in pendulum_data()]
CIRCLE = Structure(angles=((0, 1),), context=())


def test_places_that_change_nothing_are_found_together() -> None:
    assert set(ignorable(DATA, CIRCLE, 0)) >= {3, 4}


def test_what_a_smooth_model_follows_is_kept_and_jumps_are_left_out() -> None:
    jumping = []
    for t in DATA:
        seen = t.observations.copy()
        seen[20::40, 2] += 3.0
        jumping.append(replace(t, observations=seen))
    pieces = smooth_pieces(jumping, CIRCLE, 0)
    assert 0.7 * total_steps(DATA) < total_steps(pieces) < 0.95 * total_steps(DATA)
    inside = np.concatenate([np.abs(np.diff(t.observations[:, 2])) for t in pieces])
    assert np.mean(inside > 2.0) < 0.1 * np.mean(
        np.concatenate([np.abs(np.diff(t.observations[:, 2])) for t in jumping]) > 2.0
    )


def test_products_need_data() -> None:
    assert worth_products(5, 1, 60, 500) and not worth_products(5, 1, 60, 100)
    assert not worth_products(17, 6, 60, 10**6)
