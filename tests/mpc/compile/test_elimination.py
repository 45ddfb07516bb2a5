"""Which variables leave the program, and that nothing else changes by it."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import compile_qp

atoms: Any = cp


def test_a_chain_of_definitions_leaves_its_first_link(agrees: Any) -> None:
    x, y, p = cp.Variable(name="x"), cp.Variable(5, name="y"), cp.Parameter(5, name="p")
    links = [y[0] == 0.9 * x + p[0], *(y[i + 1] == 0.8 * y[i] - p[i + 1] for i in range(4))]
    problem = cp.Problem(
        cp.Minimize(atoms.sum_squares(y - 1.0) + 0.1 * atoms.square(x) + p @ y), [*links, y <= 1.5]
    )
    qp = compile_qp(problem, [p], [x])
    assert qp.P.shape == (1, 1)
    assert np.isneginf(qp.lower.constant).all()  # no equality is left
    agrees(problem, ["x", "y"])


def test_variables_that_are_asked_for_stay(agrees: Any) -> None:
    x, y, p = cp.Variable(2, name="x"), cp.Variable(2, name="y"), cp.Parameter(2, name="p")
    problem = cp.Problem(cp.Minimize(atoms.sum_squares(x) + atoms.sum_squares(y)), [y == x + p])
    kept = compile_qp(problem, [p], [x, y])
    assert kept.P.shape == (4, 4)
    np.testing.assert_array_equal(np.sort([*kept.columns["x"], *kept.columns["y"]]), np.arange(4))
    assert kept.row_names == ("constraint 0[0]", "constraint 0[1]")
    assert compile_qp(problem, [p], [x]).P.shape == (2, 2)
    agrees(problem, ["x", "y"])


@pytest.mark.parametrize("turned", [False, True])
def test_the_variable_with_the_largest_entry_is_solved_for(turned: bool) -> None:
    """Solving for the other would multiply rounding by a thousand."""
    y, p = cp.Variable(3, name="y"), cp.Parameter(name="p")
    entries = np.array([1e-3, -2.0, 1.0])[:: -1 if turned else 1]
    problem = cp.Problem(cp.Minimize(atoms.sum_squares(atoms.pos(y - 1.0))), [entries @ y == p])
    qp = compile_qp(problem, [p])
    stated = qp.recovery.matrix.toarray()[qp.recovery.columns["y"]]
    shift = qp.recovery.shift.matrix.toarray()[qp.recovery.columns["y"]]
    np.testing.assert_allclose(np.abs(stated).sum(axis=1), [1.0, 0.5005, 1.0])
    np.testing.assert_allclose(shift[:, 0], [0.0, -0.5, 0.0])


def test_a_variable_in_two_equalities_stays_and_both_stay_as_rows(agrees: Any) -> None:
    x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
    bounds = [x[0] + x[1] == p[0], x[0] - 2.0 * x[1] == p[1]]
    problem = cp.Problem(cp.Minimize(atoms.sum_squares(x)), bounds)
    qp = compile_qp(problem, [p], [x])
    assert qp.A.shape == (2, 2)
    assert qp.row_names == ("constraint 0", "constraint 1")
    agrees(problem, ["x"])


def test_what_is_defined_may_be_bounded_priced_and_squared(agrees: Any) -> None:
    x, y, z = cp.Variable(2, name="x"), cp.Variable(2, name="y"), cp.Variable(name="z")
    p, price = cp.Parameter(2, name="p"), cp.Parameter(2, name="price")
    bounds = [y == 2.0 * x - p, z == atoms.sum(y) + 3.0, y >= -1.0, z <= 4.0 + p[0]]
    cost = atoms.quad_form(y, np.array([[2.0, 1.0], [1.0, 3.0]])) + atoms.sum_squares(x)
    cost += price @ y + 2.0 * z + 0.5 * atoms.square(z) + atoms.sum(p)
    problem = cp.Problem(cp.Minimize(cost), bounds)
    assert compile_qp(problem, [p, price], [x]).P.shape == (2, 2)
    agrees(problem, ["x", "y", "z"])


def test_the_compiled_matrices_are_symmetric() -> None:
    x = cp.Variable(3, name="x")
    weight = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 2.0]])
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.quad_form(x, weight))), [], [x])
    order = qp.columns["x"]
    np.testing.assert_allclose(qp.P[np.ix_(order, order)], 2.0 * weight, atol=1e-12)
