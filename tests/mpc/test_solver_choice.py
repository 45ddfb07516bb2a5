"""Which solver is asked, and for how long."""

import numpy as np
import pytest

from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.solvers import SOLVERS, AutoSolver, DaqpSolver, Solution, make_solver


def large(n: int) -> DenseQP:
    """A badly conditioned program with many active rows."""
    rng = np.random.default_rng(0)
    G, A = rng.normal(size=(n, n)), rng.normal(size=(3 * n, n)) / np.sqrt(n)
    sides, hard = np.full(4 * n, 0.3), np.full(3 * n, np.inf)
    H = G.T @ G / n + 1e-4 * np.eye(n)
    return DenseQP(H, 10.0 * rng.normal(size=n), A, -sides, sides, hard, hard)


@pytest.mark.parametrize("name", ["auto", "daqp", "osqp", "clarabel"])
def test_what_is_reached_by_the_time_limit_is_not_a_plan(name: str) -> None:
    found = make_solver(name, time_limit=1e-7).solve(large(60), matrices_changed=False)
    assert found.v is None
    assert found.status == "time limit"


def test_piqp_refuses_a_time_limit() -> None:
    with pytest.raises(ValueError, match='PIQP knows none; choose "clarabel" or "auto"'):
        make_solver("piqp", time_limit=0.1)


@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_time_limit_that_is_none_is_refused(name: str, limit: float) -> None:
    with pytest.raises(ValueError, match="time_limit"):
        make_solver(name, time_limit=limit)


def test_auto_goes_to_an_interior_point_method_where_daqp_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qp = large(20)
    wanted = DaqpSolver().solve(qp, matrices_changed=False).v
    assert wanted is not None
    gave_up = Solution(None, "cycling", 7)
    monkeypatch.setattr(DaqpSolver, "solve", lambda *_, **__: gave_up)
    for limit in (None, 10.0):
        found = AutoSolver(limit).solve(qp, matrices_changed=False)
        assert found.status == "optimal"
        assert found.v is not None
        np.testing.assert_allclose(found.v, wanted, atol=1e-6)


def test_auto_leaves_large_programs_to_an_interior_point_method(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qp = large(251)
    wanted = DaqpSolver().solve(qp, matrices_changed=False).v
    assert wanted is not None
    monkeypatch.delattr(DaqpSolver, "solve")
    solver = AutoSolver()
    solver.prepare(qp)
    found = solver.solve(qp, matrices_changed=False).v
    assert found is not None
    np.testing.assert_allclose(found, wanted, atol=1e-6)
