"""Optimality conditions of what the solvers return, on programs of all kinds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopman_control.common.arrays import Array
from koopman_control.mpc.solvers import DaqpSolver, make_solver, residuals
from koopman_control.mpc.solvers.program import DenseQP


@st.composite
def programs(draw: Any) -> DenseQP:
    """Feasible programs with bounds, rows, equalities, soft rows and singular costs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, r = draw(st.integers(1, 8)), draw(st.integers(0, 12))
    rank = draw(st.integers(0, n))
    root, A = rng.normal(size=(rank, n)), rng.normal(size=(r, n))
    inside = rng.normal(size=n)
    value = np.concatenate([inside, A @ inside])
    below, above = rng.uniform(0.0, 2.0, (2, n + r))
    equal = np.arange(n + r) >= n + r - draw(st.integers(0, min(r, n // 2)))
    soft = (rng.uniform(size=r) < 0.3) & ~equal[n:]
    offset = np.where(np.append(np.zeros(n, dtype=bool), soft), rng.normal(size=n + r), 0.0)
    price = np.where(soft, rng.uniform(0.1, 10.0, (2, r)), np.inf)
    return DenseQP(
        H=root.T @ root,
        f=rng.normal(size=n),
        A=A,
        lower=value + offset - np.where(equal, 0.0, below),
        upper=value + offset + np.where(equal, 0.0, above),
        linear_weight=price[0],
        quadratic_weight=price[1],
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(programs())
def test_daqp_meets_the_optimality_conditions(qp: DenseQP) -> None:
    answer = DaqpSolver().solve(qp, matrices_changed=False)
    assert answer.v is not None
    assert answer.multipliers is not None
    found = residuals(qp, answer.v, answer.multipliers)
    assert max(found.stationarity, found.primal, found.complementarity) <= 1e-8


@settings(max_examples=60, deadline=None, derandomize=True)
@given(programs())
@pytest.mark.parametrize("name", ["osqp", "piqp", "clarabel"])
def test_the_other_solvers_reach_the_same_cost(name: str, qp: DenseQP) -> None:
    best = DaqpSolver().solve(qp, matrices_changed=False).v
    answer = make_solver(name).solve(qp, matrices_changed=False)
    assert best is not None
    assert answer.v is not None
    assert answer.multipliers is not None
    found = residuals(qp, answer.v, answer.multipliers)
    assert max(found.stationarity, found.primal, found.complementarity) <= 1e-5
    assert qp.cost(answer.v) == pytest.approx(qp.cost(best), rel=1e-5, abs=1e-5)


def one_variable(weight: float = np.inf, square: float = np.inf) -> DenseQP:
    """v^2/2 - 3 v with v <= 1 as a row, perhaps softly."""
    infinite = np.array([np.inf])
    sides = np.append(-infinite, -infinite), np.append(infinite, 1.0)
    H, f = np.eye(1), np.array([-3.0])
    return DenseQP(H, f, np.eye(1), *sides, np.array([weight]), np.array([square]))


@pytest.mark.parametrize(
    ("v", "multiplier", "wanted"),
    [
        (1.0, 2.0, (0.0, 0.0, 0.0)),  # the solution
        (1.0, 0.0, (2.0, 0.0, 0.0)),  # nothing holds it there
        (3.0, 0.0, (0.0, 2.0, 2.0)),  # beyond the side
        (0.5, 2.5, (0.0, 0.0, 0.5)),  # held although it is inside
        (1.0, -0.5, (2.5, 0.0, 0.5)),  # pulled instead of pushed
    ],
)
def test_residuals_measure_each_condition(
    v: float, multiplier: float, wanted: tuple[float, ...]
) -> None:
    found = residuals(one_variable(), np.array([v]), np.array([0.0, multiplier]))
    measured = found.stationarity, found.primal, found.complementarity
    assert measured == pytest.approx(wanted)


def test_a_soft_row_is_charged_its_price_beyond_the_side() -> None:
    qp = one_variable(weight=0.5, square=2.0)  # v - 3 + 0.5 + 2 (v - 1) = 0 at v = 1.5
    v, multipliers = np.array([1.5]), np.array([0.0, 1.5])
    found = residuals(qp, v, multipliers)
    assert found.stationarity == pytest.approx(0.0, abs=1e-15)
    assert found.complementarity == pytest.approx(0.0, abs=1e-15)
    answer = DaqpSolver().solve(qp, matrices_changed=False)
    assert answer.v is not None
    np.testing.assert_allclose(answer.v, v)
    assert qp.cost(v) == pytest.approx(0.5 * 1.5**2 - 4.5 + 0.25 + 0.25)


def test_a_cheap_soft_row_is_no_obstacle() -> None:
    """All solvers leave the side by the same amount."""
    found: list[Array | None] = [
        make_solver(name).solve(one_variable(0.5, 2.0), matrices_changed=False).v
        for name in ("auto", "osqp", "piqp", "clarabel")
    ]
    for v in found:
        assert v is not None
        np.testing.assert_allclose(v, 1.5, atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_a_warm_started_sequence_of_singular_programs_is_solved_or_refused(seed: int) -> None:
    """Costs of changing size, some sides out of reach, new matrices now and then."""
    rng = np.random.default_rng(seed)
    n, r = int(rng.integers(2, 10)), int(rng.integers(1, 14))
    hard, solver = np.full(r, np.inf), DaqpSolver()
    for k in range(12):
        if k % 4 == 0:
            A, root = rng.normal(size=(r, n)), rng.normal(size=(n // 2, n))
        inside = rng.normal(size=n)
        value = np.concatenate([inside, A @ inside])
        lower, upper = value - rng.uniform(0.0, 2.0, n + r), value + rng.uniform(0.0, 2.0, n + r)
        reachable = k % 5 != 3
        if not reachable:
            lower[n] = upper[n] = 1.0 + np.abs(A[0]) @ np.maximum(np.abs(lower), np.abs(upper))[:n]
        f = 10.0 ** rng.integers(-2, 3) * rng.normal(size=n)
        qp = DenseQP(root.T @ root, f, A, lower, upper, hard, hard)
        answer = solver.solve(qp, matrices_changed=k % 4 == 0)
        assert answer.status == ("optimal" if reachable else "infeasible")
        if answer.v is not None and answer.multipliers is not None:
            found = residuals(qp, answer.v, answer.multipliers)
            assert found.primal <= 1e-8
            assert found.stationarity <= 1e-8 * max(1.0, np.abs(f).max())
