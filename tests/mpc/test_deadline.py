"""`act` keeps its deadline with the best plan found by then; time is told by a clock of our own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, KoopmanMPC, Search, controller
from koopman_control.mpc.planning import cvxpy_planner, linear, sequential
from koopman_control.mpc.planning.prediction import Scenarios
from koopman_control.mpc.solvers import DaqpSolver, Solution, auto

Make = Callable[..., LiftedModel]
START = [0.9, -0.5]


class Clock:
    """Goes on when told to; knows how long the solver takes."""

    def __init__(self) -> None:
        self.now, self.solving = 0.0, 0.0
        self.given: list[float] = []

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    for module in (linear, sequential, cvxpy_planner, controller):
        monkeypatch.setattr(module, "perf_counter", own.perf_counter)
    monkeypatch.setattr(auto, "time", own)
    solve = DaqpSolver.solve

    def slowly(solver: DaqpSolver, qp: Any, changed: bool, seconds: float = np.inf) -> Solution:
        own.given.append(seconds)
        own.now += min(own.solving, seconds)
        if own.solving > seconds:
            return Solution(None, "time limit", 1)
        return solve(solver, qp, changed)

    monkeypatch.setattr(DaqpSolver, "solve", slowly)
    return own


def seen(mpc: KoopmanMPC) -> tuple[str, bool]:
    assert mpc.last is not None
    return mpc.last.rung, mpc.last.cut


def test_the_solver_is_given_what_is_left_and_the_plan_continued_if_it_takes_longer(
    nonlinear_model: Make, clock: Clock
) -> None:
    mpc = KoopmanMPC(nonlinear_model(bilinear=False), 8, R=0.01, search=Search(deadline=1000.0))
    mpc.act(START)
    assert seen(mpc) == ("solved", False)
    assert clock.given[-1] == pytest.approx(1e-3)
    assert mpc.last is not None
    plan, clock.solving = mpc.last.inputs, 2e-3
    np.testing.assert_array_equal(mpc.act(START), plan[1])
    assert seen(mpc) == ("shifted", True)
    clock.solving = 0.0
    mpc.act(START)
    assert seen(mpc) == ("solved", False)


def test_without_a_deadline_no_solver_is_hurried(nonlinear_model: Make, clock: Clock) -> None:
    mpc = KoopmanMPC(nonlinear_model(bilinear=False), 8, R=0.01)
    clock.solving = 1e9
    mpc.act(START)
    assert seen(mpc) == ("solved", False)
    assert clock.given == [np.inf] * len(clock.given)


def test_rounds_that_are_finished_count(nonlinear_model: Make, clock: Clock) -> None:
    model, solving = nonlinear_model(bilinear=False), 4e-3

    def first(n: int, deadline: float | None) -> KoopmanMPC:
        mpc = KoopmanMPC(
            model,
            8,
            R=0.01,
            rollout="relifted",
            search=Search(first_iterations=n, deadline=deadline),
        )
        clock.solving = solving
        mpc.act(START)
        return mpc

    cut, two = first(10, 1e6 * 5 * solving), first(1, None)  # a round takes two guesses
    assert seen(cut) == ("solved", True)
    assert seen(two) == ("solved", False)
    cut_at_two = first(10, 1e6 * 2.5 * solving)
    assert two.last is not None
    assert cut_at_two.last is not None
    np.testing.assert_array_equal(cut_at_two.last.inputs, two.last.inputs)
    assert cut_at_two.last.objective == two.last.objective


def test_where_no_round_is_finished_the_best_guess_is_the_plan(
    nonlinear_model: Make, clock: Clock
) -> None:
    model = nonlinear_model(bilinear=False)
    mpc = KoopmanMPC(
        model, 8, R=0.01, rollout="relifted", search=Search(first_guesses=40, deadline=100.0)
    )
    clock.solving = 1.0
    u = mpc.act(START)
    assert seen(mpc) == ("shifted", True)
    assert mpc.last is not None
    held = KoopmanMPC(model, 8, R=0.01, rollout="relifted")
    cost = held._planner.merit  # type: ignore[attr-defined]
    Y = model.predict(START, np.zeros((8, 1)), "relifted")
    theta = held._situation(np.array(START), held._state.start_at(np.array(START))).theta
    at_rest = cost(cost.at(theta), np.zeros((1, 8)), Y.reshape(1, -1))[0]
    assert mpc.last.objective < at_rest  # better than to hold the input's target
    np.testing.assert_array_equal(u, mpc.last.inputs[0])
    clock.solving = 0.0
    mpc.act(START)
    assert seen(mpc) == ("solved", False)


def test_guesses_are_rolled_out_until_the_deadline(
    nonlinear_model: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, counts = Scenarios.finished, []

    def counted(self: Scenarios, start: Any, plans: Any, *others: Any) -> Any:
        counts.append(len(plans))
        clock.now += 1e-3
        return finished(self, start, plans, *others)

    monkeypatch.setattr(Scenarios, "finished", counted)
    model = nonlinear_model(bilinear=False)
    for deadline in (2500.0 / sequential.SHARE, None):
        search = Search(first_guesses=38, deadline=deadline)
        KoopmanMPC(model, 8, rollout="relifted", search=search).act(START)
    assert counts == [1, sequential.FEW, sequential.FEW, 40]


def test_hard_bounds_are_not_relaxed_after_the_deadline(
    nonlinear_model: Make, clock: Clock
) -> None:
    model = nonlinear_model(bilinear=False)
    mpc = KoopmanMPC(
        model,
        4,
        output_bounds=[-0.1, 0.1],
        bounds=Bounds(soft=False),
        search=Search(deadline=1000.0),
    )
    mpc.act(START)
    assert seen(mpc) == ("softened", False)
    clock.solving, clock.given = 2e-3, []
    mpc.act(START)
    assert seen(mpc) == ("shifted", True)
    assert len(clock.given) == 1


def test_cvxpy_is_given_what_is_left_too(linear_model: Make) -> None:
    model = linear_model([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]])
    with pytest.warns(UserWarning, match="through CVXPY itself"):
        mpc = KoopmanMPC(
            model, 60, R=0.1, input_bounds=[-1, 1], solver="cvxpy", search=Search(deadline=1.0)
        )
    mpc.act(START)
    assert seen(mpc) == ("safe", True)


@pytest.mark.parametrize("deadline", [0.0, -1.0, np.nan])
def test_deadlines_that_are_none_are_refused(linear_model: Make, deadline: Any) -> None:
    with pytest.raises(ValueError, match="deadline"):
        KoopmanMPC(linear_model([[1.0]], [[1.0]]), 3, search=Search(deadline=deadline))


def test_piqp_knows_no_deadline(linear_model: Make) -> None:
    with pytest.raises(ValueError, match="'piqp' knows no time limit; choose solver=\"auto\""):
        KoopmanMPC(linear_model([[1.0]], [[1.0]]), 3, solver="piqp", search=Search(deadline=100.0))
