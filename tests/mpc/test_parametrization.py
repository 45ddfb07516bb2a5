"""Plans of fewer free values than steps, against the full problem with equality constraints."""

from collections.abc import Callable
from typing import Any, Literal

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Blocks, Bounds, Cost, Inputs, Knots, KoopmanMPC
from koopman_control.mpc.planning.sequential import Guesses, SequentialPlanner
from koopman_control.mpc.state import Situation, within_bounds

Make = Callable[..., LiftedModel]
N = 12
SETTINGS: dict[str, Any] = {
    "output_bounds": (-0.5, 0.5),
    "reference": [0.4, -0.3, 0.2],
    "cost": Cost(S=0.05),
    "bounds": Bounds(rates=[0.3, 0.2], slack_weight=20.0),
}
CHOICES = [Blocks([1, 1, 2, 4]), Blocks(5), Blocks([1, 1, 1]), Knots([0, 1, 3, 7]), Knots(5)]


@pytest.fixture
def model(linear_model: Make) -> LiftedModel:
    rng = np.random.default_rng(4)
    F, G = 0.9 * np.eye(3) + 0.1 * rng.normal(size=(3, 3)), 0.3 * rng.normal(size=(3, 2))
    return linear_model(F, G, action_bounds=[[-1.0, -0.5], [1.0, 0.8]])


def controller(model: LiftedModel, **settings: Any) -> KoopmanMPC:
    return KoopmanMPC(model, N, 1.0, 0.01, **(SETTINGS | settings))


def visited(mpc: KoopmanMPC, n: int = 8) -> list[tuple[Array, Array]]:
    """Run the closed loop on the model; return states and plans."""
    x, seen = np.array([0.9, -0.7, 0.5]), []
    for _ in range(n):
        u = mpc.act(x)
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
        seen.append((x, mpc.last.inputs))
        x = mpc.model.predict(x, u[None], "linear")[0]
    return seen


@pytest.mark.parametrize("every_step", [Blocks([1] * N), Blocks(N), Knots(list(range(N)))])
def test_one_value_for_each_step_is_the_full_problem(
    model: LiftedModel, every_step: Blocks | Knots
) -> None:
    inputs = Inputs(parametrization=every_step)
    full, same = visited(controller(model)), visited(controller(model, inputs=inputs))
    for (_, U), (_, V) in zip(full, same, strict=True):
        np.testing.assert_allclose(V, U, atol=1e-9)


@pytest.mark.parametrize("inputs", CHOICES)
def test_plans_solve_the_full_problem_among_those_of_their_form(
    model: LiftedModel, inputs: Blocks | Knots
) -> None:
    mpc, x = controller(model, inputs=Inputs(parametrization=inputs)), np.array([0.9, -0.7, 0.5])
    for _ in range(6):
        mpc.reference_solution(x, np.zeros((N, 2)))  # sets the parameters
        stated, M = mpc._tracking, inputs.matrix(N)
        values = cp.Variable((M.shape[1], 2))
        problem = cp.Problem(
            mpc.problem.objective, [*mpc.problem.constraints, stated.u == M @ values]
        )
        tight = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
        cost = problem.solve(solver="CLARABEL", **tight)  # type: ignore[no-untyped-call]
        u = mpc.act(x)
        assert mpc.last is not None
        np.testing.assert_allclose(mpc.last.inputs, np.asarray(stated.u.value), atol=1e-6)
        assert mpc.last.objective == pytest.approx(float(cost), rel=1e-7)
        x = model.predict(x, u[None], "linear")[0]


@pytest.mark.parametrize("inputs", CHOICES)
def test_every_step_of_a_plan_keeps_the_bounds(model: LiftedModel, inputs: Blocks | Knots) -> None:
    mpc = controller(model, inputs=Inputs(parametrization=inputs), cost=Cost(S=0.0))
    previous = np.zeros(2)
    for _, U in visited(mpc):
        assert np.all(U >= np.array([-1.0, -0.5]) - 1e-8)
        assert np.all(U <= np.array([1.0, 0.8]) + 1e-8)
        changes = np.diff(U, axis=0, prepend=previous[None])
        assert np.all(np.abs(changes) <= np.array([0.3, 0.2]) + 1e-8)
        previous = U[0]


