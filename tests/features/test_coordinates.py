import re
from typing import Any

import numpy as np
import pytest

from koopman_control.features import Coordinates


def test_without_angles_the_state_is_the_observation() -> None:
    y = np.random.default_rng(0).normal(size=(5, 3))
    coordinates = Coordinates.of(3)
    np.testing.assert_array_equal(coordinates.state(y), y)
    assert coordinates.dim == 3
    assert coordinates.names() == ("y0", "y1", "y2")


def test_a_cosine_and_a_sine_become_one_angle_in_place_of_the_first() -> None:
    coordinates = Coordinates.of(4, angles=[(2, 1)])
    theta = np.array([0.3, -3.0, 3.1])
    y = np.stack([theta * 0 + 7, np.sin(theta), np.cos(theta), theta * 0 + 9], axis=1)
    np.testing.assert_allclose(coordinates.state(y), np.stack([y[:, 0], theta, y[:, 3]], axis=1))
    assert coordinates.is_angle.tolist() == [False, True, False]
    assert coordinates.embedded == ((0, "id"), (2, "id"), (1, "cos"), (1, "sin"))
    assert coordinates.names(("p", "s", "c", "q")) == ("p", "angle", "q")


def test_several_angles_get_different_names() -> None:
    assert Coordinates.of(4, angles=[(0, 1), (2, 3)]).names() == ("angle0", "angle1")


def test_columns_that_are_not_named_are_left_out() -> None:
    coordinates = Coordinates.of(4, states=[3, 0])
    np.testing.assert_array_equal(coordinates.state(np.arange(4.0)), [0.0, 3.0])


def test_differences_of_angles_take_the_short_way_round() -> None:
    coordinates = Coordinates.of(3, angles=[(0, 1)])
    difference = coordinates.wrapped_difference(np.array([-3.1, 5.0]), np.array([3.1, -5.0]))
    np.testing.assert_allclose(difference, [2 * np.pi - 6.2, 10.0])


def test_bounds_follow_the_columns_and_angles_have_none() -> None:
    coordinates = Coordinates.of(3, angles=[(0, 1)])
    bounds = coordinates.bounds(np.array([[-1.0, -1.0, -8.0], [1.0, 1.0, 8.0]]))
    np.testing.assert_array_equal(bounds, [[-np.inf, -8.0], [np.inf, 8.0]])


