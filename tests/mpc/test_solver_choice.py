"""Which solver is asked, and for how long."""

import numpy as np
import pytest

from koopman_control.mpc.solvers import (
    AutoSolver,
    ClarabelSolver,
    DaqpSolver,
    DenseQP,
    PiqpSolver,
    Solution,
    make_solver,
)


def large(n: int) -> DenseQP:
    """A badly conditioned program with many active rows."""
    rng = np.random.default_rng(0)
    G, A = rng.normal(size=(n, n)), rng.normal(size=(3 * n, n)) / np.sqrt(n)
    sides, hard = np.full(4 * n, 0.3), np.full(3 * n, np.inf)
    H = G.T @ G / n + 1e-4 * np.eye(n)
    return DenseQP(H, 10.0 * rng.normal(size=n), A, -sides, sides, hard, hard)


@pytest.mark.parametrize("name", ["auto", "daqp", "osqp", "clarabel"])
def test_what_is_reached_by_the_time_limit_is_not_a_plan(name: str) -> None:
    found = make_solver(name).solve(large(60), False, 1e-7)
    assert found.v is None
    assert found.status == "time limit"


@pytest.mark.parametrize("name", ["auto", "daqp", "osqp", "clarabel"])
def test_a_time_limit_is_that_of_one_call(name: str) -> None:
    solver, qp = make_solver(name), large(60)
    assert solver.solve(qp, False, 1e-7).v is None
    assert solver.solve(qp, False).status == "optimal"
    assert solver.solve(qp, False, 1e3).status == "optimal"


def test_auto_goes_to_an_interior_point_method_where_daqp_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qp = large(20)
    wanted = DaqpSolver().solve(qp, matrices_changed=False).v
    assert wanted is not None
    gave_up = Solution(None, "cycling", 7)
    monkeypatch.setattr(DaqpSolver, "solve", lambda *_, **__: gave_up)
    for seconds in (np.inf, 10.0):
        found = AutoSolver().solve(qp, False, seconds)
        assert found.status == "optimal"
        assert found.v is not None
        np.testing.assert_allclose(found.v, wanted, atol=1e-6)


def corner() -> DenseQP:
    """Minimise x + y where both are at least -1: without curvature."""
    none, hard = np.zeros((0, 2)), np.zeros(0)
    return DenseQP(np.zeros((2, 2)), np.ones(2), none, -np.ones(2), np.ones(2), hard, hard)


@pytest.mark.parametrize(
    ("found", "late"), [([0.0, 0.0], "time limit"), ([-1.0, -0.9999], "optimal")]
)
def test_auto_asks_again_where_daqp_ends_short_of_a_corner(
    monkeypatch: pytest.MonkeyPatch, found: list[float], late: str
) -> None:
    """If there is no time for that, a point is taken that is nearly right."""
    solve = DaqpSolver.solve

    def stuck(self: DaqpSolver, qp: DenseQP, changed: bool, seconds: float = np.inf) -> Solution:
        answer = solve(self, qp, changed, seconds)
        return answer._replace(v=np.array(found), multipliers=np.array([-1.0, -1.0]))

    monkeypatch.setattr(DaqpSolver, "solve", stuck)
    again = AutoSolver().solve(corner(), False)
    assert again.v is not None
    np.testing.assert_allclose(again.v, [-1.0, -1.0], atol=1e-6)
    monkeypatch.setattr(ClarabelSolver, "solve", lambda *_: Solution(None, "time limit", 0))
    assert AutoSolver().solve(corner(), False, 10.0).status == late


NEARLY = Solution(np.array([-1.0, -0.9999]), "optimal", 1, -np.ones(2))
CORNER = Solution(-np.ones(2), "optimal", 1, -np.ones(2))


def word(status: str) -> Solution:
    return Solution(None, status, 1)


@pytest.mark.parametrize(
    ("daqp", "piqp", "clarabel", "credible"),
    [
        (CORNER, None, None, "optimal"),
        (word("infeasible"), CORNER, None, "optimal"),
        (word("unbounded"), CORNER, None, "optimal"),
        (word("infeasible"), word("infeasible"), None, "infeasible"),
        (word("unbounded"), word("unbounded"), None, "unbounded"),
        (word("cycling"), word("infeasible"), CORNER, "optimal"),
        (word("cycling"), word("infeasible"), word("no progress"), "infeasible"),
        (word("cycling"), word("numerical trouble"), word("no progress"), "no progress"),
        (NEARLY, word("numerical trouble"), word("unbounded"), "unbounded"),
        (NEARLY, word("infeasible"), word("infeasible"), "optimal"),
        (word("time limit"), None, None, "time limit"),
    ],
)
def test_where_daqp_may_be_wrong_others_are_asked_until_one_is_sure(
    monkeypatch: pytest.MonkeyPatch,
    daqp: Solution,
    piqp: Solution | None,
    clarabel: Solution | None,
    credible: str,
) -> None:
    def proximal(self: DaqpSolver, *_: object) -> Solution:
        self.condition = np.inf
        return daqp

    monkeypatch.setattr(DaqpSolver, "solve", proximal)
    for kind, answer in ((PiqpSolver, piqp), (ClarabelSolver, clarabel)):
        if answer is None:
            monkeypatch.delattr(kind, "solve")  # must not be asked
        else:
            monkeypatch.setattr(kind, "solve", lambda *_, answer=answer: answer)
    assert AutoSolver().solve(corner(), False).status == credible


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


def test_piqp_prints_nothing_of_sides_that_are_as_good_as_infinite(
    capfd: pytest.CaptureFixture[str],
) -> None:
    qp = large(20)
    upper = qp.upper.copy()
    upper[-1], lower = 1e40, np.append(qp.lower[:-1], -1e40)
    found = make_solver("piqp").solve(qp._replace(lower=lower, upper=upper), False)
    assert found.status == "optimal"
    assert capfd.readouterr() == ("", "")
