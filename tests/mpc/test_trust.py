"""Where a plan leaves the training data, the controller knows, and can be made to stay nearer."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.mpc import Cost, KoopmanMPC
from koopman_control.trajectories import Trajectory

Make = Callable[..., LiftedModel]


def spring(x: Array, u: float) -> Array:
    """A hardening spring; the force fades with the position and turns around at 1.3."""
    for _ in range(5):
        force = 4.0 * u * np.cos(1.2 * x[0]) - 2.0 * x[0] - 3.0 * x[0] ** 3 - 0.5 * x[1]
        x = x + 0.02 * np.array([x[1], force])
    return x


@cache
def model_of_small_motions() -> LiftedModel:
    """Fitted where the position stays below 0.65."""
    rng, data = np.random.default_rng(0), []
    for _ in range(10):
        X, U = [rng.uniform(-0.3, 0.3, 2)], np.repeat(rng.uniform(-0.3, 0.3, 12), 5)
        for u in U:
            X.append(spring(X[-1], u))
        data.append(Trajectory(np.array(X), U[:, None], action_bounds=np.array([[-1.0], [1.0]])))
    return EDMDc(SampledFeatures(30, random_state=0)).fit(data).model_


def closed_loop(target: float, weight: float) -> tuple[float, float, float]:
    """Return the cost of 100 steps, the largest one-step error and the least trust."""
    mpc = KoopmanMPC(
        model_of_small_motions(),
        20,
        [1.0, 0.1],
        1e-3,
        reference=[target, 0.0],
        cost=Cost(trust=weight),
    )
    x, cost, error, trust = np.zeros(2), 0.0, 0.0, 1.0
    for _ in range(100):
        u = mpc.act(x)
        assert mpc.last is not None
        x = spring(x, float(u[0]))
        cost += (x[0] - target) ** 2 + 0.1 * x[1] ** 2
        error = max(error, float(np.abs(mpc.last.outputs[0] - x).max()))
        trust = min(trust, mpc.last.trust)
    return cost, error, trust


def test_a_far_target_is_noticed_and_plans_are_pulled_back_to_known_ground() -> None:
    cost, error, trust = closed_loop(1.2, 0.0)
    cost_near, error_near, trust_near = closed_loop(1.2, 1.0)
    assert trust < 0.6
    assert trust_near > 0.75
    assert error_near < 0.6 * error
    assert cost_near < 0.9 * cost  # predictions that hold are worth more than to aim farther
    assert closed_loop(1.2, 1000.0)[2] > 0.99


def test_a_controller_with_a_price_travels_to_other_processes() -> None:
    mpc = KoopmanMPC(model_of_small_motions(), 20, reference=[1.2, 0.0], cost=Cost(trust=1.0))
    copy = pickle.loads(pickle.dumps(mpc))
    np.testing.assert_allclose(copy.act([0.1, 0.0]), mpc.act([0.1, 0.0]), atol=1e-12)


def test_on_known_ground_the_price_changes_nothing() -> None:
    free, priced = closed_loop(0.2, 0.0), closed_loop(0.2, 1000.0)
    assert free[2] == priced[2] == 1.0
    assert priced[0] == pytest.approx(free[0], rel=1e-9)


def test_trust_is_one_over_the_distance_that_the_plan_goes_to() -> None:
    model = model_of_small_motions()
    mpc = KoopmanMPC([model, model], 20, reference=[1.2, 0.0])
    mpc.act([0.1, 0.0])
    assert mpc.last is not None
    farthest = model.distance(mpc.last.outputs[:, :2]).max()
    assert farthest > 1.0
    assert mpc.last.trust == pytest.approx(1.0 / farthest)
    mpc.act([np.nan, 0.0])
    assert mpc.last.trust == 0.0


def test_angles_are_trusted_by_cosine_and_sine_and_not_priced(angle_model: Make) -> None:
    model = angle_model()
    e = len(model.signals.center)
    ground = np.hstack([np.zeros((e, 1)), np.eye(e)])  # plain states first, then cosine and sine
    signals = replace(model.signals, ground=ground / 0.5)  # the speed cannot leave it in 5 steps
    known = replace(model, signals=signals)
    mpc = KoopmanMPC(known, 5, R=0.1, cost=Cost(trust=1000.0))
    u = mpc.act([np.cos(2.0), np.sin(2.0), 0.0])
    assert mpc.last is not None
    assert mpc.last.trust == pytest.approx(0.5 / np.sin(mpc.last.outputs[:, 0]).max())
    free = KoopmanMPC(model, 5, R=0.1).act([np.cos(2.0), np.sin(2.0), 0.0])
    np.testing.assert_allclose(u, free, atol=1e-9)


def test_a_price_needs_a_model_that_knows_its_data(linear_model: Make) -> None:
    model = linear_model([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="does not know where its training data lie"):
        KoopmanMPC(model, 3, cost=Cost(trust=1.0))
    with pytest.raises(ValueError, match=r"trust is -1\.0"):
        Cost(trust=-1.0)
    mpc = KoopmanMPC(model, 3, input_bounds=[-1.0, 1.0])
    mpc.act([1e6])
    assert mpc.last is not None
    assert mpc.last.trust == 1.0
