"""Inputs that act late, and inputs that are measured rather than commanded."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import Bounds, Cost, Inputs, KoopmanMPC
from koopman_control.mpc.state import InputLayout

Make = Callable[..., LiftedModel]
F, G = np.array([[1.0, 0.1], [-0.05, 0.9]]), np.array([[0.005], [0.1]])
E = np.array([[0.02], [-0.05]])
BOTH = np.hstack([E, G])  # the model's first input is a measured disturbance
SETTINGS: dict[str, Any] = {
    "input_bounds": (-1, 1),
    "output_bounds": (-2, 0.6),
    "bounds": Bounds(rates=0.4),
}


def delayed_loop(mpc: KoopmanMPC, x: Array, n: int, delay: int) -> tuple[Array, Array]:
    X, U = [x], [np.zeros(1)] * delay
    for k in range(n):
        U.append(mpc.act(X[-1]))
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
        X.append(F @ X[-1] + G @ U[k])
    return np.array(X), np.array(U[delay:])


@pytest.mark.parametrize("rollout", ["linear", "bilinear", "relifted"])
def test_a_known_delay_only_shifts_the_loop(linear_model: Make, rollout: Rollout) -> None:
    couplings = np.zeros((1, 2, 2)) if rollout == "bilinear" else None
    model = linear_model(F, G, couplings)
    settings = {**SETTINGS, "reference": [0.5, 0.0], "rollout": rollout, "cost": Cost(S=0.1)}
    mpc = KoopmanMPC(model, 15, [1, 0.1], 0.01, **settings)
    late = KoopmanMPC(model, 15, [1, 0.1], 0.01, inputs=Inputs(delay=3), **settings)
    x = np.array([-1.0, 0.4])
    X_late, U_late = delayed_loop(late, x, 40, 3)
    X, U = delayed_loop(mpc, np.linalg.matrix_power(F, 3) @ x, 37, 0)
    np.testing.assert_allclose(X_late[3:], X, atol=1e-7)
    np.testing.assert_allclose(U_late[:37], U, atol=1e-7)
    assert np.abs(np.diff(U[:, 0])).max() > 0.399  # the bounds matter


def test_a_delay_that_is_ignored_costs(linear_model: Make) -> None:
    model, x = linear_model(F, 5 * G), np.array([1.0, 0.0])
    costs = []
    for delay in (3, 0):
        mpc = KoopmanMPC(model, 20, [1.0, 0.0], 1e-3, inputs=Inputs(delay=delay))
        X, U = [x], [np.zeros(1)] * 3
        for k in range(80):
            U.append(mpc.act(X[-1]))
            X.append(F @ X[-1] + 5 * G @ U[k])
        costs.append(np.sum(np.array(X)[:, 0] ** 2))
    assert costs[0] < 0.7 * costs[1]


def test_a_reset_empties_the_pipeline(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(F, G), 10, inputs=Inputs(delay=2))
    first = delayed_loop(mpc, np.array([1.0, 0.0]), 5, 2)[1]
    mpc.reset()
    np.testing.assert_array_equal(delayed_loop(mpc, np.array([1.0, 0.0]), 5, 2)[1], first)


def feed_forward(mpc: KoopmanMPC, w: Array, known: bool) -> Array:
    """Run the plant under a disturbance whose next 10 values are foretold."""
    X = [np.zeros(2)]
    for k in range(len(w) - 10):
        u = mpc.act(X[-1], w[k : k + 10, None] if known else None)
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
        X.append(F @ X[-1] + E @ w[k : k + 1] + 2.0 * E @ u)
    return np.array(X)


@pytest.mark.parametrize("rollout", ["linear", "bilinear", "relifted"])
def test_feed_forward_takes_the_effect_of_a_disturbance_away(
    linear_model: Make, rollout: Rollout
) -> None:
    """The input acts where the disturbance does, so u = -w / 2 leaves nothing of it."""
    couplings = np.zeros((2, 2, 2)) if rollout == "bilinear" else None
    model = linear_model(F, np.hstack([2.0 * E, E]), couplings)
    mpc = KoopmanMPC(model, 10, 1.0, rollout=rollout, inputs=Inputs(measured=[1]))
    w = np.random.default_rng(0).normal(size=60)
    assert np.abs(feed_forward(mpc, w, known=True)).max() < 1e-9
    mpc.reset()
    assert np.abs(feed_forward(mpc, w, known=False)).max() > 0.05


def test_a_product_of_state_and_disturbance_is_foreseen(linear_model: Make) -> None:
    """x+ = u + w x, from 2 to the target 1: u is 1 - 2 w, then 1 - w."""
    model = linear_model([[0.0]], [[1.0, 0.0]], [[[0.0]], [[1.0]]])
    mpc = KoopmanMPC(model, 3, 1.0, reference=1.0, rollout="relifted", inputs=Inputs(measured=[1]))
    np.testing.assert_allclose(mpc.act([2.0], [0.25]), [0.5], atol=1e-7)
    assert mpc.last is not None
    np.testing.assert_allclose(mpc.last.inputs[1:, 0], 0.75, atol=1e-7)


def test_a_forecast_goes_on_until_there_is_a_new_one(linear_model: Make) -> None:
    model = linear_model([[0.0]], [[1.0, 1.0]])
    mpc = KoopmanMPC(model, 3, 1.0, inputs=Inputs(measured=[0]))
    np.testing.assert_allclose(mpc.act([0.0]), [0.0], atol=1e-9)
    np.testing.assert_allclose(mpc.act([0.0], [[0.1], [0.2], [0.3]]), [-0.1], atol=1e-9)
    for expected in (-0.2, -0.3, -0.3):
        np.testing.assert_allclose(mpc.act([0.0]), [expected], atol=1e-9)
    np.testing.assert_allclose(mpc.act([0.0], [[np.nan]]), [-0.3], atol=1e-9)
    mpc.reset()
    np.testing.assert_allclose(mpc.act([0.0]), [0.0], atol=1e-9)


def test_a_preview_reaches_past_the_delay(linear_model: Make) -> None:
    """x+ = u two steps late + w: the first input meets the third value of the preview."""
    model = linear_model([[0.0]], [[1.0, 1.0]])
    mpc = KoopmanMPC(model, 3, 1.0, inputs=Inputs(measured=[1], delay=2))
    np.testing.assert_allclose(mpc.act([0.0], [[9.0], [8.0], [0.3], [7.0]]), [-0.3], atol=1e-9)


def test_the_program_with_a_forecast_is_that_of_the_reference_solution(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(F, BOTH), 8, 1.0, 0.1, inputs=Inputs(measured=[0]), **SETTINGS)
    mpc.act([0.2, 0.5], [[0.3], [2.0], [-1.0]])
    copy = pickle.loads(pickle.dumps(mpc))
    U, cost = copy.reference_solution([0.5, 0.1], np.zeros((8, 1)))
    u = mpc.act([0.5, 0.1], [[0.3], [2.0], [-1.0]])
    np.testing.assert_allclose(u, U[0], atol=1e-7)
    assert mpc.last is not None
    assert mpc.last.objective == pytest.approx(cost, rel=1e-8)


@pytest.mark.parametrize("measured", [[2], [-1], [0, 0], [0, 1]])
def test_inputs_that_do_not_exist_cannot_be_measured(measured: list[int]) -> None:
    with pytest.raises(ValueError, match=r"measured is .* between 0 and 1"):
        InputLayout(2, measured)


def test_a_disturbance_of_the_wrong_shape_is_refused_in_the_first_step(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(F, BOTH), 4, inputs=Inputs(measured=[0]))
    with pytest.raises(ValueError, match=r"disturbance has shape \(2,\); expected \(1,\)"):
        mpc.act([0.0, 0.0], [1.0, 2.0])
    plain = KoopmanMPC(linear_model(F, G), 4)
    with pytest.raises(ValueError, match="name the inputs it stands for in Inputs"):
        plain.act([0.0, 0.0], [1.0])
