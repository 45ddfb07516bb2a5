"""The quadratic program solvers behind their common call."""

import pickle
from typing import Any

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from koopman_control.common.arrays import Array
from koopman_control.mpc.solvers import (
    AutoSolver,
    DaqpSolver,
    DenseQP,
    OsqpSolver,
    Solver,
    available_solvers,
    make_solver,
)

N_VARIABLES, N_ROWS = 8, 14


def random_program(seed: int, soft: bool = True) -> DenseQP:
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(2 * N_VARIABLES, N_VARIABLES))
    inside = rng.uniform(-0.3, 0.3, N_VARIABLES)
    A = rng.normal(size=(N_ROWS, N_VARIABLES))
    width = rng.uniform(0.0, 0.6, (2, N_VARIABLES + N_ROWS))
    value = np.concatenate([inside, A @ inside])
    relaxed = np.arange(N_ROWS) % 3 == 0 if soft else np.zeros(N_ROWS, dtype=bool)
    return DenseQP(
        H=G.T @ G + 1e-3 * np.eye(N_VARIABLES),
        f=30.0 * rng.normal(size=N_VARIABLES),
        A=A,
        lower=value - width[0],
        upper=np.where(np.arange(len(value)) % 5 == 4, np.inf, value + width[1]),
        linear_weight=np.where(relaxed, rng.uniform(1.0, 20.0, N_ROWS), np.inf),
        quadratic_weight=np.where(relaxed, rng.uniform(1.0, 20.0, N_ROWS), np.inf),
    )


def stationarity(qp: DenseQP, v: Array) -> float:
    """Smallest residual of H v + f + forces = 0 over the forces that active rows may exert."""
    rows = np.vstack([np.eye(len(v)), qp.A])
    weight = np.append(np.full(len(v), np.inf), qp.linear_weight)
    square = np.append(np.full(len(v), np.inf), qp.quadratic_weight)
    above, below = rows @ v - qp.upper, qp.lower - rows @ v
    residual = qp.H @ v + qp.f
    forces, most = [], []
    for sign, over in ((1.0, above), (-1.0, below)):
        violated = np.isfinite(weight) & (over > 1e-9)
        price = weight[violated] + square[violated] * over[violated]
        residual = residual + sign * rows[violated].T @ price
        active = ~violated & (np.abs(over) <= 1e-9)
        forces.extend(sign * rows[active])
        most.extend(weight[active])
    if not forces:
        return float(np.abs(residual).max())
    fit = lsq_linear(np.array(forces).T, -residual, bounds=(0.0, np.array(most)), tol=1e-15)
    return float(np.abs(fit.fun).max())


def worst_violation(qp: DenseQP, v: Array) -> float:
    hard = np.append(np.ones(len(v), dtype=bool), ~np.isfinite(qp.linear_weight))
    value = np.concatenate([v, qp.A @ v])
    return float(np.maximum(value - qp.upper, qp.lower - value)[hard].max())


@pytest.mark.parametrize("seed", range(25))
def test_daqp_meets_the_optimality_conditions(seed: int) -> None:
    qp = random_program(seed)
    v = DaqpSolver().solve(qp, matrices_changed=False).v
    assert v is not None
    assert worst_violation(qp, v) < 1e-8
    assert stationarity(qp, v) < 1e-8


def test_dear_sides_out_of_reach_cost_no_digits_of_those_that_hold() -> None:
    rng, n = np.random.default_rng(0), 12
    T, price = rng.normal(size=(n, n)), 1e9
    dear = 1.6 ** np.arange(n) @ T  # of what the other rows allow it is 1.6^0 + 1.6^1 + ...
    qp = DenseQP(
        H=np.eye(n),
        f=rng.normal(size=n),
        A=np.vstack([T, dear]),
        lower=np.append(np.full(2 * n, -np.inf), 1e4),
        upper=np.concatenate([np.full(n, np.inf), np.ones(n), [np.inf]]),
        linear_weight=np.append(np.full(n, np.inf), price),
        quadratic_weight=np.append(np.full(n, np.inf), price),
    )
    v = DaqpSolver().solve(qp, matrices_changed=False).v
    assert v is not None
    np.testing.assert_allclose(T @ v, np.ones(n), atol=1e-11)


def test_a_warm_started_sequence_meets_them_too() -> None:
    solver = DaqpSolver()
    for seed in range(40):  # matrices, vectors and active rows all change
        qp = random_program(seed)
        v = solver.solve(with_first_weights(qp), matrices_changed=True).v
        assert v is not None
        assert worst_violation(qp, v) < 1e-8
        assert stationarity(with_first_weights(qp), v) < 1e-8


def with_first_weights(qp: DenseQP) -> DenseQP:
    """Weights belong to the problem and stay the same from step to step."""
    first = random_program(0)
    return DenseQP(
        qp.H, qp.f, qp.A, qp.lower, qp.upper, first.linear_weight, first.quadratic_weight
    )


@pytest.mark.parametrize("seed", range(5))
def test_both_solvers_agree(seed: int) -> None:
    daqp, osqp = DaqpSolver(), OsqpSolver()
    for k in range(3):  # set up, new matrices, new vectors only
        qp = with_first_weights(random_program(10 * seed + min(k, 1)))
        if k == 2:
            qp = DenseQP(
                qp.H, -qp.f, qp.A, qp.lower, qp.upper, qp.linear_weight, qp.quadratic_weight
            )
        v, w = (s.solve(qp, matrices_changed=k == 1).v for s in (daqp, osqp))
        assert v is not None
        assert w is not None
        np.testing.assert_allclose(v, w, atol=1e-4)


