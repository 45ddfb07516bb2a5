"""`compile_qp` on problems of other kinds than ours, against CVXPY with Clarabel."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import compile_qp

atoms: Any = cp  # CVXPY's atoms carry no type information

Stated = tuple[cp.Problem, list[cp.Parameter], cp.Variable]
rng = np.random.default_rng(0)
A: Any = rng.normal(size=(12, 4))  # Any, as NumPy does not know that CVXPY takes over
C: Any = rng.normal(size=(6, 4))


def unknown(n: int = 4) -> cp.Variable:
    return cp.Variable(n, name="x")


def lasso() -> Stated:
    x, b = unknown(), cp.Parameter(12)
    cost = atoms.sum_squares(A @ x - b) + 3.0 * atoms.norm1(x)
    return cp.Problem(cp.Minimize(cost)), [b], x


def least_squares_over_a_polytope() -> Stated:
    x, b, d = unknown(), cp.Parameter(12), cp.Parameter(6, nonneg=True)
    bounds = [C @ x <= 0.1 + d, C @ x >= -1.0]
    return cp.Problem(cp.Minimize(atoms.sum_squares(A @ x - b)), bounds), [b, d], x


def epigraph_of_a_maximum() -> Stated:
    x, b = unknown(), cp.Parameter(6)
    cost = atoms.max(C @ x - b) + 0.5 * atoms.sum_squares(x)
    return cp.Problem(cp.Minimize(cost)), [b], x


def largest_deviation() -> Stated:
    x, b = unknown(), cp.Parameter(6)
    cost = atoms.norm_inf(C @ x - b) + 0.1 * atoms.quad_form(x, np.diag([1.0, 2.0, 3.0, 4.0]))
    return cp.Problem(cp.Minimize(cost)), [b], x


def portfolio() -> Stated:
    x, mu = unknown(), cp.Parameter(4)
    risk = atoms.quad_form(x, A.T @ A)
    bounds = [atoms.sum(x) == 1.0, x >= 0.0]
    return cp.Problem(cp.Maximize(mu @ x - risk), bounds), [mu], x


def parameter_in_bounds() -> Stated:
    x, low, width = unknown(), cp.Parameter(4), cp.Parameter(nonneg=True)
    bounds = [x >= low, x <= low + width]
    return cp.Problem(cp.Minimize(atoms.sum_squares(A @ x - 1.0)), bounds), [low, width], x


def parameter_as_right_hand_side_of_an_equality() -> Stated:
    x, total = unknown(), cp.Parameter(nonpos=True)
    bounds = [atoms.sum(x) == total, x[0] == x[1]]
    return cp.Problem(cp.Minimize(atoms.sum_squares(x - 1.0) + 5.0), bounds), [total], x


def shared_slack() -> Stated:
    """A slack that relaxes many rows must stay a variable."""
    x, b, s = unknown(), cp.Parameter(6), cp.Variable(nonneg=True, name="s")
    cost = atoms.sum_squares(x - 3.0) + 10.0 * s + atoms.square(s)
    return cp.Problem(cp.Minimize(cost), [C @ x - s <= b]), [b], x


def own_slacks() -> Stated:
    x, b, s = unknown(), cp.Parameter(6), cp.Variable(6, nonneg=True, name="s")
    cost = atoms.sum_squares(x - 3.0) + 2.0 * atoms.sum(s) + atoms.sum_squares(s)
    return cp.Problem(cp.Minimize(cost), [C @ x - s <= b, C @ x + s >= b - 0.1]), [b], x


def two_slacks_in_a_row() -> Stated:
    """Only one of them may become a weight."""
    x, b, s = unknown(), cp.Parameter(6), cp.Variable((2, 6), nonneg=True, name="s")
    cost = atoms.sum_squares(x - 3.0) + 2.0 * atoms.sum(s[0]) + 1.5 * atoms.sum(s[1])
    cost += atoms.sum_squares(s)
    return cp.Problem(cp.Minimize(cost), [C @ x - s[0] - s[1] <= b]), [b], x


def huber_like_deadzone() -> Stated:
    x, b = unknown(), cp.Parameter(6)
    cost = atoms.sum_squares(atoms.pos(atoms.abs(C @ x - b) - 0.2)) + 0.2 * atoms.sum_squares(x)
    return cp.Problem(cp.Minimize(cost)), [b], x


def constants_and_prices() -> Stated:
    x, price, fee = unknown(), cp.Parameter(4), cp.Parameter()
    cost = atoms.sum_squares(x) + price @ x + 2.0 * fee + 7.0
    return cp.Problem(cp.Minimize(cost), [x[0] + x[1] <= fee]), [price, fee], x


PROBLEMS = [
    lasso,
    least_squares_over_a_polytope,
    epigraph_of_a_maximum,
    largest_deviation,
    portfolio,
    parameter_in_bounds,
    parameter_as_right_hand_side_of_an_equality,
    shared_slack,
    own_slacks,
    two_slacks_in_a_row,
    huber_like_deadzone,
    constants_and_prices,
]


@pytest.mark.parametrize("stated", PROBLEMS)
def test_the_compiled_problem_has_the_same_solution_and_cost(
    stated: Callable[[], Stated], agrees: Callable[..., None]
) -> None:
    problem, _, x = stated()
    agrees(problem, [x.name()])


def test_slacks_of_their_own_rows_leave_the_program() -> None:
    problem, parameters, x = own_slacks()
    qp = compile_qp(problem, parameters, [x])
    assert qp.P.shape == (4, 4)
    assert qp.A.shape == (6, 4)
    np.testing.assert_array_equal(qp.linear_weight, 2.0)
    np.testing.assert_array_equal(qp.quadratic_weight, 2.0)


def test_compiling_leaves_the_values_of_the_users_problem_alone() -> None:
    problem, (b,), x = lasso()
    compile_qp(problem, [b], [x])
    assert all(value is None for value in (b.value, x.value, problem.status))
    b.value = np.ones(12)
    compile_qp(problem, [b], [x])
    np.testing.assert_array_equal(b.value, 1.0)


def test_a_problem_without_parameters_compiles_too() -> None:
    x = unknown()
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x - 2.0)), [x <= 1.0]), [], [x])
    found = qp.solve()
    np.testing.assert_allclose(found.values["x"], 1.0)
    assert found.objective == pytest.approx(4.0)


x1, p1 = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
WRONG = [
    (cp.Minimize(-atoms.sum_squares(x1)), [], [x1], "not convex"),
    (cp.Minimize(atoms.sum_squares(atoms.multiply(atoms.square(p1), x1))), [], [x1], "not DPP"),
    (cp.Minimize(atoms.norm2(x1)), [], [x1], "not a quadratic program"),
    (cp.Minimize(atoms.sum_squares(x1)), [x1 <= p1], [x1], r"parameters \['p'\]"),
    (cp.Minimize(atoms.sum_squares(x1)), [], [x1, cp.Variable(name="z")], r"variables \['z'\]"),
    (cp.Minimize(atoms.sum(cp.Variable(2, integer=True))), [], [], "integer"),
]


@pytest.mark.parametrize(("objective", "constraints", "variables", "message"), WRONG)
def test_what_cannot_be_compiled_is_refused(
    objective: cp.Minimize, constraints: list[Any], variables: list[cp.Variable], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compile_qp(cp.Problem(objective, constraints), [], variables)


@pytest.mark.parametrize("in_cost", [False, True])
def test_parameters_that_would_change_the_matrices_are_refused(in_cost: bool) -> None:
    x, p = cp.Variable(2, name="x"), cp.Parameter(nonneg=True, name="p")
    weighted = p * atoms.sum_squares(x) + atoms.sum_squares(x - 1.0)
    problem = (
        cp.Problem(cp.Minimize(weighted))
        if in_cost
        else cp.Problem(cp.Minimize(atoms.sum_squares(x)), [p * x[0] + x[1] >= 1.0])
    )
    with pytest.raises(ValueError, match="matrices"):
        compile_qp(problem, [p], [x])


def test_where_equations_leave_nothing_to_choose_the_rows_decide() -> None:
    x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
    fixed = atoms.multiply([2.0, 4.0], x) == p
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x)), [fixed, x <= 1.0]), [p])
    assert qp.P.shape == (0, 0)
    found = qp.solve({"p": [2.0, -4.0]})
    np.testing.assert_allclose(found.values["x"], [1.0, -1.0])
    assert (found.status, found.objective) == ("optimal", 2.0)
    assert found.residuals is not None
    assert found.residuals.primal == 0.0
    assert qp.solve({"p": [2.0, 5.0]}).status == "infeasible"


def test_a_price_on_what_equations_determine_is_paid() -> None:
    x, p, s = cp.Variable(name="x"), cp.Parameter(name="p"), cp.Variable(name="s", nonneg=True)
    cost, rows = 5.0 * s + atoms.square(s), (atoms.multiply(2.0, x) == p, x <= 3.0 + s)
    qp = compile_qp(cp.Problem(cp.Minimize(cost), list(rows)), [p])
    found = qp.solve({"p": 10.0})
    np.testing.assert_allclose(found.values["s"], 2.0)
    assert found.objective == pytest.approx(14.0)
