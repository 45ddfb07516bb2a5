"""The whole compiled path against the CVXPY problem solved by Clarabel at tight tolerance."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, KoopmanMPC, Search

Make = Callable[..., LiftedModel]
TOLERANCE = {"daqp": 1e-6, "osqp": 1e-4, "piqp": 1e-6, "clarabel": 1e-6}
BOUNDED: dict[str, Any] = {
    "output_bounds": [[-np.inf, -0.3], [0.5, 0.3]],
    "cost": Cost(S=0.05),
    "bounds": Bounds(rates=0.4, slack_weight=20.0),
}
SOLVERS = ["daqp", "osqp", "piqp", "clarabel"]


def double_integrator(make: Make) -> LiftedModel:
    return make([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], action_bounds=[[-1.0], [1.0]])


def visited(controller: KoopmanMPC, model: LiftedModel, x: Array, n: int) -> list[Array]:
    """Run the closed loop on the model; return the observations."""
    states = []
    for _ in range(n):
        states.append(x)
        x = model.predict(x, controller.act(x)[None], controller.rollout)[0]
    return states


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "settings", [{}, BOUNDED, BOUNDED | {"cost": Cost(S=0.05, terminal=[[3.0, 1.0], [1.0, 2.0]])}]
)
def test_linear_roll_out(linear_model: Make, settings: dict[str, Any], solver: str) -> None:
    model = double_integrator(linear_model)
    cost = replace(settings.get("cost", Cost()), input_reference=0.1)
    given = settings | {"cost": cost, "reference": lambda y: (0.8, 0.0)}
    mpc = KoopmanMPC(model, 12, [1.0, 0.1], 0.01, solver=solver, **given)
    x, binding = np.array([-1.5, 0.6]), 0
    for _ in range(12):
        U, cost = mpc.reference_solution(x, np.zeros((12, 1)))  # before act moves on
        u = mpc.act(x)
        assert mpc.last is not None
        np.testing.assert_allclose(u, U[0], atol=TOLERANCE[solver])
        assert mpc.last.objective == pytest.approx(cost, rel=1e-4 if solver == "osqp" else 1e-7)
        binding += int(np.abs(np.abs(mpc.last.inputs) - 1.0).min() < 1e-5)
        x = model.predict(x, u[None], "linear")[0]
    assert binding  # the input bound was reached in some plan


def test_the_oracle_sees_active_bounds_of_all_kinds(linear_model: Make) -> None:
    model = double_integrator(linear_model)
    mpc = KoopmanMPC(model, 12, [1.0, 0.1], 0.01, reference=[0.8, 0.0], **BOUNDED)
    visited(mpc, model, np.array([-1.5, 0.6]), 1)
    assert mpc.last is not None
    u, y = mpc.last.inputs[:, 0], mpc.last.outputs
    rates = np.diff(u, prepend=0.0)
    assert (np.abs(np.abs(u) - 1.0) < 1e-7).any()
    assert (np.abs(np.abs(rates) - 0.4) < 1e-7).any()
    assert (np.abs(y[:, 1] - 0.3) < 1e-7).any()  # a soft bound that holds
    assert y[:, 1].max() > 0.31  # and one that cannot: the plant starts beyond it


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("settings", [{}, BOUNDED])
@pytest.mark.parametrize("rollout", ["bilinear", "relifted"])
def test_a_converged_nonlinear_plan_solves_the_program_about_itself(
    nonlinear_model: Make,
    rollout: Literal["bilinear", "relifted"],
    settings: dict[str, Any],
    solver: str,
) -> None:
    model = nonlinear_model(bilinear=True)
    mpc = KoopmanMPC(
        model,
        10,
        1.0,
        0.05,
        rollout=rollout,
        solver=solver,
        search=Search(first_iterations=60),
        **settings,
    )
    for x in np.random.default_rng(0).uniform(-1.0, 1.0, (3, 2)):
        mpc.reset()
        u = mpc.act(x)
        assert mpc.last is not None
        plan, objective = mpc.last.inputs, mpc.last.objective
        mpc.reset()  # so that both start from the same previous input
        U, cost = mpc.reference_solution(x, plan)
        np.testing.assert_allclose(u, U[0], atol=30 * TOLERANCE[solver])
        assert objective == pytest.approx(cost, rel=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rollout", ["bilinear", "relifted"])
def test_a_plant_that_is_linear_in_disguise_is_solved_in_one_round(
    linear_model: Make, rollout: Literal["bilinear", "relifted"], solver: str
) -> None:
    """Without curvature, the convex program about any guess is the problem itself."""
    F, G = [[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]]
    model = linear_model(F, G, couplings=np.zeros((1, 2, 2)), action_bounds=[[-1.0], [1.0]])
    mpc = KoopmanMPC(
        model,
        12,
        [1.0, 0.1],
        0.01,
        rollout=rollout,
        solver=solver,
        reference=[0.8, 0.0],
        search=Search(first_iterations=1),
        **BOUNDED,
    )
    for x in np.random.default_rng(1).uniform(-1.0, 1.0, (4, 2)):
        mpc.reset()
        U, cost = mpc.reference_solution(x, np.zeros((12, 1)))
        np.testing.assert_allclose(mpc.act(x), U[0], atol=TOLERANCE[solver])
        assert mpc.last is not None
        assert mpc.last.objective == pytest.approx(cost, rel=1e-4 if solver == "osqp" else 1e-7)


def test_two_inputs_and_a_full_weight(linear_model: Make) -> None:
    rng = np.random.default_rng(2)
    F, G = np.eye(3) + 0.1 * rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    model = linear_model(F, G, action_bounds=[[-0.2, -0.1], [0.2, 0.3]])
    root = rng.normal(size=(3, 3))
    mpc = KoopmanMPC(
        model,
        8,
        root @ root.T,
        [[0.2, 0.05], [0.05, 0.1]],
        output_bounds=[-0.8, 0.8],
        reference=rng.normal(size=(8, 3)),
        cost=Cost(S=[0.0, 0.3], input_reference=[0.1, -0.05]),
        bounds=Bounds(rates=[0.1, np.inf]),
    )
    for x in rng.uniform(-1.0, 1.0, (6, 3)):
        U, cost = mpc.reference_solution(x, np.zeros((8, 2)))
        np.testing.assert_allclose(mpc.act(x), U[0], atol=1e-6)
        assert mpc.last is not None
        np.testing.assert_allclose(mpc.last.inputs, U, atol=1e-5)
        assert mpc.last.objective == pytest.approx(cost, rel=1e-8)
