"""Every cost and constraint that can be stated, against CVXPY problems written down by hand."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, KoopmanMPC

atoms: Any = cp  # CVXPY's atoms carry no type information

Make = Callable[..., LiftedModel]
Extra = Callable[[Any, Any], tuple[Any, list[Any]]]
F: Any = np.array([[1.0, 0.1, 0.0], [-0.2, 0.9, 0.1], [0.0, 0.1, 0.8]])
G: Any = np.array([[0.0, 0.1], [0.1, 0.0], [0.05, 0.2]])
N, Q, R = 8, np.diag([1.0, 0.3, 0.1]), 0.1 * np.eye(2)
TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
rng = np.random.default_rng(0)
STARTS = rng.uniform(-1.5, 1.5, (4, 3))


@pytest.fixture
def model(linear_model: Make) -> LiftedModel:
    return linear_model(F, G, action_bounds=[[-1.0, -1.0], [1.0, 1.0]])


def by_hand(x: Array, extra: Extra, tracked: bool = True) -> tuple[Array, float]:
    """Minimise tracking cost and more over the plant's own equations, states as variables."""
    y, u = cp.Variable((N, 3)), cp.Variable((N, 2))
    cost, rows = extra(y, u)
    for k in range(N):
        rows.append(y[k] == F @ (y[k - 1] if k else x) + G @ u[k])
    if tracked:
        cost = cost + atoms.sum_squares(y @ np.sqrt(Q)) + atoms.sum_squares(u) * R[0, 0]
    problem = cp.Problem(cp.Minimize(cost), [*rows, u >= -1.0, u <= 1.0])
    value = problem.solve(solver="CLARABEL", **TIGHT)  # type: ignore[no-untyped-call]
    return np.asarray(u.value), float(value)


def assert_agrees(mpc: KoopmanMPC, extra: Extra, tracked: bool = True) -> None:
    for x in STARTS:
        mpc.reset()
        U, cost = by_hand(x, extra, tracked)
        mpc.act(x)
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
        np.testing.assert_allclose(mpc.last.inputs, U, atol=2e-6)
        assert mpc.last.objective == pytest.approx(cost, abs=1e-7, rel=1e-7)


def test_weights_may_differ_from_step_to_step(model: LiftedModel) -> None:
    weights = rng.uniform(0.1, 1.0, (N, 3))
    roots = rng.normal(size=(N, 2, 2))
    R_k = np.array([root @ root.T + 0.1 * np.eye(2) for root in roots])
    S = rng.uniform(0.0, 1.0, N)

    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        cost = sum(atoms.quad_form(y[k], np.diag(weights[k])) for k in range(N))
        cost += sum(atoms.quad_form(u[k], R_k[k]) for k in range(N))
        changes = [u[0], *(u[k] - u[k - 1] for k in range(1, N))]
        return cost + sum(S[k] * atoms.sum_squares(changes[k]) for k in range(N)), []

    assert_agrees(KoopmanMPC(model, N, weights, R_k, cost=Cost(S=S)), extra, tracked=False)


def test_linear_costs_and_targets_of_both_kinds(model: LiftedModel) -> None:
    price, reward, target = (
        rng.normal(size=(N, 2)),
        np.array([-0.3, 0.0, 0.2]),
        np.full((N, 2), 0.2),
    )
    target[:, 1] = np.linspace(0.0, 0.5, N)

    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        cost = atoms.sum(atoms.multiply(price, u)) + atoms.sum(y @ reward)
        cost += atoms.sum_squares(y @ np.sqrt(Q)) + 0.1 * atoms.sum_squares(u - target)
        return cost, []

    mpc = KoopmanMPC(
        model, N, Q, R, cost=Cost(linear_output=reward, linear_input=price, input_reference=target)
    )
    assert_agrees(mpc, extra, tracked=False)


def test_bounds_that_differ_from_step_to_step(model: LiftedModel) -> None:
    funnel = np.stack([-np.linspace(1.0, 0.2, N), np.linspace(1.0, 0.1, N)])
    outputs = np.tile([[[-np.inf]], [[np.inf]]], (1, N, 3))
    outputs[:, :, 0] = 1.5 * funnel
    inputs = np.stack([funnel, funnel], axis=2)

    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        slack = atoms.pos(
            atoms.abs(y[:, 0] - 0.5 * (1.5 * funnel).sum(0)) - 0.75 * np.ptp(funnel, 0)
        )
        rows = [u[:, j] >= funnel[0] for j in range(2)] + [u[:, j] <= funnel[1] for j in range(2)]
        return 3.0 * atoms.sum(slack) + 2.0 * atoms.sum_squares(slack), rows

    mpc = KoopmanMPC(
        model,
        N,
        Q,
        R,
        input_bounds=inputs,
        output_bounds=outputs,
        bounds=Bounds(slack_weight=(3.0, 2.0)),
    )
    assert_agrees(mpc, extra)


def test_a_polytope_softened_where_it_concerns_a_soft_output(model: LiftedModel) -> None:
    G_y, G_u, g = rng.normal(size=(3, 3)), rng.normal(size=(3, 2)), np.array([0.3, 0.8, 0.5])
    G_y[1] = 0.0  # on inputs alone, so that it stays hard
    prices = np.array([[4.0, 1.0, 2.0], [1.0, 0.5, 3.0]])

    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        excess = y @ G_y.T + u @ G_u.T - np.tile(g, (N, 1))
        slack = atoms.pos(excess) @ np.diag([1.0, 0.0, 1.0])
        return 4.0 * atoms.sum(slack) + 3.0 * atoms.sum_squares(slack), [excess[:, 1] <= 0.0]

    mpc = KoopmanMPC(model, N, Q, R, bounds=Bounds(polytope=(G_y, G_u, g), slack_weight=prices))
    assert_agrees(mpc, extra)


