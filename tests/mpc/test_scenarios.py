"""One plan for several models, against the scenario problem written down in CVXPY."""

from collections.abc import Callable
from typing import Any

import cvxpy
import numpy as np
import pytest
from scipy.optimize import minimize

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import Bounds, Cost, Inputs, KalmanObserver, KoopmanMPC, OffsetFree, Search
from koopman_control.mpc.estimation.base import Observer

cp: Any = cvxpy  # its functions are not declared for type checkers
Make = Callable[..., LiftedModel]
N = 6
BOX = [[-1.0], [1.0]]
PLANTS = [
    (np.array([[1.0, 0.2], [-0.1, a]]), np.array([[0.0], [b]]))
    for a, b in ((0.9, 0.3), (0.7, 0.5), (1.1, 0.2))
]
START = np.array([1.0, 0.5])
Q, R, TARGET = np.diag([1.0, 0.3]), 0.05, np.array([0.2, 0.0])
TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


@pytest.fixture
def models(linear_model: Make) -> list[LiftedModel]:
    return [linear_model(F, G, action_bounds=BOX) for F, G in PLANTS]


def predicted(u: Any) -> list[Any]:
    """States (N, 2) of every plant, step by step."""
    runs = []
    for F, G in PLANTS:
        x: Any = START
        states = []
        for k in range(N):
            x = F @ x + G @ u[k]
            states.append(x)
        runs.append(cp.vstack(states))
    return runs


def solved(u: Any, cost: Any, constraints: list[Any]) -> Array:
    problem = cp.Problem(cp.Minimize(cost), [u >= -1.0, u <= 1.0, *constraints])
    problem.solve(solver="CLARABEL", **TIGHT)
    assert problem.status == "optimal"
    return np.append(np.ravel(u.value), problem.value)


def tracking(u: Any, runs: list[Any]) -> Any:
    each = [cp.sum([cp.quad_form(y[k] - TARGET, Q) for k in range(N)]) for y in runs]
    return cp.sum(each) / len(runs) + R * cp.sum_squares(u)


def planned(mpc: KoopmanMPC) -> Array:
    mpc.act(START)
    assert mpc.last is not None
    assert mpc.last.rung == "solved"
    return np.append(mpc.last.inputs.ravel(), mpc.last.objective)


@pytest.mark.parametrize("solver", ["auto", "cvxpy"])
@pytest.mark.filterwarnings("ignore:each step is solved through CVXPY")
def test_the_plan_minimises_the_mean_cost_within_the_bounds_of_each(
    models: list[LiftedModel], solver: Any
) -> None:
    u = cp.Variable((N, 1))
    runs = predicted(u)
    bounds = [y[:, 1] >= -0.5 for y in runs]
    mixed = [y[:, 0] + 0.2 * u[:, 0] <= 1.16 for y in runs]
    expected = solved(u, tracking(u, runs), [*bounds, *mixed])
    mpc = KoopmanMPC(
        models,
        N,
        Q,
        R,
        reference=TARGET,
        output_bounds=[[-np.inf, -0.5], [np.inf, np.inf]],
        solver=solver,
        bounds=Bounds(polytope=([[1.0, 0.0], [0.0, 0.0]], [[0.2], [1.0]], [1.16, 1.0]), soft=False),
    )
    np.testing.assert_allclose(planned(mpc), expected, atol=1e-6)
    mpc.reset()
    guess = np.zeros((N, 1))
    np.testing.assert_allclose(mpc.reference_solution(START, guess)[1], expected[-1], rtol=1e-7)


def test_prices_of_violations_and_terminal_costs_are_means_as_well(
    models: list[LiftedModel],
) -> None:
    u = cp.Variable((N, 1))
    runs = predicted(u)
    over = [cp.pos(y[:, 0] - 0.9) for y in runs]
    price = cp.sum([2.0 * cp.sum(v) + 5.0 * cp.sum_squares(v) for v in over]) / len(runs)
    last = cp.sum([7.0 * cp.sum_squares(y[-1] - TARGET) for y in runs]) / len(runs)
    expected = solved(u, tracking(u, runs) + price + last, [])
    mpc = KoopmanMPC(
        models,
        N,
        Q,
        R,
        reference=TARGET,
        output_bounds=[[-np.inf, -np.inf], [0.9, np.inf]],
        cost=Cost(terminal=7.0),
        bounds=Bounds(slack_weight=(2.0, 5.0)),
    )
    np.testing.assert_allclose(planned(mpc), expected, atol=1e-6)


def test_the_users_terms_hold_for_every_model(models: list[LiftedModel]) -> None:
    u = cp.Variable((N, 1))
    runs = predicted(u)
    swing = cp.sum([cp.norm1(y[:, 1]) for y in runs]) / len(runs)
    cost = tracking(u, runs) + 0.4 * swing + 0.2 * cp.norm1(u)
    expected = solved(u, cost, [cp.sum(u) >= -1.5, *(y[-1, 1] >= -0.1 for y in runs)])
    mpc = (
        KoopmanMPC(models, N, Q, R, reference=TARGET)
        .constrain(lambda y, u, p: [y[-1, 1] >= p.low, cp.sum(u) >= -1.5], low=-0.1)
        .penalize(lambda y, u, p: 0.4 * cp.norm1(y[:, 1]))
        .penalize(lambda y, u, p: 0.2 * cp.norm1(u))
    )
    np.testing.assert_allclose(planned(mpc), expected, atol=1e-6)
    assert "stated" in str(mpc.explain())


