"""Unstable models over long horizons, against the problem stated with its states in CVXPY."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cvxpy
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Blocks, Bounds, Cost, Inputs, KoopmanMPC, OffsetFree
from koopman_control.mpc.planning.linear import stabilising_gain

cp: Any = cvxpy  # its functions are not declared for type checkers
Make = Callable[..., LiftedModel]
N = 60
G = np.array([[0.0, 0.3], [0.5, 0.0], [0.2, 0.1]])
Q, R, TARGET = np.diag([1.0, 0.5, 0.2]), 0.1, np.array([0.0, 0.5, 0.0])
START = np.array([0.1, -0.2, 0.5])
PRICE = cp.Parameter(nonneg=True, value=0.2)
BOX = [[-0.25, -0.25], [0.25, 0.25]]
TIGHT = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
SETTINGS: dict[str, Any] = {
    "reference": TARGET,
    "output_bounds": [[-np.inf] * 3, [np.inf, 0.45, np.inf]],
    "bounds": Bounds(rates=0.2, soft=False),
}


def plant(rho: float) -> Array:
    return np.array([[rho, 0.1, 0.0], [0.0, 1.0, 0.2], [0.05, 0.0, 0.8]])


def make_unstable(make: Make, rho: float) -> LiftedModel:
    return make(plant(rho), G, action_bounds=BOX)


def sparse(
    rho: float, start: Array = START, more: Callable[..., Any] | None = None, load: Any = 0.0
) -> tuple[Array, Array, float]:
    """Inputs, states and cost of the problem with its states as variables."""
    u, x = cp.Variable((N, 2)), cp.Variable((N + 1, 3))
    rates = cp.diff(cp.vstack([np.zeros((1, 2)), u]), axis=0)
    constraints = [x[0] == start, cp.abs(u) <= 0.25, cp.abs(rates) <= 0.2, x[1:, 1] <= 0.45]
    constraints += [x[k + 1] == plant(rho) @ x[k] + G @ u[k] + load for k in range(N)]
    cost = cp.sum([cp.quad_form(x[k] - TARGET, Q) for k in range(1, N + 1)])
    cost += R * cp.sum_squares(u)
    if more is not None:
        cost += more(x[1:], u)
    problem = cp.Problem(cp.Minimize(cost), constraints)
    problem.solve(solver="CLARABEL", **TIGHT)
    assert problem.status == "optimal"
    return np.asarray(u.value), np.asarray(x.value[1:]), float(problem.value)


def assert_planned(mpc: KoopmanMPC, expected: tuple[Array, Array, float]) -> None:
    assert mpc.last is not None
    assert mpc.last.rung == "solved"
    np.testing.assert_allclose(mpc.last.inputs, expected[0], atol=1e-6)
    np.testing.assert_allclose(mpc.last.outputs, expected[1], atol=1e-6)
    assert mpc.last.objective == pytest.approx(expected[2], rel=1e-9)


@pytest.mark.parametrize("rho", [1.3, 1.4, 1.5])
@pytest.mark.parametrize("solver", ["daqp", "clarabel"])
def test_long_plans_on_unstable_models_are_exact(
    linear_model: Make, rho: float, solver: Any
) -> None:
    mpc = KoopmanMPC(make_unstable(linear_model, rho), N, Q, R, solver=solver, **SETTINGS)
    mpc.act(START)
    assert_planned(mpc, sparse(rho))
    assert "feedback that holds the unstable model" in str(mpc.explain())
    explained = mpc.explain().program
    assert explained is not None
    assert explained.condition < 1e4
    kinds = {name.rsplit(",")[0][:-2].split(" ", 1)[1] for name in mpc.explain().active}
    assert kinds == {"bound of input", "rate bound of input", "bound of output"}


def test_without_feedback_the_same_plan_is_wrong(linear_model: Make) -> None:
    model = make_unstable(linear_model, 1.4)
    with pytest.warns(UserWarning, match=r"inputs are parametrised.* horizon of at most 3\d"):
        mpc = KoopmanMPC(model, N, Q, R, inputs=Inputs(parametrization=Blocks([1] * N)), **SETTINGS)
    mpc.act(START)
    assert mpc.last is not None
    assert np.abs(mpc.last.inputs - sparse(1.4)[0]).max() > 1e-2


def test_the_users_own_terms_see_the_inputs(linear_model: Make) -> None:
    mpc = KoopmanMPC(make_unstable(linear_model, 1.5), N, Q, R, **SETTINGS)
    mpc = mpc.penalize(lambda y, u, p: p.price * (cp.norm1(u) + cp.norm1(y[:, 2])), price=PRICE)
    mpc.parameters["price"] = 0.1
    mpc.act(START)
    more = sparse(1.5, more=lambda y, u: 0.1 * (cp.norm1(u) + cp.norm1(y[:, 2])))
    assert_planned(mpc, more)


def test_a_load_that_is_measured_ahead_is_reckoned_with(linear_model: Make) -> None:
    load = np.array([0.02, -0.05, 0.04])
    bounds = [[-0.25, -0.25, -9.0], [0.25, 0.25, 9.0]]
    model = linear_model(plant(1.5), np.column_stack([G, load]), action_bounds=bounds)
    mpc = KoopmanMPC(model, N, Q, R, inputs=Inputs(measured=[2]), **SETTINGS)
    mpc.act(START, [1.0])
    assert_planned(mpc, sparse(1.5, load=load))


def test_a_constant_load_leaves_no_offset(linear_model: Make) -> None:
    F = np.diag([1.4, 0.9, 0.5])
    target = np.array([0.2, 0.1, 0.0])
    mpc = KoopmanMPC(
        linear_model(F, G, action_bounds=[[-2.0] * 2, [2.0] * 2]),
        N,
        [1.0, 1.0, 0.0],
        0.0,
        reference=target,
        estimator=OffsetFree(0.01),
        cost=Cost(S=1.0),
    )
    x = np.zeros(3)
    for _ in range(200):
        x = F @ x + G @ mpc.act(x) + [0.01, -0.02, 0.0]
    np.testing.assert_allclose(x[:2], target[:2], atol=1e-6)
    assert "feedback" in mpc.explain().inputs


def test_in_closed_loop_copies_plan_like_one_controller(linear_model: Make) -> None:
    model = make_unstable(linear_model, 1.3)
    alone, batch = (KoopmanMPC(model, N, Q, R, **SETTINGS) for _ in range(2))
    many = batch.batch(2)
    X = np.stack([START, -0.1 * START])
    for _ in range(5):
        U = many.act(X)
        np.testing.assert_allclose(alone.act(X[0]), U[0], atol=1e-8)
        X = X @ plant(1.3).T + U @ G.T


def test_a_bound_that_cannot_be_kept_yields(linear_model: Make) -> None:
    mpc = KoopmanMPC(make_unstable(linear_model, 1.3), N, Q, R, **SETTINGS)
    mpc.act([0.0, 0.6, 0.0])
    assert mpc.last is not None
    assert mpc.last.rung == "softened"
    assert np.isfinite(mpc.last.outputs).all()
    assert np.abs(mpc.last.inputs).max() <= 0.25 + 1e-9


def test_beyond_the_reach_of_its_inputs_a_plant_is_pushed_back(linear_model: Make) -> None:
    mpc = KoopmanMPC(make_unstable(linear_model, 1.5), N, Q, R)
    many = mpc.batch(2)
    for u in (mpc.act([2.0, 0.0, 0.0]), many.act([[2.0, 0.0, 0.0]] * 2)[0]):
        np.testing.assert_allclose(u, [-0.25, -0.25], atol=1e-6)
    assert mpc.last is not None
    assert mpc.last.rung == "solved"


def test_one_plan_for_two_unstable_models_is_exact_as_well(linear_model: Make) -> None:
    gains = (G, np.array([[0.2, 0.3], [0.5, 0.0], [0.2, 0.1]]))
    models = [linear_model(plant(1.3), gain, action_bounds=BOX) for gain in gains]
    mpc = KoopmanMPC(models, N, Q, R)
    mpc.act(0.1 * START)
    u = cp.Variable((N, 2))
    cost, constraints = R * cp.sum_squares(u), [cp.abs(u) <= 0.25]
    for gain in gains:
        x = cp.Variable((N + 1, 3))
        constraints += [x[0] == 0.1 * START]
        constraints += [x[k + 1] == plant(1.3) @ x[k] + gain @ u[k] for k in range(N)]
        cost += cp.sum([cp.quad_form(x[k], Q) for k in range(1, N + 1)]) / 2.0
    problem = cp.Problem(cp.Minimize(cost), constraints)
    problem.solve(solver="CLARABEL", **TIGHT)
    assert mpc.last is not None
    np.testing.assert_allclose(mpc.last.inputs, u.value, atol=1e-6)


def test_an_unstable_angle_is_held_at_every_turn(angle_model: Make) -> None:
    """The same plant a turn further is the same plant."""
    model = angle_model()
    A = model.A.copy()
    A[-1, -1] = 1.4  # angle+ = 1.4 angle + speed / 10
    A[2 + 1, 2 + 1] = 1.0
    falling = replace(model, A=A)
    one = KoopmanMPC(falling, N, 1.0, 0.1, cost=Cost(terminal=1.0))
    other = KoopmanMPC(falling, N, 1.0, 0.1, reference=[2.0 * np.pi, 0.0], cost=Cost(terminal=1.0))
    y = [np.cos(0.05), np.sin(0.05), -0.1]
    np.testing.assert_allclose(one.act(y), other.act(y), atol=1e-9)
    assert one.last is not None
    assert "feedback" in one.explain().inputs
    assert np.abs(one.last.outputs[-1]).max() < 1e-3


def test_growing_modes_are_mirrored_and_others_stay() -> None:
    A = np.diag([1.5, 1.2, 1.0, 0.9, 1.0])
    A[:2, :2] = [[1.2, 0.4], [-0.4, 1.2]]  # turns and grows
    A[2, 0] = A[3, 1] = 0.3
    B = np.array([[0.1], [0.5], [0.2], [0.0], [0.0]])
    K = stabilising_gain(A, B, 60)
    assert K is not None
    found = np.sort_complex(np.linalg.eigvals(A - B @ K))
    size = 1.2**2 + 0.4**2
    pair = np.array([1.2 - 0.4j, 1.2 + 0.4j]) / size
    np.testing.assert_allclose(found, np.sort_complex([*pair, 0.9, 1.0, 1.0]), atol=1e-9)


def test_of_growth_that_is_still_resolved_nothing_is_said(linear_model: Make) -> None:
    """Inputs that are made of blocks leave no room for feedback, and 1.19^60 is 3e4."""
    model = linear_model([[1.19]], [[1.0]], action_bounds=[[-1.0], [1.0]])
    plan = KoopmanMPC(model, 60, inputs=Inputs(parametrization=Blocks([1, 1, 1, 57])))
    assert plan.act([0.1])[0] < 0.0
    assert "feedback" not in str(plan.explain())


def test_what_cannot_be_held_is_told(linear_model: Make) -> None:
    A, B = np.diag([1.5, 1.4]), np.array([[1.0], [0.0]])
    assert stabilising_gain(A, B, N) is None
    assert stabilising_gain(np.diag([1.0, 0.9]), B, N) is None
    twice = [linear_model([[1.5]], [[1.0]]), linear_model([[1.5]], [[1.0]])]
    with pytest.warns(UserWarning, match="no feedback prevents it"):
        KoopmanMPC(twice, N)


@pytest.mark.parametrize(
    ("rho", "remedy"), [(1e8, ", or take a horizon of at most 12"), (1e200, "")]
)
@pytest.mark.parametrize("solver", ["auto", "cvxpy"])
def test_a_model_that_no_computer_can_roll_out_is_refused(
    linear_model: Make, rho: float, remedy: str, solver: Any
) -> None:
    with pytest.raises(ValueError, match=rf"grows beyond 1e\+100 .* stability=1.0{remedy}"):
        KoopmanMPC(linear_model(rho * np.eye(2), np.ones((2, 1))), 20, solver=solver)


@pytest.mark.parametrize("R", [0.0, np.diag([1.0, 0.0])])
def test_inputs_that_cost_nothing_are_resolved_better(linear_model: Make, R: Any) -> None:
    """There the cost is flat, and predictions that grow by fifty are too much for solvers."""
    model = make_unstable(linear_model, 1.2)
    priced, free = (KoopmanMPC(model, 20, Q, price) for price in (0.1, R))
    assert "feedback" not in str(priced.explain())
    assert "feedback" in str(free.explain())