@pytest.mark.parametrize(
    ("states", "angles", "error", "message"),
    [
        ([0, 3], (), ValueError, "between 0 and 2"),
        ([-1], (), ValueError, "between 0 and 2"),
        ([1, 1], (), ValueError, "different numbers"),
        ([], (), ValueError, "different numbers"),
        (None, [(0, 3)], ValueError, "between 0 and 2"),
        (None, [(1, 1)], ValueError, "different numbers"),
        (None, [(0, 1), (1, 2)], ValueError, "different numbers"),
        (
            [0.5],
            (),
            TypeError,
            "states is [0.5]; expected a sequence with an integer",
        ),
        (
            None,
            [(0, 1, 2)],
            TypeError,
            "integer or a tuple (an integer, an integer)",
        ),
        (None, [0.5], TypeError, "angles is [0.5]; expected a sequence with an integer"),
        (None, [2, (0, 2)], ValueError, "different numbers"),
    ],
)
def test_wrong_columns_are_named(
    states: Any, angles: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Coordinates.of(3, states, angles)


def test_columns_that_are_no_cosine_and_sine_are_found_out() -> None:
    coordinates = Coordinates.of(3, angles=[(0, 2)])
    coordinates.check_circles(np.array([[0.6, 9.0, 0.8]]))
    with pytest.raises(ValueError, match=r"columns \(0, 2\), but in row 1 they lie 3 from zero"):
        coordinates.check_circles(np.array([[0.6, 9.0, 0.8], [3.0, 0.0, 0.0]]))


def test_a_single_column_is_an_angle_in_radians_read_without_its_whole_turns() -> None:
    coordinates = Coordinates.of(3, angles=[2])
    y = np.array([[1.0, 2.0, 0.3], [1.0, 2.0, 0.3 + 2 * np.pi], [1.0, 2.0, 0.3 - 40 * np.pi]])
    np.testing.assert_allclose(coordinates.state(y), np.tile([1.0, 2.0, 0.3], (3, 1)), atol=1e-12)
    assert coordinates.columns == (0, 1, (2,))
    assert coordinates.embedded == ((0, "id"), (1, "id"), (2, "cos"), (2, "sin"))
    assert coordinates.names(("p", "q", "heading")) == ("p", "q", "heading")
    bounds = coordinates.bounds(np.array([[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(bounds, [[-1.0, -2.0, -np.inf], [1.0, 2.0, np.inf]])


def test_a_jump_of_an_angle_at_pi_is_no_jump() -> None:
    coordinates = Coordinates.of(1, angles=[0])
    winding = np.linspace(0.0, 20.0, 101)[:, None]
    jumping = (winding + np.pi) % (2 * np.pi) - np.pi
    for y in (winding, jumping):
        x = coordinates.state(y)
        np.testing.assert_allclose(coordinates.wrapped_difference(x[1:], x[:-1]), 0.2)


def test_pairs_and_single_columns_mix() -> None:
    coordinates = Coordinates.of(4, angles=[3, (1, 0)])
    np.testing.assert_allclose(
        coordinates.state(np.array([np.sin(2.0), np.cos(2.0), 7.0, 9.0])),
        [2.0, 7.0, 9.0 - 2 * np.pi],
    )
    assert coordinates.is_angle.tolist() == [True, False, True]
    assert coordinates.names() == ("angle", "y2", "y3")


def test_a_cosine_and_a_sine_named_as_two_angles_are_found_out() -> None:
    theta = np.linspace(0.0, 1.0, 20)
    coordinates = Coordinates.of(2, angles=(0, 1))
    coordinates.check_circles(np.stack([theta, 2 * theta], axis=1))
    coordinates.check_circles(np.tile([1.0, 0.0], (20, 1)))  # two joints at rest
    with pytest.raises(ValueError, match=r"write the pair: \[\(0, 1\)\]"):
        coordinates.check_circles(np.stack([np.cos(theta), np.sin(theta)], axis=1))


def test_a_memory_stacks_the_last_steps_and_inputs_the_latest_first() -> None:
    coordinates = Coordinates.of(2, states=[1], memory=2, n_inputs=1)
    y = np.array([[9.0, 0.0], [9.0, 1.0], [9.0, 4.0], [9.0, 2.0]])
    u = np.array([[10.0], [11.0], [12.0]])
    np.testing.assert_array_equal(
        coordinates.along(y, u), [[4.0, 3.0, 1.0, 11.0, 10.0], [2.0, -2.0, 3.0, 12.0, 11.0]]
    )
    assert coordinates.dim == 5
    assert coordinates.n_outputs == 1
    assert coordinates.names(("a", "b")) == ("b", "b step[-1]", "b step[-2]", "u0[-1]", "u0[-2]")
    assert coordinates.along(y[:2], u[:1]).shape == (0, 5)
    bounds = coordinates.bounds(np.array([[-1.0, -2.0], [1.0, 2.0]]))
    np.testing.assert_array_equal(bounds[:, 0], [-2.0, 2.0])
    assert np.isinf(bounds[:, 1:]).all()
    with pytest.raises(ValueError, match="the state remembers 2 steps"):
        coordinates.state(y)


def test_remembered_steps_of_an_angle_take_the_short_way_round() -> None:
    coordinates = Coordinates.of(2, angles=[0], memory=1, n_inputs=1)
    y = np.array([[3.0, 5.0], [4.0, 6.0]])
    np.testing.assert_allclose(
        coordinates.along(y, np.array([[0.5]])), [[4.0 - 2 * np.pi, 6.0, 1.0, 1.0, 0.5]]
    )
    assert coordinates.names() == ("y0", "y1", "y0 step[-1]", "y1 step[-1]", "u0[-1]")
    assert coordinates.is_angle.tolist() == [True, False, False, False, False]
    assert len(coordinates.embedded) == 6
