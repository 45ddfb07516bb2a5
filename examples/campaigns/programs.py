"""Random programs, compiled, and compared with CVXPY's own solve."""

from __future__ import annotations

import cvxpy as cp

from examples.campaigns.judge import NONE_FOR_BOTH, UNDECIDED, Answer, compared, judged, priced
from examples.campaigns.statements import Statement
from koopman_control.mpc import QPSolution, compile_qp


def verdicts(seed: int, n: int) -> list[str]:
    """Compare a program at n values of its parameters: an agreement, or what differs."""
    statement = Statement(seed)
    compiled = compile_qp(statement.problem, statement.parameters, statement.wanted)
    found = []
    for _ in range(n):
        values = statement.vary()
        answer = judged(statement.problem)
        found.append(_verdict(statement.problem, answer, compiled.solve(values)))
    return found


def _verdict(problem: cp.Problem, answer: Answer, found: QPSolution) -> str:
    if found.status == "optimal":
        for variable in problem.variables():
            variable.save_value(found.values[variable.name()])
        maximized = isinstance(problem.objective, cp.Maximize)
        return compared(priced(problem), found.objective, answer, maximized)
    if not answer.sure:
        return UNDECIDED
    # What has no solution is now and then infeasible and unbounded at once: either will do.
    none = found.status in ("infeasible", "unbounded") and abs(answer.cost) == float("inf")
    return NONE_FOR_BOTH if none else f"cost {answer.cost:.9g}, yet {found.status}"
