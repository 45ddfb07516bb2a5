"""Many copies of a plant, each controlled as if by a controller of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, Inputs, Knots, KoopmanMPC
from koopman_control.mpc.planning.linear import Unconstrained, Vectors

Make = Callable[..., LiftedModel]
N, COPIES = 10, 5
SETTINGS: dict[str, Any] = {
    "output_bounds": (-0.6, 0.6),
    "reference": lambda y: (0.4 * np.sign(y[0]), 0.0),
    "bounds": Bounds(rates=0.3),
}


def double_integrator(make: Make) -> LiftedModel:
    return make([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], action_bounds=[[-1.0], [1.0]])


def starts() -> Array:
    return np.random.default_rng(0).uniform(-0.8, 0.8, (COPIES, 2))


@pytest.mark.parametrize(
    "settings", [{}, SETTINGS, SETTINGS | {"inputs": Inputs(parametrization=Knots(4))}]
)
def test_every_copy_acts_as_a_controller_of_its_own(
    linear_model: Make, settings: dict[str, Any]
) -> None:
    model = double_integrator(linear_model)
    alone = [KoopmanMPC(model, N, [1.0, 0.1], 0.01, **settings) for _ in range(COPIES)]
    batch = KoopmanMPC(model, N, [1.0, 0.1], 0.01, **settings).batch(COPIES)
    X = starts()
    for k in range(15):
        if k == 7:  # two copies begin another episode
            begun = np.arange(COPIES) % 3 == 0
            batch.reset(begun)
            for i in np.flatnonzero(begun):
                alone[i].reset()
            X[begun] = 0.5 * X[begun] + 0.2
        U = batch.act(X)
        wanted = np.stack([mpc.act(x) for mpc, x in zip(alone, X, strict=True)])
        np.testing.assert_allclose(U, wanted, atol=1e-9)
        assert batch.solved.all()
        X = model.predict(X, U[:, None], "linear")[:, 0]


def test_copies_that_nothing_holds_back_act_like_a_controller_too(linear_model: Make) -> None:
    model = double_integrator(linear_model)
    settings: dict[str, Any] = {"output_bounds": (-0.6, 0.6), "bounds": Bounds(rates=0.3)}
    batch = KoopmanMPC(model, N, [1.0, 0.1], 0.01, **settings).batch(3)
    X, wanted = np.array([[0.01, 0.0], [0.55, 0.9], [-0.02, 0.01]]), []
    for x in X:
        alone = KoopmanMPC(model, N, [1.0, 0.1], 0.01, **settings)
        wanted.append(alone.reference_solution(x, np.zeros((N, 1)))[0][0])
    np.testing.assert_allclose(batch.act(X), wanted, atol=1e-6)
    assert batch.solved.all()
    assert np.abs(wanted).max() == pytest.approx(0.3, abs=1e-6)  # one of them is held back


def test_copies_whose_cost_is_flat_act_within_their_bounds(linear_model: Make) -> None:
    mpc = KoopmanMPC(double_integrator(linear_model), N, 0.0, cost=Cost(linear_input=-1.0))
    np.testing.assert_allclose(mpc.batch(2).act(np.zeros((2, 2))), np.ones((2, 1)), atol=1e-9)


@pytest.mark.parametrize(("curvature", "told"), [(1.0, True), (1e-22, False), (0.0, False)])
def test_minima_of_a_cost_that_is_nearly_flat_are_not_told(curvature: float, told: bool) -> None:
    sides = np.full((1, 2), 9.0)
    minima = Unconstrained(np.diag([2.0, curvature]), np.zeros((0, 2)))
    v, solved = minima(Vectors(np.array([[-1.0, -0.5 * curvature]]), -sides, sides))
    assert solved.tolist() == [told]
    if told:
        np.testing.assert_allclose(v, [[0.5, 0.5]], atol=1e-15)


def test_copies_of_a_turning_plant_each_take_the_near_way(angle_model: Make) -> None:
    model = angle_model()
    alone = [KoopmanMPC(model, N, [1.0, 0.1], 0.01, reference=[3.0, 0.0]) for _ in range(2)]
    batch = KoopmanMPC(model, N, [1.0, 0.1], 0.01, reference=[3.0, 0.0]).batch(2)
    Y = np.array([[np.cos(a), np.sin(a), 0.0] for a in (2.5, -2.9)])
    wanted = np.stack([mpc.act(y) for mpc, y in zip(alone, Y, strict=True)])
    np.testing.assert_allclose(batch.act(Y), wanted, atol=1e-9)
    assert wanted[0, 0] > 0.0 > wanted[1, 0]


def test_a_copy_that_cannot_keep_a_hard_bound_is_softened_alone(linear_model: Make) -> None:
    settings: dict[str, Any] = {"output_bounds": (-0.6, 0.6), "bounds": Bounds(soft=False)}
    alone = KoopmanMPC(double_integrator(linear_model), N, 1.0, 0.01, **settings)
    batch = KoopmanMPC(double_integrator(linear_model), N, 1.0, 0.01, **settings).batch(3)
    X, rungs, wanted = np.array([[0.5, 0.0], [5.0, 0.0], [-0.5, 0.0]]), [], []
    for x in X:
        alone.reset()
        wanted.append(alone.act(x))
        assert alone.last is not None
        rungs.append(alone.last.rung)
    np.testing.assert_allclose(batch.act(X), wanted, atol=1e-8)
    assert rungs == ["solved", "softened", "solved"]


def test_copies_of_which_nothing_is_asked_take_the_safe_input(linear_model: Make) -> None:
    settings: dict[str, Any] = {
        "reference": lambda y: None if y[0] < 0.0 else 0.0,
        "inputs": Inputs(safe=0.25),
    }
    alone = KoopmanMPC(double_integrator(linear_model), N, 1.0, 0.01, **settings)
    batch = KoopmanMPC(double_integrator(linear_model), N, 1.0, 0.01, **settings).batch(3)
    U = batch.act([[0.5, 0.0], [-0.5, 0.0], [0.7, 0.1]])
    np.testing.assert_array_equal(batch.solved, [True, False, True])
    np.testing.assert_allclose(U[1], [0.25])
    for u, x in ((U[0], [0.5, 0.0]), (U[2], [0.7, 0.1])):
        alone.reset()
        np.testing.assert_allclose(u, alone.act(x), atol=1e-9)
    np.testing.assert_allclose(batch.act(-np.ones((3, 2))), np.full((3, 1), 0.25))


def test_a_copy_that_leaves_all_numbers_continues_its_plan_and_recovers(linear_model: Make) -> None:
    model = double_integrator(linear_model)
    settings: dict[str, Any] = {"bounds": Bounds(rates=0.3), "inputs": Inputs(safe=0.1)}
    alone = KoopmanMPC(model, N, [1.0, 0.1], 0.01, **settings)
    batch = KoopmanMPC(model, N, [1.0, 0.1], 0.01, **settings).batch(2)
    rungs: list[str] = []
    for x in ([1e200, 0.0], [0.5, 0.2], [1e200, 0.0], [1e200, 1e200], [0.4, 0.1]):
        wanted = alone.act(x)
        U = batch.act([x, [0.3, 0.0]])
        np.testing.assert_allclose(U[0], wanted, atol=1e-9)
        assert alone.last is not None
        rungs.append(alone.last.rung)
        np.testing.assert_array_equal(batch.solved, [rungs[-1] == "solved", True])
    assert rungs == ["safe", "solved", "shifted", "shifted", "solved"]


def test_observations_are_checked(linear_model: Make) -> None:
    batch = KoopmanMPC(double_integrator(linear_model), N).batch(3)
    with pytest.raises(ValueError, match="observations"):
        batch.act(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="observations"):
        batch.act(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="copies"):
        batch.reset(np.array([True, False]))


def test_nonlinear_roll_outs_are_refused(nonlinear_model: Make) -> None:
    mpc = KoopmanMPC(nonlinear_model(bilinear=True), N, rollout="relifted")
    with pytest.raises(ValueError, match="of its own"):
        mpc.batch(3)
