"""Closed loops on plants whose exact model the controller has."""

import math
import pickle
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, KoopmanMPC, Search

Make = Callable[..., LiftedModel]
F, G = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])


def loop(mpc: KoopmanMPC, x: Array, n: int, lift: Callable[[Array], Array] = np.asarray) -> Any:
    """Run the plant x+ = F x + G u; return states (n + 1, d) and inputs (n, m)."""
    X, U = [x], []
    for _ in range(n):
        U.append(mpc.act(lift(X[-1])))
        X.append(F @ X[-1] + G @ U[-1])
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
    return np.array(X), np.array(U)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_the_set_point_is_reached_within_input_and_rate_bounds_at_every_step(
    linear_model: Make, rollout: Literal["linear", "relifted"]
) -> None:
    mpc = KoopmanMPC(
        linear_model(F, G),
        30,
        [1.0, 0.1],
        0.01,
        input_bounds=(-1.0, 0.8),
        reference=[2.0, 0.0],
        rollout=rollout,
        bounds=Bounds(rates=0.3),
    )
    X, U = loop(mpc, np.array([-3.0, 0.0]), 150)
    assert U.min() >= -1.0
    assert U.max() <= 0.8
    assert np.abs(np.diff(U, axis=0, prepend=0.0)).max() <= 0.3 + 1e-15
    assert U.max() == 0.8  # the bounds did matter
    np.testing.assert_allclose(X[-1], [2.0, 0.0], atol=1e-4)


def test_an_output_bound_that_can_be_kept_is_kept(linear_model: Make) -> None:
    settings: dict[str, Any] = {"input_bounds": (-1, 1), "reference": [2.0, 0.0]}
    free = KoopmanMPC(linear_model(F, G), 30, [1.0, 0.1], 0.01, **settings)
    kept = KoopmanMPC(
        linear_model(F, G),
        30,
        [1.0, 0.1],
        0.01,
        output_bounds=[[-np.inf, -np.inf], [np.inf, 0.5]],
        **settings,
    )
    x = np.array([-2.0, 0.0])
    assert loop(free, x, 100)[0][:, 1].max() > 0.9
    assert loop(kept, x, 100)[0][:, 1].max() <= 0.5 + 1e-8


def test_an_output_bound_that_cannot_be_kept_is_violated_no_longer_than_necessary(
    linear_model: Make,
) -> None:
    mpc = KoopmanMPC(
        linear_model(F, G),
        20,
        [1.0, 0.1],
        0.01,
        input_bounds=(-1, 1),
        output_bounds=[[-np.inf, -np.inf], [np.inf, 0.2]],
    )
    X, U = loop(mpc, np.array([0.0, 0.55]), 10)
    assert mpc.last is not None
    np.testing.assert_allclose(U[:3, 0], -1.0)  # full brake: 0.55, 0.45, 0.35, 0.25, 0.15 or higher
    np.testing.assert_allclose(X[:4, 1], [0.55, 0.45, 0.35, 0.25])
    assert X[4:, 1].max() <= 0.2 + 1e-8


def test_a_cheap_violation_is_bought_at_its_price(linear_model: Make) -> None:
    """x+ = u, cost (x - 1)^2 + w (v + v^2) with v = x: the least is at x = (2 - w) / (2 + 2 w)."""
    model = linear_model([[0.0]], [[1.0]])
    for w, wanted in ((0.5, 0.5), (1.0, 0.25), (3.0, 0.0)):
        mpc = KoopmanMPC(
            model,
            1,
            1.0,
            output_bounds=(-np.inf, 0.0),
            reference=1.0,
            bounds=Bounds(slack_weight=w),
        )
        np.testing.assert_allclose(mpc.act([0.3]), [wanted], atol=1e-9)


def test_a_reference_with_preview_is_followed_without_delay(linear_model: Make) -> None:
    steps = np.arange(1, 6)
    mpc = KoopmanMPC(
        linear_model([[0.0]], [[1.0]]), 5, 1.0, reference=lambda y: (y[0] + steps)[:, None]
    )
    mpc.act([0.5])
    assert mpc.last is not None
    np.testing.assert_allclose(mpc.last.inputs[:, 0], 0.5 + steps, atol=1e-9)
    np.testing.assert_allclose(mpc.last.outputs[:, 0], 0.5 + steps, atol=1e-9)


def observed(x: Array) -> Array:
    return np.array([np.cos(x[0]), np.sin(x[0]), x[1]])


