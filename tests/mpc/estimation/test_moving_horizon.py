"""Moving-horizon estimation against the Kalman filter and against CVXPY."""

from collections.abc import Callable

import cvxpy as cp
import numpy as np
import pytest
from cvxpy.atoms.quad_form import quad_form
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KalmanObserver, KoopmanMPC, MovingHorizonEstimator
from koopman_control.mpc.estimation import Estimate, Estimator
from koopman_control.mpc.estimation.moving_horizon import MovingHorizon, Windowed

Make = Callable[..., LiftedModel]
F, G = np.array([[1.0, 0.1], [-0.2, 0.95]]), np.array([[0.005], [0.1]])


def measured_run(n: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x, Y, U = np.array([1.0, 0.0]), [], rng.uniform(-1, 1, (n, 1))
    for u in U:
        Y.append(x + 0.1 * rng.normal(size=2))
        x = F @ x + G @ u + 0.02 * rng.normal(size=2)
    return np.array(Y), U


def estimates(estimator: Estimator, Y: Array, U: Array) -> list[Estimate]:
    now, out = None, []
    for k, y in enumerate(Y):
        now = estimator.update(now, y, U[k - 1] if k else np.zeros(1))
        assert now is not None
        out.append(now)
    return out


@pytest.mark.parametrize("window", [1, 4, 100])
def test_without_bounds_it_is_the_kalman_filter(linear_model: Make, window: int) -> None:
    model, (Y, U) = linear_model(F, G), measured_run(40)
    horizon = MovingHorizonEstimator(0.1, 0.02, window).attached(model, "linear")
    kalman = KalmanObserver(0.1, 0.02).attached(model, "linear")
    for a, b in zip(estimates(horizon, Y, U), estimates(kalman, Y, U), strict=True):
        assert a.z is not None
        assert b.z is not None
        np.testing.assert_allclose(a.z, b.z, atol=1e-8)


def test_with_bounds_it_solves_the_stated_problem() -> None:
    """Written out in CVXPY, for a model whose lifted state is its state."""
    model, (Y, U) = LiftedModel.from_arrays(F, G), measured_run(12)
    Q = np.zeros((5, 5))
    Q[1:3, 1:3] = Q[1:3, 3:] = Q[3:, 1:3] = Q[3:, 3:] = 4e-4 * np.eye(2)
    settings = MovingHorizonEstimator(0.1, Q, 5, state_bounds=(-0.7, 0.8), noise_bound=1.0)
    estimator = settings.attached(model, "linear")
    assert isinstance(estimator, MovingHorizon)
    now = estimates(estimator, Y, U)[-1]
    assert isinstance(now, Windowed)
    prior = (estimator._prior @ estimator._prior.T)[3:, 3:]
    X, W = cp.Variable((6, 2)), cp.Variable((5, 2))
    first = X[0] - now.before[0][3:]
    cost = quad_form(first, np.linalg.inv(prior)) + sum_squares(W) / 4e-4
    rows: list[cp.Constraint] = [X[1:] <= 0.8, X[1:] >= -0.7, W <= 0.02, W >= -0.02]
    for k in range(5):
        rows.append(X[k + 1] == F @ X[k] + G @ now.inputs[k] + W[k])
        cost += sum_squares(X[k + 1] - now.measured[k]) / 0.01
    problem = cp.Problem(cp.Minimize(cost), rows)
    problem.solve(solver="CLARABEL")  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(now.x, np.asarray(X.value)[-1], atol=1e-5)


def test_a_bound_is_kept_where_the_filter_breaks_it(linear_model: Make) -> None:
    model, (Y, U) = linear_model(F, G), measured_run(60)
    loose = estimates(MovingHorizonEstimator(0.1, 0.02).attached(model, "linear"), Y, U)
    settings = MovingHorizonEstimator(0.1, 0.02, state_bounds=([-0.3, -9.0], [0.3, 9.0]))
    tight = estimates(settings.attached(model, "linear"), Y, U)[1:]
    assert max(e.x[0] for e in loose[1:]) > 0.4
    assert max(abs(e.x[0]) for e in tight) <= 0.3 + 1e-7


def test_what_was_not_measured_is_left_out(linear_model: Make) -> None:
    model, (Y, U) = linear_model(F, G), measured_run(30)
    Y[10:15, 1] = np.nan
    Y[20] = np.nan
    last = estimates(MovingHorizonEstimator(0.1, 0.02).attached(model, "linear"), Y, U)[-1]
    assert np.isfinite(last.x).all()


def test_it_works_in_the_loop(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(F, G), 15, estimator=MovingHorizonEstimator(0.1, window=4))
    x, rng = np.array([1.0, 0.0]), np.random.default_rng(0)
    for _ in range(80):
        x = F @ x + G @ mpc.act(x + 0.01 * rng.normal(size=2))
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
    assert np.abs(x).max() < 0.1


def test_other_roll_outs_are_refused(linear_model: Make) -> None:
    with pytest.raises(ValueError, match="convex for the linear one only"):
        KoopmanMPC(linear_model(F, G), 5, estimator=MovingHorizonEstimator(0.1), rollout="relifted")
