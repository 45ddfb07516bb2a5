"""Kalman filters against the textbook's formulas, and what they are good for in the loop."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import Inputs, KalmanObserver, KoopmanMPC, MovingHorizonEstimator
from koopman_control.mpc.estimation import Estimate, Estimator
from koopman_control.mpc.estimation.kalman import corrected_root, predicted_root, steady_gain

Make = Callable[..., LiftedModel]
F, G = np.array([[1.0, 0.1], [-0.2, 0.95]]), np.array([[0.005], [0.1]])
Q, R = np.diag([1e-4, 4e-4]), np.array([[0.04, 0.01], [0.01, 0.09]])


def textbook(P: Array, H: Array, R: Array) -> tuple[Array, Array]:
    """Gain and covariance after a measurement."""
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
    return K, (np.eye(len(P)) - K @ H) @ P


def test_the_gain_of_a_random_walk_is_the_golden_ratio_s() -> None:
    gain = steady_gain(np.eye(1), np.eye(1), np.eye(1), np.eye(1))
    P = (1.0 + np.sqrt(5.0)) / 2.0
    np.testing.assert_allclose(gain.shared, [[P]], rtol=1e-12)
    np.testing.assert_allclose(gain.correction(np.array([1.0])), [P / (P + 1.0)], rtol=1e-12)


def test_the_steady_gain_is_what_the_recursion_settles_on() -> None:
    H, P = np.array([[1.0, 0.5]]), np.eye(2)
    for _ in range(3000):
        P = F @ textbook(P, H, R[:1, :1])[1] @ F.T + Q
    gain = steady_gain(F, H, Q, R[:1, :1])
    K = textbook(P, H, R[:1, :1])[0]
    np.testing.assert_allclose(gain.correction(np.ones(1)), K[:, 0], rtol=1e-9)


def test_square_roots_follow_the_covariances() -> None:
    rng = np.random.default_rng(0)
    L, N = rng.normal(size=(2, 3, 3))
    A, H, M = rng.normal(size=(3, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 2))
    root = predicted_root(L, A, N)
    P = A @ L @ L.T @ A.T + N @ N.T
    np.testing.assert_allclose(root @ root.T, P, atol=1e-12)
    gain, left = corrected_root(root, H, M)
    K, P_left = textbook(P, H, M @ M.T)
    np.testing.assert_allclose(gain, K, atol=1e-10)
    np.testing.assert_allclose(left @ left.T, P_left, atol=1e-10)


def noisy_run(n: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """States, noisy measurements and inputs (one fewer) of the true plant."""
    rng = np.random.default_rng(seed)
    X, U = [np.array([1.0, 0.0])], rng.uniform(-1, 1, (n, 1))
    for u in U:
        X.append(F @ X[-1] + G @ u + np.sqrt(np.diag(Q)) * rng.normal(size=2))
    Y = np.array(X) + rng.multivariate_normal(np.zeros(2), R, n + 1)
    return np.array(X), Y, U


def run(estimator: Estimator, Y: Array, U: Array) -> list[Estimate]:
    before, out = None, []
    for y, u in zip(Y, np.vstack([[0.0], U]), strict=True):
        before = estimator.update(before, y, u)
        assert before is not None
        out.append(before)
    return out


def test_the_extended_filter_is_the_kalman_filter_where_the_model_is_linear(
    linear_model: Make,
) -> None:
    _, Y, U = noisy_run(40)
    Y[7, 1] = Y[20] = np.nan
    estimator = KalmanObserver(R, Q).attached(linear_model(F, G), "relifted")
    x, P = Y[0], R
    for k, estimate in enumerate(run(estimator, Y, U)):
        if k:
            x, P = F @ x + G @ U[k - 1], F @ P @ F.T + Q
            there = np.isfinite(Y[k])
            K, P = textbook(P, np.eye(2)[there], R[np.ix_(there, there)])
            x = x + K @ (Y[k] - x)[there]
        np.testing.assert_allclose(estimate.x, x, atol=1e-10)


def test_the_steady_filter_is_the_textbook_s_with_the_settled_gain() -> None:
    """Written as lifted model, z = [1, x, x]; the noise drives the last block."""
    model = LiftedModel.from_arrays(F, G)
    noise = np.zeros((5, 5))
    noise[3:, 3:] = Q
    noise[1:3, 1:3] = noise[1:3, 3:] = noise[3:, 1:3] = Q
    estimator = KalmanObserver(R, noise).attached(model, "linear")
    _, Y, U = noisy_run(40)
    P = np.eye(2)
    for _ in range(3000):
        P = F @ textbook(P, np.eye(2), R)[1] @ F.T + Q
    K, x = textbook(P, np.eye(2), R)[0], Y[0]
    for k, estimate in enumerate(run(estimator, Y, U)):
        if k:
            x = F @ x + G @ U[k - 1]
            x = x + K @ (Y[k] - x)
        np.testing.assert_allclose(estimate.x, x, atol=1e-8)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_the_estimate_is_much_closer_than_the_measurement(
    linear_model: Make, rollout: Rollout
) -> None:
    X, Y, U = noisy_run(400)
    estimator = KalmanObserver([0.2, 0.3], 0.015).attached(linear_model(F, G), rollout)
    error = np.array([e.x for e in run(estimator, Y, U)])[50:] - X[50:]
    raw = (Y - X)[50:]
    assert np.all(error.std(axis=0) < 0.45 * raw.std(axis=0))


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_through_a_gap_the_model_predicts(linear_model: Make, rollout: Rollout) -> None:
    X, _, U = noisy_run(30)
    exact = [X[0]]
    for u in U:
        exact.append(F @ exact[-1] + G @ u)
    Y = np.array(exact)
    Y[5:20] = np.nan
    estimates = run(KalmanObserver(0.1, 0.1).attached(linear_model(F, G), rollout), Y, U)
    np.testing.assert_allclose([e.x for e in estimates], exact, atol=1e-9)


def test_speed_is_told_from_position_alone_linear() -> None:
    model = LiftedModel.from_arrays(F, G, [[1.0, 0.0]], lambda x: np.pad(x, ((0, 0), (0, 1))))
    X, _, U = noisy_run(200)
    estimates = run(KalmanObserver(0.01, 0.01).attached(model, "linear"), X[:, :1], U)
    assert estimates[-1].z is not None
    np.testing.assert_allclose(estimates[-1].z[-2:], X[-1], atol=0.05)


def test_speed_is_told_from_position_alone_relifted(linear_model: Make) -> None:
    X, _, U = noisy_run(200)
    Y = X.copy()
    Y[:, 1] = np.nan
    estimates = run(KalmanObserver(0.01, 0.02).attached(linear_model(F, G), "relifted"), Y, U)
    np.testing.assert_allclose(estimates[-1].x, X[-1], atol=0.06)


def test_an_angle_is_filtered_across_the_seam(
    angle_model: Callable[[bool], LiftedModel],
) -> None:
    rng, model = np.random.default_rng(0), angle_model(False)
    for rollout in ("linear", "relifted"):
        estimator = KalmanObserver(0.1, 1e-3).attached(model, rollout)
        now, errors = None, []
        for k in range(200):
            angle = 3.0 + 0.1 * 0.5 * k + 0.1 * rng.normal()
            y = np.array([np.cos(angle), np.sin(angle), 0.5 + 0.1 * rng.normal()])
            now = estimator.update(now, y, np.zeros(1))
            assert now is not None
            errors.append(model.coordinates.wrap(now.x - [3.0 + 0.05 * k, 0.5]))
        assert np.abs(errors[50:]).max() < 0.1


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_a_controller_with_an_observer_survives_lost_observations(
    linear_model: Make, rollout: Rollout
) -> None:
    mpc = KoopmanMPC(linear_model(F, G), 15, estimator=KalmanObserver(0.1), rollout=rollout)
    x, copies = np.array([1.0, 0.0]), []
    for k in range(120):
        y: Any = [np.nan, np.nan] if k in (3, 4, 5) else [x[0], np.nan] if k == 8 else x
        u = mpc.act(y)
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
        x = F @ x + G @ u
        copies.append(u)
    assert np.abs(x).max() < 1e-3
    mpc.reset()
    copy = pickle.loads(pickle.dumps(mpc))
    np.testing.assert_allclose(copy.act([1.0, 0.0]), copies[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "rollout"),
    [
        (KalmanObserver(0.1), "linear"),
        (KalmanObserver(0.1), "relifted"),
        (MovingHorizonEstimator(0.1, window=3), "linear"),
    ],
)
def test_before_anything_was_measured_the_safe_input_is_applied(
    linear_model: Make, estimator: Any, rollout: Rollout
) -> None:
    model = linear_model(F, G)
    mpc = KoopmanMPC(model, 5, rollout=rollout, estimator=estimator, inputs=Inputs(safe=0.3))
    for observation, rung in (([np.nan, np.nan], "safe"), ([1.0, 0.0], "solved")):
        u = mpc.act(observation)
        assert mpc.last is not None
        assert mpc.last.rung == rung
        assert (u[0] == 0.3) == (rung == "safe")


def test_the_program_of_an_observer_s_loop_is_the_reference_solution_s(linear_model: Make) -> None:
    for rollout in ("linear", "relifted"):
        mpc = KoopmanMPC(
            linear_model(F, G),
            10,
            1.0,
            0.1,
            estimator=KalmanObserver(0.3),
            rollout=rollout,
            input_bounds=(-0.5, 0.5),
        )
        for y in ([1.0, 0.0], [0.7, 0.4], [1.2, -0.2]):
            U, cost = mpc.reference_solution(y, np.zeros((10, 1)))
            np.testing.assert_allclose(mpc.act(y), U[0], atol=1e-6)
            assert mpc.last is not None
            assert mpc.last.objective == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (-1.0, "measurement_noise is -1.0; expected a standard deviation"),
        ([1.0, 2.0, 3.0], "one for each of 2 states, or a covariance"),
        (0.0, "measurement_noise has smallest eigenvalue 0; expected positive"),
    ],
)
def test_noise_that_is_none_is_refused(linear_model: Make, noise: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KoopmanMPC(linear_model(F, G), 5, estimator=KalmanObserver(noise))


def test_a_motion_that_nobody_sees_is_an_error() -> None:
    model = LiftedModel.from_arrays(
        [[0.9, 0.0], [0.0, 1.1]], [[1.0], [1.0]], [[1.0, 0.0]], lambda x: np.hstack([x, x])
    )
    with pytest.raises(ValueError, match="do not show every motion"):
        KoopmanMPC(model, 5, estimator=KalmanObserver(0.1))
