"""The planner that solves through CVXPY itself: for what is no quadratic program, and to check."""

from __future__ import annotations

import math
import warnings
from time import perf_counter
from typing import Any

import cvxpy as cp
import numpy as np
from cvxpy.settings import USER_LIMIT

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.planning.plan import KnownOutcome, Plan
from koopman_control.mpc.planning.prediction import Scenarios
from koopman_control.mpc.problem import TrackingProblem
from koopman_control.mpc.solvers import TIME_LIMIT
from koopman_control.mpc.solvers.base import SHORTEST
from koopman_control.mpc.state import Situation, Start, columns_of, shifted

TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


def solved_about(
    tracking: TrackingProblem,
    scenarios: Scenarios,
    at: Situation,
    U: Array,
    problem: cp.Problem,
    **settings: Any,
) -> Plan:
    """Solve the convex program about a guess U of shape (N, m) with Clarabel."""
    Y, Gamma = scenarios.linearized(at.start, U)
    Y = at.reference + scenarios.wrap(Y - at.reference)
    tracking.assign(at.theta)
    tracking.gamma.value = Gamma
    tracking.free.value = Y.ravel() - Gamma @ U.ravel()
    cost = problem.solve(solver="CLARABEL", **settings)  # type: ignore[no-untyped-call]
    if problem.status != cp.OPTIMAL:
        word = TIME_LIMIT if problem.status == USER_LIMIT else str(problem.status)
        return Plan(U, KnownOutcome(np.full_like(Y, np.nan), np.inf), word, 0)
    iterations = int(problem.solver_stats.num_iters or 0)
    u, y = (np.asarray(v.value, dtype=np.float64) for v in (tracking.u, tracking.y))
    return Plan(u, KnownOutcome(y, float(cost)), "optimal", iterations)


class CvxpyPlanner:
    """Plans through CVXPY itself.

    A linear roll-out is exact after one solve; others are re-linearised about each solution, with
    full steps.

    Args:
        tracking: The problem.
        scenarios: What predicts.
        held: How inputs are made of free values, shape (N, K); None: each step has its own.
        rounds: Re-linearisations per step of nonlinear roll-outs.
        controlled: The model's inputs that are planned, shape (c,).
    """

    def __init__(
        self,
        tracking: TrackingProblem,
        scenarios: Scenarios,
        held: Array | None,
        rounds: int,
        controlled: Index,
    ) -> None:
        self._tracking, self._scenarios = tracking, scenarios
        self._rounds = 1 if scenarios.rollout == "linear" else rounds
        N, m = tracking.u.shape
        gamma: Array | None = None
        if scenarios.rollout == "linear":  # few parameters: CVXPY may keep its canonical form
            response = scenarios.linear_response(N)[1]
            gamma = columns_of(response, controlled, scenarios.n_inputs)
        problem = tracking.predicted_by(tracking.gamma if gamma is None else gamma)
        self._settings = {"ignore_dpp": gamma is None}
        free = [] if held is None else [tracking.u == held @ cp.Variable((held.shape[1], m))]
        self._problem = cp.Problem(problem.objective, [*problem.constraints, *free])
        warnings.warn(
            "each step is solved through CVXPY itself, which takes milliseconds to a second rather "
            "than microseconds; state the problem with quadratic costs and affine constraints if "
            "it has to be fast",
            stacklevel=4,
        )

    def plan(self, at: Situation, before: Array | None, until: float = math.inf) -> Plan:
        """Plan for a situation by a time."""
        best: Plan | None = None
        U, iterations = at.input_reference if before is None else shifted(before), 0
        for _ in range(self._rounds):
            plan = self._solved(at, U, until)
            U, iterations = plan.U, iterations + plan.iterations
            if plan.status == TIME_LIMIT and best is not None:
                return best._replace(iterations=iterations, cut=True)
            if plan.status != "optimal":
                break
            best = plan
        return plan._replace(iterations=iterations)

    def _solved(self, at: Situation, U: Array, until: float) -> Plan:
        """Solve the program about a guess by a time."""
        settings = self._settings | {"time_limit": max(until - perf_counter(), SHORTEST)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what was reached by then
            return solved_about(self._tracking, self._scenarios, at, U, self._problem, **settings)

    def reset(self) -> None:
        """Nothing is kept from step to step."""

    def warm_up(self) -> None:
        """Nothing is set up ahead."""

    def size(self, start: Start) -> None:
        """CVXPY makes a program of its own."""
