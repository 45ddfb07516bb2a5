"""The second opinion: CVXPY with Clarabel, and what is said of an answer beside it.

Where Clarabel nearly thinks that nothing keeps the bounds, HiGHS is asked.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import cvxpy as cp
import numpy as np

COST = 1e-6  # largest difference in cost, relative to 1 + |cost|
KEPT = 1e-6  # a bound broken by less is kept, relative to 1 + the largest value
AGREED, NONE_FOR_BOTH, UNDECIDED = "agreed", "both infeasible", "undecided"
FINE = (AGREED, NONE_FOR_BOTH, UNDECIDED)
SURE = ("optimal", "infeasible", "unbounded")  # also unlike CVXPY's word for too many iterations
TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


class Answer(NamedTuple):
    """Optimal value, infinite where there is none, and whether Clarabel is sure of it."""

    cost: float
    sure: bool


class Priced(NamedTuple):
    """What a point costs in a problem, and how far it breaks its bounds, relative to its size."""

    cost: float
    broken: float


def judged(problem: cp.Problem) -> Answer:
    """Solve a problem at its present parameters; some tolerances are too tight for some problems.

    Who gains by breaking bounds is not sure.
    """
    answer, untyped = Answer(np.nan, False), cast(Any, problem)
    for settings in (TIGHT, {}):
        try:
            untyped.solve(solver="CLARABEL", **settings)
        except cp.SolverError:
            continue
        kept = problem.status != "optimal" or _gain(problem) <= COST * (1.0 + abs(problem.value))
        answer = Answer(float(problem.value), kept and problem.status in SURE)
        if answer.sure:
            return answer
    return answer if _can_be_kept(problem) else Answer(_worst(problem), True)


def _can_be_kept(problem: cp.Problem) -> bool:
    """Whether anything keeps the bounds, or HiGHS cannot tell."""
    bounds: Any = cp.Problem(cp.Minimize(0.0), problem.constraints)
    try:
        bounds.solve(solver="SCIPY", scipy_options={"method": "highs-ds"})
    except cp.SolverError:
        return True
    return bool(bounds.status != "infeasible")


def _worst(problem: cp.Problem) -> float:
    return -np.inf if isinstance(problem.objective, cp.Maximize) else np.inf


def priced(problem: cp.Problem) -> Priced:
    """Price the values that the problem's variables have."""
    untyped: Any = problem
    size = 1.0 + max(float(np.abs(v.value).max()) for v in untyped.variables())
    broken = [np.max(held.violation()) for held in untyped.constraints]
    broken += [np.max(np.abs(v.value - v.project(v.value))) for v in untyped.variables()]
    return Priced(float(untyped.objective.value), float(max(broken)) / size)


def compared(point: Priced, said: float, answer: Answer, maximized: bool = False) -> str:
    """Compare a point and what it is said to cost with the answer: one of `FINE`, or what differs.

    A point that keeps all bounds and costs less refutes the answer.
    """
    if not point.broken <= KEPT:
        return f"a bound is broken by {point.broken:.2g}"
    if not _same(said, point.cost):
        return f"a plan of cost {point.cost:.9g} is said to cost {said:.9g}"
    if _same(point.cost, answer.cost):
        return AGREED
    refuted = point.cost > answer.cost if maximized else point.cost < answer.cost
    differs = answer.sure and not refuted
    return f"cost {point.cost:.9g} instead of {answer.cost:.9g}" if differs else UNDECIDED


def _gain(problem: cp.Problem) -> float:
    """What a solution gained by breaking bounds a little, by the prices of its constraints."""
    constraints: list[Any] = problem.constraints
    return float(sum(np.sum(np.abs(c.dual_value) * c.residual) for c in constraints))


def _same(cost: float, other: float) -> bool:
    return bool(np.isfinite(other)) and abs(cost - other) <= COST * (1.0 + abs(other))
