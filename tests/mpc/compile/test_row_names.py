"""Rows of a compiled problem say where they come from."""

from typing import Any

import cvxpy as cp
import numpy as np

from koopman_control.mpc import compile_qp

atoms: Any = cp


def test_rows_are_named_after_constraint_and_entry() -> None:
    x, p = cp.Variable((2, 3), name="x"), cp.Parameter(name="p")
    scale = np.arange(1.0, 7.0).reshape(2, 3)
    bounds = [atoms.multiply(scale, x) <= 1.0, x[0, 0] + x[1, 2] == p]
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x)), bounds), [p], [x])
    assert len(qp.row_names) == len(qp.A)
    for name, row in zip(qp.row_names, qp.A, strict=True):
        found = np.argwhere(row[qp.columns["x"]])
        if name == "constraint 1":
            np.testing.assert_array_equal(found, [[0, 0], [1, 2]])
        else:  # the scale tells which entry it is
            ((i, j),) = found
            assert name == f"constraint 0[{i}, {j}]"
            assert row[qp.columns["x"][i, j]] == scale[i, j]


def test_the_users_labels_are_used() -> None:
    x = cp.Variable(2, name="x")
    low: Any = x >= -1.0
    if not hasattr(low, "set_label"):  # labels came with CVXPY 1.7
        return
    low.set_label("level")
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x - 1.0)), [low]), [], [x])
    assert qp.row_names == ("level[0]", "level[1]")


def test_joined_rows_carry_both_names() -> None:
    x = cp.Variable(name="x")
    problem = cp.Problem(cp.Minimize(atoms.square(x)), [x >= -1.0, x <= 2.0])
    assert compile_qp(problem, [], [x]).row_names == ("constraint 0 and constraint 1",)


def test_rows_that_cvxpy_adds_are_named_after_the_variables_in_them() -> None:
    x, y = cp.Variable(2, name="x", nonneg=True), cp.Variable(name="y")
    cost = atoms.sum_squares(x - 1.0) + atoms.abs(x[0] - y) + atoms.square(y)
    names = set(compile_qp(cp.Problem(cp.Minimize(cost)), [], [x, y]).row_names)
    assert names == {"bound of x[0]", "bound of x[1]", "auxiliary row of x[0], y"}


def test_folded_slacks_leave_the_name_of_the_row_that_they_relax() -> None:
    x, s = cp.Variable(3, name="x"), cp.Variable(3, name="s", nonneg=True)
    cost = atoms.sum_squares(x - 2.0) + atoms.sum(s) + atoms.sum_squares(s)
    qp = compile_qp(cp.Problem(cp.Minimize(cost), [x <= 1.0 + s]), [], [x])
    assert qp.row_names == ("constraint 0[0]", "constraint 0[1]", "constraint 0[2]")
    assert np.isfinite(qp.linear_weight).all()


def test_multipliers_of_the_users_constraints_keep_their_values() -> None:
    x = cp.Variable(name="x")
    bound = x >= 1.0
    problem = cp.Problem(cp.Minimize(atoms.square(x)), [bound])
    problem.solve(solver="CLARABEL")  # type: ignore[no-untyped-call]
    before = float(bound.dual_value)
    compile_qp(problem, [], [x])
    assert float(bound.dual_value) == before