def situation(mpc: KoopmanMPC, x: Array) -> Situation:
    return mpc._situation(x, mpc._state.start_at(x))


def planner_of(mpc: KoopmanMPC) -> Any:
    return mpc._planner


def test_redundant_rows_are_dropped(model: LiftedModel) -> None:
    mpc = controller(model, output_bounds=None, inputs=Inputs(parametrization=Knots([0, 2, 11])))
    at = planner_of(mpc).condenser
    assert at.n_values == 6
    # First changes and rates up to the second knot; rates to the third follow from the bounds.
    assert len(at.A_v) == 2 + 2


@pytest.mark.parametrize("rollout", ["bilinear", "relifted"])
@pytest.mark.parametrize("inputs", [Blocks(4), Knots(5)])
def test_converged_nonlinear_plans_are_local_minima_among_those_of_their_form(
    nonlinear_model: Make, rollout: Literal["bilinear", "relifted"], inputs: Blocks | Knots
) -> None:
    plant, M = nonlinear_model(bilinear=True, n_inputs=2), inputs.matrix(N)
    mpc = KoopmanMPC(
        plant,
        N,
        [1.0, 0.5],
        0.01,
        rollout=rollout,
        bounds=Bounds(rates=0.5),
        inputs=Inputs(parametrization=inputs),
    )
    planner, at = planner_of(mpc), situation(mpc, np.array([0.9, -0.6]))
    assert isinstance(planner, SequentialPlanner)
    plan = planner._improved(at, Guesses(np.zeros((1, N, 2)), None, [1] * 80), np.inf)
    values = np.linalg.lstsq(M, plan.U, rcond=None)[0]
    np.testing.assert_allclose(M @ values, plan.U, atol=1e-12)
    assert np.abs(np.diff(plan.U, axis=0, prepend=np.zeros((1, 2)))).max() <= 0.5 + 1e-8
    box, rng = np.array([[-1.0], [1.0]]), np.random.default_rng(0)
    moved = M @ (values + 1e-3 * rng.normal(size=(10_000, *values.shape)))
    kept = within_bounds(moved, box, np.full(2, 0.5), np.zeros(2))
    moved = moved[np.abs(moved - kept).max(axis=(1, 2)) <= 1e-12]
    assert len(moved) > 20
    Y = plant.predict(np.array([0.9, -0.6]), moved, rollout)
    costs = planner.merit(
        planner.merit.at(at.theta), moved.reshape(len(moved), -1), Y.reshape(len(moved), -1)
    )
    assert costs.min() >= plan.outcome.cost * (1.0 - 1e-9)


def test_knots_are_dense_at_first_and_end_with_the_horizon() -> None:
    M = Knots(6).matrix(30)
    steps = [int(np.argmax(column)) for column in M.T]
    assert steps[0] == 0
    assert steps[-1] == 29
    assert np.all(np.diff(steps, n=2) >= 0)
    np.testing.assert_allclose(M.sum(axis=1), 1.0, atol=1e-15)


def test_a_number_of_blocks_covers_the_horizon_with_growing_blocks() -> None:
    lengths = Blocks(6).matrix(30).sum(axis=0)
    assert lengths.sum() == 30
    assert lengths[0] == 1
    assert np.all(np.diff(lengths) >= 0)


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        (Blocks([]), "lengths"),
        (Blocks([4, 0]), "lengths"),
        (Blocks([12, 1]), "horizon"),
        (Blocks(13), "horizon"),
        (Knots(0), "steps"),
        (Knots([1, 3]), "rising"),
        (Knots([0, 3, 3]), "rising"),
        (Knots([0, 12]), "rising"),
    ],
)
def test_impossible_parametrisations_are_refused(
    model: LiftedModel, inputs: Blocks | Knots, word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        controller(model, inputs=Inputs(parametrization=inputs))


def test_the_smallest_numbers_ask_for_one_block_and_for_a_line() -> None:
    np.testing.assert_array_equal(Blocks(1).matrix(4), np.ones((4, 1)))
    line = np.arange(4.0) / 3.0
    np.testing.assert_allclose(Knots(2).matrix(4), np.stack([1.0 - line, line], axis=1))
