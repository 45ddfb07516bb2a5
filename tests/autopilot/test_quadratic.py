"""Rewards that are quadratics are found, and stated exactly in the convex controller."""

from dataclasses import replace

import numpy as np
import pytest

from koopman_control.autopilot.controller import Held
from koopman_control.autopilot.quadratic import QuadraticReward, Unobserved
from koopman_control.autopilot.reward import EndModel, Samples
from koopman_control.common.arrays import Array
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.trajectories import Trajectory
from tests.autopilot.plants import pendulum, pendulum_data

BOX = np.array([[-1.0], [1.0]])
A, B = np.array([[1.0, 0.1], [-0.1, 0.9]]), np.array([0.0, 0.2])


def runs(scale: Array, n_more: int = 0) -> list[Trajectory]:
    """A damped spring whose place is to be that of a set-point, beside columns of noise."""
    rng, out = np.random.default_rng(0), []
    for _ in range(6):
        U = rng.uniform(-1.0, 1.0, (100, 1))
        X = [rng.normal(size=2)]
        for u in U:
            X.append(A @ X[-1] + B * u)
        goal = np.full((101, 1), rng.normal())
        seen = np.hstack([np.array(X), rng.normal(size=(101, n_more))])
        r = -3.0 * (seen[1:, 0] - goal[1:, 0]) ** 2 - 0.5 * (U[:, 0] - 0.2) ** 2 + 7.0
        Y = np.hstack([seen, goal]) * scale
        out.append(Trajectory(Y, U, rewards=r, action_bounds=BOX))
    return out


def fitted(data: list[Trajectory]) -> LiftedModel:
    return EDMDc(PolynomialFeatures(1), regularization=1e-10, n_folds=0).fit(data).model_


def found(data: list[Trajectory]) -> QuadraticReward:
    model = fitted(data)
    reward = QuadraticReward.fit(Samples.of(data, model), model)
    assert reward is not None
    return reward


@pytest.mark.parametrize("scale", [np.ones(3), np.array([1e-6, 1e3, 1e4])])
def test_weights_and_targets_are_found_in_any_units(scale: Array) -> None:
    reward = found(runs(scale))
    assert reward.explained == pytest.approx(1.0, abs=1e-8)
    Q = np.array([[3.0, 0.0, -3.0], [0.0, 0.0, 0.0], [-3.0, 0.0, 3.0]])
    np.testing.assert_allclose(reward.Q * np.outer(scale, scale), Q, atol=1e-5)
    np.testing.assert_allclose(reward.R, [[0.5]], rtol=1e-5)
    np.testing.assert_allclose(reward.input, [0.2], rtol=1e-4)


def test_among_many_columns_squares_and_products_with_set_points_are_looked_for() -> None:
    reward = found(runs(np.ones(41), 38))
    assert reward.explained == pytest.approx(1.0, abs=1e-6)


def test_a_squared_angle_is_wrapped() -> None:
    model = pendulum()
    seen = Samples.of(pendulum_data(), model)
    r = -(seen.x[:, 0] ** 2) - 0.1 * seen.x[:, 1] ** 2
    reward = QuadraticReward.fit(replace(seen, r=r), model)
    assert reward is not None
    np.testing.assert_allclose(reward.Q, np.diag([1.0, 0.1]), atol=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "convex", "linear", "constant", "effort"])
def test_what_is_no_concave_quadratic_is_left_to_the_search(kind: str) -> None:
    model = pendulum()
    seen = Samples.of(pendulum_data(), model)
    speed = seen.x[:, 1]
    r = {
        "cosine": np.cos(2.0 * seen.x[:, 0]),
        "convex": speed**2,
        "linear": speed,
        "constant": 0.0 * speed,
        "effort": -(seen.u[:, 0] ** 2),
    }[kind]
    assert QuadraticReward.fit(replace(seen, r=r), model) is None


def test_the_controller_leads_to_the_set_point() -> None:
    data = runs(np.ones(3))
    model = fitted(data)
    nowhere = EndModel.fit(Samples.of(data, model), model)
    mpc = found(data).controller(model, nowhere, BOX, 40, 1e-3, 0)
    plan, y = Unobserved(mpc), np.array([0.0, 0.0, 0.1])
    for _ in range(100):
        y[:2] = A @ y[:2] + B * plan(y)[0]
    # At rest u = 0.5 y, so 3 (y - 0.1)^2 + 0.5 (u - 0.2)^2 is least at 0.7 / 6.25.
    assert y[0] == pytest.approx(0.112, abs=1e-3)


def test_plans_of_a_fast_growing_plant_are_short() -> None:
    rng, Y = np.random.default_rng(0), [np.zeros(1)]
    U = rng.uniform(-1.0, 1.0, (60, 1))
    for u in U:
        Y.append(1.5 * Y[-1] + u if abs(Y[-1]) < 4.0 else 0.1 * rng.normal(size=1))
    pieces = [
        Trajectory(np.array(Y[k : k + 2]), U[k : k + 1], rewards=-(Y[k] ** 2), action_bounds=BOX)
        for k in range(60)
        if abs(Y[k]) < 4.0
    ]
    model, reward = fitted(pieces), found(pieces)
    assert reward.farthest(model) == 17  # 1.5 ** 17 < 1000 < 1.5 ** 18
    nowhere = EndModel.fit(Samples.of(pieces, model), model)
    assert reward.controller(model, nowhere, BOX, 50, 1e-3, 0).horizon == 17
    assert found(runs(np.ones(3))).farthest(fitted(runs(np.ones(3)))) > 50


def test_inputs_are_held_for_steps_of_the_model() -> None:
    data = runs(np.ones(3))
    model = fitted(data)
    nowhere = EndModel.fit(Samples.of(data, model), model)
    mpc = found(data).controller(model, nowhere, BOX, 10, 1e-3, 0)
    held = Held(mpc, 2)
    first = held.act(np.array([0.0, 0.0, 1.0]))
    np.testing.assert_array_equal(held.act(np.array([0.0, 0.0, -9.0])), first)
    assert held.act(np.array([0.0, 0.0, -9.0])) < 0.0 < first
    held.reset()
    np.testing.assert_array_equal(held.act(np.array([0.0, 0.0, 1.0])), first)
