"""From a situation of the loop to a plan: the stated problem, or else its softened twin.

Compiled where it is a quadratic program; otherwise, and to check, through CVXPY's own solve.
"""

from __future__ import annotations

import math
import warnings
from time import perf_counter
from typing import Any, Literal, Protocol

import cvxpy as cp
import numpy as np
from cvxpy.settings import USER_LIMIT
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compile.program import ParametricQP
from koopman_control.mpc.compile.soften import softened
from koopman_control.mpc.inputs import columns_of, shifted
from koopman_control.mpc.planning.condense import Condenser, Merit
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.planning.plan import Plan, Predicted, Situation
from koopman_control.mpc.planning.prediction import Response, Scenarios, with_feedback
from koopman_control.mpc.planning.search import Search
from koopman_control.mpc.planning.sequential import SequentialPlanner
from koopman_control.mpc.problem import TrackingProblem
from koopman_control.mpc.solvers import SOLVERS, TIME_LIMIT, SolverName, make_solver
from koopman_control.mpc.solvers.base import SHORTEST
from koopman_control.mpc.units import Units

Outcome = tuple[Literal["solved", "softened"], Plan]


class Planning(Protocol):
    """Plans step after step, warm-started by the one before."""

    def plan(
        self, at: Situation, before: Array | None, previous: Array, until: float = math.inf
    ) -> Outcome:
        """Plan, given the plan (N, m) of the step before, if any, and the last input (m,).

        `until` is the time of `time.perf_counter` at which to return the best found so far.
        """

    def reset(self) -> None:
        """Begin an episode, or recover from an error."""

    def rehearse(self) -> None:
        """Warm up what the first step of an episode needs."""


class QuadraticPlanning:
    """Plans through the compiled quadratic program.

    Where hard rows on outputs leave no solution, the same program with these rows relaxed is
    solved; it is set up beforehand.

    Args:
        scenarios: What predicts.
        horizon: Number of steps N.
        qp: The compiled problem.
        held: How inputs are made of free values, shape (N, K); None: each step has its own.
        solver: Name of the solver.
        search: Where nonlinear roll-outs start from.
        prices: What violations of the outputs' bounds cost in the relaxed program, per unit and per
            unit squared, shape (2, p).
        units: Usual sizes of outputs, inputs and cost.
        response: What inputs lead to in a linear roll-out; None for other ones.
        typical: Parameters like those to come, shape (t,), by which programs are scaled.

    Attributes:
        planners: That of the problem as stated and, if it has hard rows on outputs, that of the
            relaxed one.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        horizon: int,
        qp: ParametricQP,
        held: Array | None,
        solver: SolverName,
        search: Search,
        prices: Array,
        units: Units,
        response: Response | None,
        typical: Array,
    ) -> None:
        self._search = search

        def planner_for(program: ParametricQP) -> LinearPlanner | SequentialPlanner:
            stated = condenser = Condenser(program)
            if held is not None:
                condenser = Condenser(program, held)
            merit = Merit(stated, units)
            if response is None:
                return SequentialPlanner(scenarios, condenser, merit, make_solver(solver))

            def linear(
                condenser: Condenser, response: Response, rescue: LinearPlanner | None = None
            ) -> LinearPlanner:
                own = SOLVERS[solver]()
                how = condenser, merit, own, response, typical, units.inputs, rescue
                return LinearPlanner(scenarios, horizon, *how)

            if response.plain is None:
                return linear(condenser, response)
            plain = linear(condenser, response.plain)
            return linear(Condenser(with_feedback(program)), response, plain)

        twin = softened(qp, *prices)
        self.planners = [planner_for(p) for p in ([qp] if twin is None else [qp, twin])]

    def plan(
        self, at: Situation, before: Array | None, previous: Array, until: float = math.inf
    ) -> Outcome:
        """Plan for a situation, by a time of `time.perf_counter`."""
        stated, *relaxed = self.planners
        start = self._start(at, before, previous, until)
        plan = stated.plan(at, *start)
        if plan.status in ("optimal", TIME_LIMIT) or not relaxed:
            return "solved", plan
        return "softened", relaxed[0].plan(at, *start)

    def plans(self, at: Situation, before: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Plan for many states of a linear roll-out at once; see `LinearPlanner.plans`."""
        stated = self.planners[0]
        assert isinstance(stated, LinearPlanner)
        return stated.plans(at, before)

    def reset(self) -> None:
        """Drop warm starts, and draw the same guesses again."""
        self._search.restart()
        for planner in self.planners:
            planner.reset()

    def rehearse(self) -> None:
        """Warm up what the first step of an episode needs."""
        for planner in reversed(self.planners):  # the one as stated, which comes first, last
            planner.rehearse()

    def _start(
        self, at: Situation, before: Array | None, previous: Array, until: float
    ) -> tuple[Any, ...]:
        """What the planner starts from, besides the situation."""
        if isinstance(self.planners[0], LinearPlanner):
            return before, until
        return *self._search.start(at, before, previous, until), until


TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


def solved_about(
    stated: TrackingProblem,
    scenarios: Scenarios,
    at: Situation,
    U: Array,
    problem: cp.Problem,
    **settings: Any,
) -> Plan:
    """Solve the convex program about a guess U of shape (N, m) with Clarabel."""
    Y, Gamma = scenarios.linearized(at.start, U)
    Y = at.reference + scenarios.wrap(Y - at.reference)
    stated.assign(at.theta)
    stated.gamma.value = Gamma
    stated.free.value = Y.ravel() - Gamma @ U.ravel()
    cost = problem.solve(solver="CLARABEL", **settings)  # type: ignore[no-untyped-call]
    if problem.status != cp.OPTIMAL:
        word = TIME_LIMIT if problem.status == USER_LIMIT else str(problem.status)
        return Plan(U, Predicted(np.full_like(Y, np.nan), np.inf), word, 0)
    iterations = int(problem.solver_stats.num_iters or 0)
    u, y = (np.asarray(v.value, dtype=np.float64) for v in (stated.u, stated.y))
    return Plan(u, Predicted(y, float(cost)), "optimal", iterations)


class CvxpyPlanning:
    """Plans through CVXPY itself.

    A linear roll-out is exact after one solve; others are re-linearised about each solution, with
    full steps.

    Args:
        stated: The problem.
        scenarios: What predicts.
        held: How inputs are made of free values, shape (N, K); None: each step has its own.
        rounds: Re-linearisations per step of nonlinear roll-outs.
        controlled: The model's inputs that are planned, shape (c,).
    """

    def __init__(
        self,
        stated: TrackingProblem,
        scenarios: Scenarios,
        held: Array | None,
        rounds: int,
        controlled: Index,
    ) -> None:
        self._stated, self._scenarios = stated, scenarios
        self._rounds = 1 if scenarios.rollout == "linear" else rounds
        N, m = stated.u.shape
        gamma: Array | None = None
        if (
            scenarios.rollout == "linear"
        ):  # few parameters, so that CVXPY may keep its canonical form
            response = scenarios.linear_response(N)[1]
            gamma = columns_of(response, controlled, scenarios.n_inputs)
        problem = stated.predicted_by(stated.gamma if gamma is None else gamma)
        self._settings = {"ignore_dpp": gamma is None}
        free = [] if held is None else [stated.u == held @ cp.Variable((held.shape[1], m))]
        self._problem = cp.Problem(problem.objective, [*problem.constraints, *free])
        warnings.warn(
            "each step is solved through CVXPY itself, which takes milliseconds to a second rather "
            "than microseconds; state the problem with quadratic costs and affine constraints if "
            "it has to be fast",
            stacklevel=4,
        )

    def plan(
        self, at: Situation, before: Array | None, previous: Array, until: float = math.inf
    ) -> Outcome:
        """Plan for a situation by a time; the last input is in its theta already."""
        del previous
        best: Plan | None = None
        U, iterations = at.input_reference if before is None else shifted(before), 0
        for _ in range(self._rounds):
            plan = self._solved(at, U, until)
            U, iterations = plan.U, iterations + plan.iterations
            if plan.status == TIME_LIMIT and best is not None:
                return "solved", best._replace(iterations=iterations, cut=True)
            if plan.status != "optimal":
                break
            best = plan
        return "solved", plan._replace(iterations=iterations)

    def _solved(self, at: Situation, U: Array, until: float) -> Plan:
        """Solve the program about a guess by a time."""
        settings = self._settings | {"time_limit": max(until - perf_counter(), SHORTEST)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what was reached by then
            return solved_about(self._stated, self._scenarios, at, U, self._problem, **settings)

    def reset(self) -> None:
        """Nothing is kept from step to step."""

    def rehearse(self) -> None:
        """Nothing is set up ahead."""
