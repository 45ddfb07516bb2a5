import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc, LiftedModel, Rollout
from koopman_control.mpc import Cost, KalmanObserver, KoopmanMPC
from koopman_control.mpc.estimation.base import History
from koopman_control.trajectories import Trajectory

A = np.array([[1.0, 0.1], [-0.2, 0.97]])
B = np.array([0.005, 0.1])


@pytest.fixture(scope="module")
def model() -> LiftedModel:
    """A linear oscillator, of which only the position is observed."""
    rng, data = np.random.default_rng(0), []
    for _ in range(4):
        x, X, U = rng.normal(size=2), [], rng.uniform(-1, 1, (80, 1))
        for u in U:
            X.append(x)
            x = A @ x + B * u
        bounds = np.array([[-3.0], [3.0]])
        data.append(Trajectory(np.array([*X, x])[:, :1], U, action_bounds=bounds))
    return EDMDc(PolynomialFeatures(1), regularization=0.0, memory=2).fit(data).model_


def closed_loop(mpc: KoopmanMPC, n_steps: int, broken: int = -1) -> tuple[Array, Array]:
    x, positions, inputs = np.array([1.0, 0.5]), [], []
    mpc.reset()
    for k in range(n_steps):
        y = x[:1] if k != broken else np.array([np.nan])
        u = mpc.act(y)
        positions.append(x[0])
        inputs.append(u[0])
        x = A @ x + B * u
    return np.array(positions), np.array(inputs)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_the_controller_remembers_what_it_needs_and_reaches_the_reference(
    model: LiftedModel, rollout: Rollout
) -> None:
    cost = Cost(Q=[10.0], R=1e-3, terminal="riccati", input_reference=0.8)
    mpc = KoopmanMPC(model, 20, reference=[0.4], cost=cost, rollout=rollout)
    positions, _ = closed_loop(mpc, 120)
    np.testing.assert_allclose(positions[-10:], 0.4, atol=1e-3)
    assert mpc.last is not None
    assert not mpc.last.fallback


def test_predictions_come_true_once_the_memory_is_filled(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, 15, Q=1.0, R=0.01)
    x, foretold = np.array([1.0, 0.5]), 0.0
    for _ in range(10):
        u = mpc.act(x[:1])
        assert mpc.last is not None
        x, foretold = A @ x + B * u, mpc.last.outputs[0, 0]
    np.testing.assert_allclose(x[0], foretold, atol=1e-8)


def test_an_episode_does_not_depend_on_the_one_before(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, 15, Q=1.0, R=0.01)
    first, again = closed_loop(mpc, 20)[1], closed_loop(mpc, 20)[1]
    np.testing.assert_array_equal(first, again)


def test_an_observation_that_is_lost_does_not_stop_the_loop(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, 15, Q=1.0, R=0.01)
    positions, _ = closed_loop(mpc, 120, broken=7)
    assert np.abs(positions[-5:]).max() < 0.05


def test_a_history_starts_at_rest_and_then_tells_what_was(model: LiftedModel) -> None:
    history, lost = History(model), np.array([np.nan])
    now = history.update(None, np.array([1.0]), np.array([9.0]))
    expected = [
        (np.array([2.0]), 0.1, [2.0, 1.0, 0.0, 0.1, 9.0]),
        (np.array([3.0]), 0.2, [3.0, 1.0, 1.0, 0.2, 0.1]),
        (lost, 0.3, [3.0, 0.0, 1.0, 0.3, 0.2]),
        (np.array([4.0]), 0.4, [4.0, 1.0, 0.0, 0.4, 0.3]),
    ]
    assert now is not None
    np.testing.assert_array_equal(now.x, [1.0, 0.0, 0.0, 9.0, 9.0])
    for y, u, state in expected:
        now = history.update(now, y, np.array([u]))
        assert now is not None
        assert now.known == bool(np.isfinite(y).all())
        np.testing.assert_array_equal(now.x, state)


def test_before_the_first_complete_observation_nothing_is_known(model: LiftedModel) -> None:
    assert History(model).update(None, np.array([np.nan]), np.zeros(1)) is None


def test_weights_are_those_of_the_present_states(model: LiftedModel) -> None:
    with pytest.raises(ValueError, match=r"Q has shape \(5,\); expected a number, a diagonal \(1,"):
        KoopmanMPC(model, 4, Q=np.ones(5))
    Q = KoopmanMPC(model, 4, Q=2.0)._weights.Q
    np.testing.assert_array_equal(Q, [np.diag([2.0, 0.0, 0.0, 0.0, 0.0])] * 4)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_an_observer_carries_a_memory_through_lost_and_noisy_observations(
    model: LiftedModel, rollout: Rollout
) -> None:
    mpc = KoopmanMPC(model, 15, 1.0, 0.01, rollout=rollout, estimator=KalmanObserver(0.02, 0.02))
    rng, x, positions = np.random.default_rng(0), np.array([1.0, 0.5]), []
    for k in range(150):
        y = x[:1] + 0.02 * rng.normal(size=1) if k % 4 else np.array([np.nan if k else x[0]])
        x = A @ x + B * mpc.act(y)
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
        positions.append(x[0])
    assert np.abs(positions[-20:]).max() < 0.05