def test_prices_of_violations_differ_from_output_to_output(model: LiftedModel) -> None:
    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        slack = atoms.pos(atoms.abs(y) - 0.2)
        return atoms.sum(slack @ np.array([2.0, 0.0, 1.0])) + atoms.sum_squares(slack) * 0.5, []

    prices = [[2.0, 0.0, 1.0], [0.5, 0.5, 0.5]]
    mpc = KoopmanMPC(model, N, Q, R, output_bounds=(-0.2, 0.2), bounds=Bounds(slack_weight=prices))
    assert_agrees(mpc, extra)


def test_hard_bounds_and_a_terminal_box(model: LiftedModel) -> None:
    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        return 0.0, [y[:, 1] >= -1.6, atoms.abs(y[-1, 0]) <= 1.1, y[-1, 2] <= 0.15]

    mpc = KoopmanMPC(
        model,
        N,
        Q,
        R,
        output_bounds=[[-np.inf, -1.6, -np.inf], [np.inf] * 3],
        bounds=Bounds(terminal=[[-1.1, -np.inf, -np.inf], [1.1, np.inf, 0.15]], soft=False),
    )
    assert_agrees(mpc, extra)


def test_outputs_are_hard_or_soft_one_by_one(model: LiftedModel) -> None:
    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        slack = atoms.pos(atoms.abs(y[:, 0]) - 0.3)
        cost = 5.0 * atoms.sum(slack) + 5.0 * atoms.sum_squares(slack)
        return cost, [atoms.abs(y[:, 2]) <= 1.4]

    bounds = [[-0.3, -np.inf, -1.4], [0.3, np.inf, 1.4]]
    mpc = KoopmanMPC(
        model,
        N,
        Q,
        R,
        output_bounds=bounds,
        bounds=Bounds(soft=[True, True, False], slack_weight=5.0),
    )
    assert_agrees(mpc, extra)


def test_constraints_and_costs_of_the_users_own(model: LiftedModel) -> None:
    price = rng.normal(size=N)

    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        rows = [atoms.sum(u[:, 0]) == 0.3, y[:, 0] + u[:, 1] <= 1.8, atoms.norm1(u[:, 1]) <= 2.0]
        cost = price @ u[:, 1] + atoms.max(y[:, 1]) + 0.2 * atoms.norm1(u)
        return cost + 0.5 * atoms.sum(atoms.huber(y[:, 2], 0.1)), rows

    mpc = (
        KoopmanMPC(model, N, Q, R)
        .constrain(lambda y, u, p: atoms.sum(u[:, 0]) == p.total, total=0.3)
        .constrain(
            lambda y, u, p: [y[:, 0] + u[:, 1] <= p.cap, atoms.norm1(u[:, 1]) <= 2.0], cap=1.8
        )
        .penalize(lambda y, u, p: p.price @ u[:, 1] + atoms.max(y[:, 1]), price=price)
        .penalize(lambda y, u, p: 0.2 * atoms.norm1(u) + 0.5 * atoms.sum(atoms.huber(y[:, 2], 0.1)))
    )
    assert_agrees(mpc, extra)
    price[:], mpc.parameters["price"] = -price, -price
    assert_agrees(mpc, extra)


def test_second_order_cones_are_solved_through_cvxpy(model: LiftedModel) -> None:
    def extra(y: Any, u: Any) -> tuple[Any, list[Any]]:
        return 0.3 * atoms.norm(y[-1]), [atoms.norm(u, axis=1) <= 0.7]

    with pytest.warns(UserWarning, match="through CVXPY itself"):
        mpc = KoopmanMPC(model, N, Q, R).constrain(
            lambda y, u, p: atoms.norm(u, axis=1) <= p.radius, radius=0.7
        )
    with pytest.warns(UserWarning, match="through CVXPY itself"):
        mpc = mpc.penalize(lambda y, u, p: 0.3 * atoms.norm(y[-1]))
    for x in STARTS:
        mpc.reset()
        U, cost = by_hand(x, extra)
        np.testing.assert_allclose(mpc.act(x), U[0], atol=1e-4)
        assert mpc.last is not None
        assert mpc.last.objective == pytest.approx(cost, rel=1e-6)


def test_a_trajectory_is_previewed_and_its_last_row_held(model: LiftedModel) -> None:
    whole, inputs = rng.normal(size=(N + 3, 3)), rng.uniform(-0.5, 0.5, (N + 2, 2))
    mpc = KoopmanMPC(model, N, Q, R, reference=whole, cost=Cost(input_reference=inputs))
    for t in range(6):
        rows = np.minimum(np.arange(t, t + N), N + 2)
        own = np.minimum(np.arange(t, t + N), N + 1)
        windows = KoopmanMPC(
            model, N, Q, R, reference=whole[rows], cost=Cost(input_reference=inputs[own])
        )
        x = rng.normal(size=3)
        np.testing.assert_allclose(mpc.act(x), windows.act(x), atol=1e-12)
    mpc.reset()
    first = KoopmanMPC(model, N, Q, R, reference=whole[:N], cost=Cost(input_reference=inputs[:N]))
    np.testing.assert_allclose(mpc.act(STARTS[0]), first.act(STARTS[0]), atol=1e-12)