@pytest.mark.parametrize("rollout", ["linear", "bilinear", "relifted"])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_an_angle_takes_the_short_way_across_the_seam(
    angle_model: Callable[[bool], LiftedModel],
    side: float,
    rollout: Literal["linear", "bilinear", "relifted"],
) -> None:
    mpc = KoopmanMPC(
        angle_model(rollout == "bilinear"),
        40,
        [1.0, 0.3],
        0.01,
        rollout=rollout,
        reference=[side * (math.pi - 0.3), 0.0],
    )
    x = np.array([-side * (math.pi - 0.3), 0.0])  # 0.6 away through the seam
    nearest_to_zero = -math.pi
    for _ in range(120):
        u = mpc.act(observed(x))
        x = np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * u[0]])
        nearest_to_zero = max(nearest_to_zero, side * x[0])
    assert x[0] == pytest.approx(-side * (math.pi + 0.3), abs=1e-3)
    assert nearest_to_zero <= -(math.pi - 0.3)  # never set out for the long way


def test_an_angle_spinning_past_the_seam_is_predicted_without_a_jump(
    angle_model: Callable[[bool], LiftedModel],
) -> None:
    mpc = KoopmanMPC(angle_model(False), 10, [1.0, 0.0], 0.0, reference=[3.0, 0.0])
    mpc.act(observed(np.array([3.0, 2.0])))
    assert mpc.last is not None
    assert np.abs(np.diff(mpc.last.outputs[:, 0])).max() < 0.21


SETTINGS: list[dict[str, Any]] = [
    {"rollout": "linear"},
    {"rollout": "linear", "solver": "osqp"},
    {
        "rollout": "relifted",
        "output_bounds": (-1.0, 1.0),
        "search": Search(guesses=3, first_guesses=16),
    },
    {"rollout": "relifted", "bounds": Bounds(rates=0.3), "search": Search(guesses=2)},
]


def actions(mpc: KoopmanMPC, model: LiftedModel, n: int = 12) -> Array:
    mpc.reset()
    x, U = np.array([0.9, -0.5]), []
    for _ in range(n):
        U.append(mpc.act(x))
        x = model.predict(x, U[-1][None], mpc.rollout)[0]
    return np.array(U)


@pytest.mark.parametrize("settings", SETTINGS)
def test_episodes_repeat_bit_for_bit_after_a_reset(
    nonlinear_model: Make, settings: dict[str, Any]
) -> None:
    model = nonlinear_model(bilinear=False)
    mpc = KoopmanMPC(model, 8, 1.0, 0.01, **settings)
    first = actions(mpc, model)
    mpc.act([0.3, 0.3])
    np.testing.assert_array_equal(actions(mpc, model), first)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_pickled_controller_acts_the_same(
    nonlinear_model: Make, settings: dict[str, Any]
) -> None:
    model = nonlinear_model(bilinear=False)
    mpc = KoopmanMPC(model, 8, 1.0, 0.01, **settings)
    first = actions(mpc, model)
    copy = pickle.loads(pickle.dumps(mpc))
    np.testing.assert_array_equal(actions(copy, model), first)
    assert copy.problem.is_dcp()  # stated again when asked for
    np.testing.assert_array_equal(copy.qp.A, mpc.qp.A)


def test_a_controller_pickled_within_an_episode_goes_on_as_the_original(
    nonlinear_model: Make,
) -> None:
    model = nonlinear_model(bilinear=False)
    mpc = KoopmanMPC(
        model,
        8,
        1.0,
        0.01,
        rollout="relifted",
        search=Search(guesses=2),
        cost=Cost(S=0.1),
        bounds=Bounds(rates=0.3),
    )
    actions(mpc, model, 3)
    copy = pickle.loads(pickle.dumps(mpc))
    for x in np.random.default_rng(0).uniform(-1, 1, (5, 2)):
        np.testing.assert_allclose(copy.act(x), mpc.act(x), atol=1e-8)


def test_a_pickled_controller_is_small(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(F, G), 30, output_bounds=(-1, 1), bounds=Bounds(rates=0.3))
    mpc.act([0.1, 0.1])
    assert len(pickle.dumps(mpc)) < 300_000


def test_act_returns_an_array_of_the_callers_own(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(F, G), 5, input_bounds=(-1, 1), bounds=Bounds(rates=0.1))
    u = mpc.act([3.0, 0.0])
    u[:] = 100.0
    assert np.abs(mpc.act([3.0, 0.0])).max() <= 0.2 + 1e-12
