"""From a situation of the loop to a plan: the stated problem, or else its softened twin."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.mpc.compilation.parametric import ParametricQP
from koopman_control.mpc.compilation.softening import softened
from koopman_control.mpc.planning.condense import Condenser
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.planning.merit import Merit
from koopman_control.mpc.planning.plan import Plan, Situation
from koopman_control.mpc.planning.response import Response, with_feedback
from koopman_control.mpc.planning.scenarios import Scenarios
from koopman_control.mpc.planning.search import Search
from koopman_control.mpc.planning.sequential import SequentialPlanner
from koopman_control.mpc.solvers import TIME_LIMIT, SolverName, make_solver

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
        prices: What a violation costs in the relaxed program, per unit and per unit squared.
        response: What inputs lead to in a linear roll-out; None for other ones.

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
        prices: tuple[float, float],
        response: Response | None,
    ) -> None:
        self._search = search

        def planner_for(program: ParametricQP) -> LinearPlanner | SequentialPlanner:
            stated = condenser = Condenser(program)
            if held is not None:
                condenser = Condenser(program, held)
            merit, own = Merit(stated), make_solver(solver)
            if response is None:
                return SequentialPlanner(scenarios, condenser, merit, own)
            if response.plain is None:
                return LinearPlanner(scenarios, horizon, condenser, merit, own, response)
            rescue = make_solver(solver)
            plain = LinearPlanner(scenarios, horizon, condenser, merit, rescue, response.plain)
            condenser = Condenser(with_feedback(program))
            return LinearPlanner(scenarios, horizon, condenser, merit, own, response, plain)

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