def small(f: Any, A: Any, lower: Any, upper: Any, H: Any = None) -> DenseQP:
    rows = np.asarray(A, dtype=float).reshape(-1, 2)
    hard = np.full(len(rows), np.inf)
    H = np.eye(2) if H is None else np.asarray(H, dtype=float)
    vectors = (np.asarray(v, dtype=float) for v in (f, lower, upper))
    f, lower, upper = vectors
    return DenseQP(H, f, rows, lower, upper, hard, hard)


def answer(solver: Solver, qp: DenseQP) -> Array:
    v = solver.solve(qp, matrices_changed=False).v
    assert v is not None
    return v


@pytest.fixture(params=sorted(available_solvers()))
def solver(request: pytest.FixtureRequest) -> Solver:
    return make_solver(request.param)


def test_without_any_constraint_the_minimum_is_the_stationary_point(solver: Solver) -> None:
    infinite = np.full(2, np.inf)
    v = answer(solver, small([-1, 2], [], -infinite, infinite))
    np.testing.assert_allclose(v, np.array([1.0, -2.0]), atol=1e-6)


def test_an_input_that_costs_and_does_nothing_is_no_obstacle(solver: Solver) -> None:
    qp = small([-0.5, 0], [], [-1, -1], [1, 1], H=[[1, 0], [0, 0]])
    v = answer(solver, qp)
    assert v[0] == pytest.approx(0.5, abs=1e-6)
    assert abs(v[1]) <= 1.0


def test_bounds_that_meet_and_part_again_are_followed(solver: Solver) -> None:
    fixed = small([-1, 2], [[1, 1]], [-1, -1, 0.5], [1, 1, 0.5])
    np.testing.assert_allclose(answer(solver, fixed), np.array([1.0, -0.5]), atol=1e-6)
    parted = small([-1, 2], [[1, 1]], [-1, -1, -3], [1, 1, 3])
    np.testing.assert_allclose(answer(solver, parted), np.array([1.0, -1.0]), atol=1e-6)


def test_an_infeasible_program_is_recognised_and_the_next_one_solved(solver: Solver) -> None:
    def feasible() -> DenseQP:
        return small([-1, 2], [[1, 1]], [-1, -1, -3], [1, 1, 3])

    assert solver.solve(feasible(), False).v is not None
    failed = solver.solve(small([-1, 2], [[1, 1]], [-1, -1, 3], [1, 1, 5]), False)
    assert failed.v is None
    assert "infeasible" in failed.status
    np.testing.assert_allclose(answer(solver, feasible()), np.array([1.0, -1.0]), atol=1e-6)


def test_an_answer_after_forgetting_depends_on_its_program_alone(solver: Solver) -> None:
    first = solver.solve(random_program(1), matrices_changed=False).v
    solver.solve(random_program(2), matrices_changed=True)
    solver.forget()
    again = solver.solve(random_program(1), matrices_changed=False).v
    np.testing.assert_array_equal(first, again)


def test_daqp_prepared_again_is_as_good_as_new() -> None:
    used, new, qp = DaqpSolver(), DaqpSolver(), random_program(0)
    others = [qp._replace(f=random_program(seed).f) for seed in range(1, 4)]
    for other in others:
        used.solve(other, matrices_changed=False)
    used.prepare(qp)
    again, first = (s.solve(others[0], matrices_changed=False) for s in (used, new))
    assert again.v is not None and first.v is not None
    assert again.iterations == first.iterations
    np.testing.assert_allclose(again.v, first.v, rtol=0.0, atol=1e-13)


def test_daqp_recovers_from_a_program_that_it_could_not_be_prepared_for() -> None:
    solver = DaqpSolver()
    contradictory = small([-1, 2], [[1, 1]], [-1, -1, 1.0], [1, 1, -1.0])
    for _ in range(2):
        solver.prepare(contradictory)
        assert solver.solve(contradictory, matrices_changed=False).status == "infeasible"
    solver.prepare(contradictory)
    qp = contradictory._replace(lower=np.array([-1.0, -1.0, -1.0]), upper=np.ones(3))
    np.testing.assert_allclose(answer(solver, qp), [1.0, -1.0], atol=1e-9)


def test_equations_that_contradict_each_other_beside_soft_rows_have_no_solution() -> None:
    """DAQP sets nothing up for them; its library crashed when it was given prices all the same."""
    qp = small([-1, 2], [[1, 0], [2, 0], [1, 1]], [-9, -9, 1, 1, 0], [9, 9, 1, 1, 1])
    prices = np.array([np.inf, np.inf, 3.0])
    qp = qp._replace(linear_weight=prices, quadratic_weight=prices)
    assert DaqpSolver().solve(qp, matrices_changed=False).status == "overdetermined start"
    assert AutoSolver().solve(qp, matrices_changed=False).status == "infeasible"


def test_sides_that_cross_by_rounding_meet(solver: Solver) -> None:
    qp = small([-1, 2], [[1, 1]], [-1, -1, 0.1 + 0.2], [1, 1, 0.3])
    np.testing.assert_allclose(answer(solver, qp), np.array([1.0, -0.7]), atol=1e-6)


def test_solvers_travel_to_other_processes_without_their_memory(solver: Solver) -> None:
    qp = random_program(3)
    wanted = solver.solve(qp, matrices_changed=False).v
    copy = pickle.loads(pickle.dumps(solver))
    np.testing.assert_array_equal(copy.solve(qp, matrices_changed=False).v, wanted)
