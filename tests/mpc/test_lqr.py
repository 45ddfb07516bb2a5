"""Where nothing binds, model-predictive control is the linear-quadratic regulator."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.mpc import Cost, KoopmanMPC
from koopman_control.mpc.terminal import riccati
from koopman_control.trajectories import Trajectory

Make = Callable[..., LiftedModel]
F = np.array([[1.0, 0.1, 0.0], [0.3, 1.05, 0.1], [0.0, -0.2, 0.9]])
G = np.array([[0.0, 0.1], [0.1, 0.0], [0.05, 0.2]])
Q, R = np.diag([1.0, 0.3, 0.1]), np.array([[0.1, 0.02], [0.02, 0.2]])


STABLE = 0.8 * F


def lqr_gain(F: Array = F) -> Array:
    P = scipy.linalg.solve_discrete_are(F, G, Q, R)
    return np.asarray(np.linalg.solve(R + G.T @ P @ G, G.T @ P @ F))


@pytest.mark.parametrize("horizon", [1, 2, 15])
@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_with_the_riccati_terminal_cost_any_horizon_gives_the_lqr_gain(
    linear_model: Make, horizon: int, rollout: Literal["linear", "relifted"]
) -> None:
    mpc = KoopmanMPC(
        linear_model(F, G), horizon, Q, R, rollout=rollout, cost=Cost(terminal="riccati")
    )
    gain = np.array([-mpc.act(x) for x in np.eye(3)]).T
    np.testing.assert_allclose(gain, lqr_gain(), atol=1e-9)


def test_a_long_horizon_needs_no_terminal_cost(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(STABLE, G), 60, Q, R)
    gain = np.array([-mpc.act(x) for x in np.eye(3)]).T
    np.testing.assert_allclose(gain, lqr_gain(STABLE), atol=1e-9)


def test_set_points_move_the_regulator(linear_model: Make) -> None:
    u_r = np.array([0.3, -0.2])
    x_r = np.linalg.solve(np.eye(3) - F, G @ u_r)
    mpc = KoopmanMPC(
        linear_model(F, G),
        5,
        Q,
        R,
        reference=x_r,
        cost=Cost(terminal="riccati", input_reference=u_r),
    )
    x = x_r + np.array([0.1, -0.2, 0.3])
    np.testing.assert_allclose(mpc.act(x), u_r - lqr_gain() @ (x - x_r), atol=1e-9)


def test_the_recursion_agrees_with_scipy(linear_model: Make) -> None:
    K, to_come = riccati(linear_model(F, G), np.zeros(3), np.zeros(2), Q, R)
    P = scipy.linalg.solve_discrete_are(F, G, Q, R)
    np.testing.assert_allclose(K, lqr_gain(), atol=1e-10)
    np.testing.assert_allclose(to_come, P - Q, rtol=1e-9)


def test_a_target_that_cannot_be_held_gives_no_regulator(linear_model: Make) -> None:
    model = linear_model([[4.0, 0.0], [0.0, 0.5]], [[0.0], [1.0]])
    K, to_come = riccati(model, np.zeros(2), np.zeros(1), np.eye(2), np.zeros((1, 1)))
    np.testing.assert_array_equal(K, 0.0)
    np.testing.assert_array_equal(to_come, 0.0)


def test_a_model_fitted_to_data_of_a_linear_plant_gives_the_lqr_gain() -> None:
    rng = np.random.default_rng(0)
    x, U = [rng.normal(size=3)], rng.uniform(-1.0, 1.0, (300, 2))
    for u in U:
        x.append(STABLE @ x[-1] + G @ u)
    data = Trajectory(observations=np.array(x), actions=U)
    model = EDMDc(SampledFeatures(5, random_state=0), regularization=0.0).fit(data).model_
    mpc = KoopmanMPC(model, 10, Q, R, rollout="linear", cost=Cost(terminal="riccati"))
    gain = np.array([-mpc.act(0.5 * e) for e in np.eye(3)]).T / 0.5
    np.testing.assert_allclose(gain, lqr_gain(STABLE), atol=1e-8)
