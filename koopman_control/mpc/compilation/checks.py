"""What a CVXPY problem must be like to be compiled, and which part of it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cvxpy as cp
from cvxpy.atoms.affine.add_expr import AddExpression

LONGEST = 80  # characters of an expression that an error shows
PLAIN = ("nonneg", "nonpos", "pos", "neg", "bounds")  # what parameters may declare
KNOWN = (*PLAIN, "symmetric")  # what variables may


def check_statement(
    problem: cp.Problem, parameters: Sequence[cp.Parameter], variables: Sequence[cp.Variable]
) -> None:
    """Check that a problem can become a quadratic program with constant matrices.

    Raises:
        ValueError: It cannot; the message names the cost term or constraint and what to do.
    """
    if not problem.variables():
        raise ValueError("the problem has no variables; expected at least one to solve for")
    _check_part(
        problem,
        cp.Problem.is_dcp,
        "is not convex by CVXPY's rules (DCP)",
        "rewrite it; a parameter that multiplies a convex term must be declared nonneg=True",
    )
    _check_part(
        problem,
        cp.Problem.is_dpp,
        "multiplies parameters by parameters or by nonlinear terms of them (it is not DPP)",
        "introduce a parameter for the product",
    )
    _check_part(
        problem,
        cp.Problem.is_qp,
        "is not a quadratic program",
        "use linear and quadratic terms, abs, max, norm1, norm_inf or huber, or solve it through "
        "CVXPY itself",
    )
    integer = [v.name() for v in problem.variables() if _is_integer(v)]
    if integer:
        raise ValueError(
            f"the problem has integer variables {integer}; expected continuous ones: relax them to "
            "bounds, or solve it through CVXPY itself"
        )
    _check_leaves(problem, parameters, variables)


def _check_part(
    problem: cp.Problem, holds: Callable[[cp.Problem], bool], trouble: str, remedy: str
) -> None:
    if holds(problem):
        return
    culprit = next((name for name, part in _parts(problem) if not holds(part)), "the problem")
    raise ValueError(f"{culprit} {trouble}; {remedy}")


def _parts(problem: cp.Problem) -> Iterator[tuple[str, cp.Problem]]:
    """Cost terms and constraints, each as a problem of its own."""
    goal = problem.objective
    cost = goal.args[0]
    terms = cost.args if isinstance(cost, AddExpression) else [cost]
    for i, term in enumerate(terms):
        yield f"term {i} of the cost, {_shortened(term)},", cp.Problem(type(goal)(term))
    for i, constraint in enumerate(problem.constraints):
        name = f"{constraint_name(constraint, i)}, {_shortened(constraint)},"
        yield name, cp.Problem(cp.Minimize(0.0), [constraint])


def constraint_name(constraint: Any, position: int) -> str:
    """The constraint's label, or its position in the problem."""
    label = getattr(constraint, "label", None)  # CVXPY 1.7 and newer
    return str(label) if label else f"constraint {position}"


def _shortened(expression: Any) -> str:
    text = " ".join(str(expression).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _is_integer(variable: cp.Variable) -> bool:
    return bool(variable.attributes["boolean"] or variable.attributes["integer"])


def _check_leaves(
    problem: cp.Problem, parameters: Sequence[cp.Parameter], variables: Sequence[cp.Variable]
) -> None:
    """Check that leaves are known, plain, and can be told apart by name."""
    for kind, leaves in (("parameters", parameters), ("variables", problem.variables())):
        twice = sorted(name for name, n in Counter(v.name() for v in leaves).items() if n > 1)
        if twice:
            raise ValueError(f"several {kind} are named {twice}; give each a name of its own")
    unknown = _not_among(problem.parameters(), parameters)
    if unknown:
        raise ValueError(
            f"the problem has parameters {unknown} that were not listed; list these very objects"
        )
    absent = _not_among(variables, problem.variables())
    if absent:
        raise ValueError(
            f"variables {absent} do not occur in the problem; expected the objects it is stated in"
        )
    _check_declared("parameter", parameters, PLAIN)
    _check_declared("variable", problem.variables(), KNOWN)


def _not_among(leaves: Iterable[Any], others: Iterable[Any]) -> list[str]:
    """Names of leaves that are not among others; objects count: equal names do not make one."""
    known = {leaf.id for leaf in others}
    return sorted({leaf.name() for leaf in leaves if leaf.id not in known})


def _check_declared(kind: str, leaves: Sequence[cp.Variable | cp.Parameter], known: Any) -> None:
    for leaf in leaves:
        declared = [k for k, v in leaf.attributes.items() if v and k not in known]
        if declared:
            raise ValueError(
                f"{kind} {leaf.name()!r} is declared {', '.join(declared)}; expected one without, "
                f"or with {', '.join(known)}: state the rest as constraints, or by indexing"
            )