@pytest.mark.parametrize("rollout", ["bilinear", "relifted"])
def test_a_nonlinear_plan_is_a_local_optimum_of_the_mean_cost(
    nonlinear_model: Make, rollout: Any
) -> None:
    models = [nonlinear_model(bilinear=True, seed=seed) for seed in (3, 4, 5)]

    def mean_cost(u: Array) -> float:
        U = u.reshape(N, 1)
        Y = np.stack([model.predict(START, U, rollout) for model in models]) - TARGET
        return float((Y @ Q * Y).sum() / len(models) + R * (U**2).sum())

    found = minimize(mean_cost, np.zeros(N), bounds=[(-1.0, 1.0)] * N, tol=1e-12)
    mpc = KoopmanMPC(
        models,
        N,
        Q,
        R,
        reference=TARGET,
        rollout=rollout,
        search=Search(first_iterations=60, first_guesses=4),
    )
    plan = planned(mpc)
    assert plan[-1] == pytest.approx(mean_cost(plan[:-1]), rel=1e-9)
    assert plan[-1] <= found.fun * (1.0 + 1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"bounds": Bounds(rates=0.2)},
        {"rollout": "relifted", "estimator": OffsetFree(0.1), "inputs": Inputs(delay=1)},
    ],
)
def test_a_model_given_twice_counts_once(nonlinear_model: Make, settings: dict[str, Any]) -> None:
    model = nonlinear_model(bilinear=False)
    one, two = (KoopmanMPC(given, N, Q, R, **settings) for given in (model, [model, model]))
    for k in range(5):
        y = START / (k + 1)
        np.testing.assert_allclose(two.act(y), one.act(y), atol=1e-8)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
@pytest.mark.parametrize("estimator", [KalmanObserver(0.1), OffsetFree(0.1), None])
def test_the_order_of_the_models_makes_no_difference(
    nonlinear_model: Make, rollout: Rollout, estimator: Observer | None
) -> None:
    """Each is started by an estimator of its own and predicts over the delay itself."""
    models = [nonlinear_model(bilinear=rollout != "linear", seed=seed) for seed in (3, 4, 5)]
    settings: dict[str, Any] = {
        "rollout": rollout,
        "estimator": estimator,
        "inputs": Inputs(delay=2),
    }
    settings |= {"reference": TARGET, "search": Search(iterations=5)}
    one = KoopmanMPC(models, N, Q, R, **settings)
    other = KoopmanMPC(models[::-1], N, Q, R, **settings)
    rng, atol = np.random.default_rng(0), 1e-7 if rollout == "linear" else 1e-5
    for _ in range(8):  # nonlinear ones stop at gains of 1e-9 of the cost
        y = rng.normal(size=2)
        np.testing.assert_allclose(one.act(y), other.act(y), atol=atol)
        assert one.last is not None
        assert one.last.rung == "solved"


def test_models_with_wrong_gains_leave_no_offset(linear_model: Make) -> None:
    F = np.array([[0.9, 0.1], [-0.1, 0.8]])
    models = [linear_model(F, [[0.05], [gain]], action_bounds=BOX) for gain in (0.2, 0.3, 0.5)]
    settings: dict[str, Any] = {
        "reference": [0.3, 0.0],
        "estimator": OffsetFree(0.01),
        "cost": Cost(S=0.1),
    }
    mpc, x = KoopmanMPC(models, 20, [1.0, 0.0], **settings), np.zeros(2)
    for _ in range(200):
        x = F @ x + [0.04, 0.25] * mpc.act(x) + [0.01, -0.03]
    assert abs(x[0] - 0.3) < 1e-6


def test_each_model_keeps_the_turn_of_its_own_angle(angle_model: Make) -> None:
    model = angle_model()
    one, two = (KoopmanMPC(given, N, 1.0, 0.1) for given in (model, [model, model]))
    y = [np.cos(3.1), np.sin(3.1), 0.3]
    np.testing.assert_allclose(two.act(y), one.act(y), atol=1e-8)


def test_copies_act_as_one_controller_each(models: list[LiftedModel]) -> None:
    mpc = KoopmanMPC(models, N, Q, R, reference=TARGET)
    states = np.array([START, -START])
    many = mpc.batch(2).act(states)
    for state, action in zip(states, many, strict=True):
        mpc.reset()
        np.testing.assert_allclose(action, mpc.act(state), atol=1e-9)


def test_a_bound_is_kept_by_every_plant_that_is_among_the_models(linear_model: Make) -> None:
    gains = (0.2, 0.3, 0.4)
    models = [linear_model([[1.0]], [[gain]], action_bounds=BOX) for gain in gains]
    settings: dict[str, Any] = {
        "reference": 1.0,
        "output_bounds": [[-np.inf], [1.0]],
        "bounds": Bounds(soft=False),
    }

    def highest(given: Any, gain: float) -> float:
        mpc, x, states = KoopmanMPC(given, N, 1.0, 0.0, **settings), 0.0, []
        for _ in range(20):
            x = x + gain * float(mpc.act([x])[0])
            states.append(x)
        return max(states)

    assert max(highest(models, gain) for gain in gains) <= 1.0 + 1e-7
    assert max(highest(models[0], gain) for gain in gains) > 1.05


def test_models_of_different_plants_are_refused(linear_model: Make) -> None:
    one, other = linear_model([[1.0]], [[1.0]]), linear_model(np.eye(2), np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"model\[1\] has other states or inputs"):
        KoopmanMPC([one, other], N)
    with pytest.raises(ValueError, match="model is empty"):
        KoopmanMPC([], N)
