"""Sequential quadratic programming on nonlinear roll-outs."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, KoopmanMPC, Search
from koopman_control.mpc.planning.plan import Plan
from koopman_control.mpc.planning.sequential import Guesses, SequentialPlanner, switching
from koopman_control.mpc.state import Situation, within_bounds

Make = Callable[..., LiftedModel]
N = 12


@pytest.fixture(params=["bilinear", "relifted"])
def mpc(request: pytest.FixtureRequest, nonlinear_model: Make) -> KoopmanMPC:
    rollout: Literal["bilinear", "relifted"] = request.param
    return KoopmanMPC(
        nonlinear_model(bilinear=True, n_inputs=2),
        N,
        [1.0, 0.5],
        0.01,
        rollout=rollout,
        output_bounds=(-0.8, 0.8),
        reference=[0.4, -0.2],
        bounds=Bounds(rates=0.5, slack_weight=30.0),
    )


def planner_of(mpc: KoopmanMPC) -> SequentialPlanner:
    planner = mpc._planner
    assert isinstance(planner, SequentialPlanner)
    return planner


def situation(mpc: KoopmanMPC, x: Array) -> Situation:
    return mpc._situation(x, mpc._state.start_at(x))


def feasible_guesses(mpc: KoopmanMPC, n: int, seed: int) -> Array:
    box = np.array([[-1.0, -1.0], [1.0, 1.0]])
    plans = switching(n, N, box, np.random.default_rng(seed))
    return within_bounds(plans, box, np.array([0.5, 0.5]), np.zeros(2))


def improved(mpc: KoopmanMPC, x: Array, start: Array, kept: list[int]) -> Plan:
    mpc.reset()
    return planner_of(mpc)._improved(situation(mpc, x), Guesses(start, None, kept), math.inf)


@pytest.mark.parametrize("seed", range(4))
def test_the_cost_never_rises_from_round_to_round(mpc: KoopmanMPC, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, start = 1.5 * rng.normal(size=2), feasible_guesses(mpc, 1, seed)
    costs = [improved(mpc, x, start, [1] * rounds).outcome.cost for rounds in range(1, 9)]
    Y = mpc.model.predict(x, start[0], mpc.rollout)
    at = situation(mpc, x)
    first = planner_of(mpc).merit(
        planner_of(mpc).merit.at(at.theta), start.reshape(1, -1), Y.reshape(1, -1)
    )[0]
    costs = [first, *costs]
    assert np.diff(costs).max() <= 0.0
    assert costs[-1] < 0.9 * costs[0]


def test_the_cost_told_is_that_of_the_plan_rolled_out(mpc: KoopmanMPC) -> None:
    x = np.array([0.9, -0.6])
    plan = improved(mpc, x, feasible_guesses(mpc, 3, 0), [3, 2, 1])
    np.testing.assert_allclose(plan.outcome.Y, mpc.model.predict(x, plan.U, mpc.rollout), atol=1e-9)
    merit = planner_of(mpc).merit(
        planner_of(mpc).merit.at(situation(mpc, x).theta),
        plan.U.reshape(1, -1),
        plan.outcome.Y.reshape(1, -1),
    )
    assert plan.outcome.cost == pytest.approx(merit[0], rel=1e-12)


def test_more_guesses_never_give_a_worse_plan(mpc: KoopmanMPC) -> None:
    x, start = np.array([1.5, 1.0]), feasible_guesses(mpc, 8, 1)
    alone = [improved(mpc, x, start[s : s + 1], [1]).outcome.cost for s in range(8)]
    assert improved(mpc, x, start, [8]).outcome.cost == pytest.approx(min(alone), rel=1e-12)


def test_plans_stay_within_input_and_rate_bounds(mpc: KoopmanMPC) -> None:
    for seed in range(5):
        x = 2.0 * np.random.default_rng(seed).normal(size=2)
        plan = improved(mpc, x, feasible_guesses(mpc, 4, seed), [4, 2, 2])
        assert np.abs(plan.U).max() <= 1.0 + 1e-8
        assert np.abs(np.diff(plan.U, axis=0, prepend=np.zeros((1, 2)))).max() <= 0.5 + 1e-8


def test_a_converged_plan_is_a_local_minimum(mpc: KoopmanMPC) -> None:
    x = np.array([0.9, -0.6])
    plan = improved(mpc, x, feasible_guesses(mpc, 1, 2), [1] * 80)
    at, rng = situation(mpc, x), np.random.default_rng(0)
    moved = plan.U + 1e-3 * rng.normal(size=(200, N, 2))
    box = np.array([[-1.0, -1.0], [1.0, 1.0]])
    moved = within_bounds(moved, box, np.array([0.5, 0.5]), np.zeros(2))
    Y = mpc.model.predict(x, moved, mpc.rollout)
    costs = planner_of(mpc).merit(
        planner_of(mpc).merit.at(at.theta), moved.reshape(200, -1), Y.reshape(200, -1)
    )
    assert costs.min() >= plan.outcome.cost * (1.0 - 1e-9)


def test_re_linearised_through_cvxpy_the_same_plan_is_found(nonlinear_model: Make) -> None:
    model = nonlinear_model(bilinear=False)
    settings: dict[str, Any] = {"R": 0.05, "rollout": "relifted", "search": Search(iterations=8)}
    settings["reference"] = [0.3, -0.1]
    fast = KoopmanMPC(model, 4, **settings)
    with pytest.warns(UserWarning, match="through CVXPY itself"):
        slow = KoopmanMPC(model, 4, solver="cvxpy", **settings)
    for observation in ([0.2, 0.1], [-0.3, 0.2]):
        np.testing.assert_allclose(slow.act(observation), fast.act(observation), atol=1e-6)
        assert slow.last is not None and fast.last is not None
        assert slow.last.objective == pytest.approx(fast.last.objective, abs=1e-9)


def test_a_target_beyond_the_input_bounds_still_gives_feasible_plans(
    nonlinear_model: Make,
) -> None:
    mpc = KoopmanMPC(
        nonlinear_model(bilinear=False),
        N,
        1.0,
        0.01,
        rollout="relifted",
        cost=Cost(input_reference=3.0),
    )
    mpc.act([0.3, 0.2])
    assert mpc.last is not None
    assert mpc.last.inputs.max() <= 1.0 + 1e-9


def test_switching_plans_fill_the_box_and_no_more() -> None:
    box = np.array([[-1.0, 2.0], [3.0, 2.5]])
    plans = switching(200, 40, box, np.random.default_rng(0))
    assert plans.shape == (200, 40, 2)
    np.testing.assert_array_equal(plans.min(axis=(0, 1)), box[0])
    np.testing.assert_array_equal(plans.max(axis=(0, 1)), box[1])
    assert all(len(np.unique(plan[:, 0])) <= 3 for plan in plans)


def test_clipping_to_rates_is_sequential() -> None:
    plans: Any = np.array([[[1.0], [1.0], [-1.0]]])
    box, rate = np.array([[-0.5], [0.6]]), np.array([0.4])
    clipped = within_bounds(plans, box, rate, np.array([0.1]))
    np.testing.assert_allclose(clipped[0, :, 0], [0.5, 0.6, 0.2])
