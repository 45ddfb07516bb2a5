"""A problem that cannot be compiled is told which of its parts is to blame, and what to do."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import compile_qp

atoms: Any = cp
x, p, q = cp.Variable(2, name="x"), cp.Parameter(2, name="p"), cp.Parameter(2, name="q")
squares = atoms.sum_squares(x)

BLAMED = [
    (squares + atoms.sum(atoms.sqrt(x)), [], "term 1 of the cost, .*not convex"),
    (squares, [x >= 0.0, squares >= 1.0], "constraint 1, .*not convex.*rewrite"),
    (squares, [atoms.multiply(p, q) + x >= 1.0], "constraint 0, .*not DPP.*for the product"),
    (squares + atoms.sum(atoms.multiply(p, x) * q[0]), [], "term 1 of the cost, .*not DPP"),
    (squares, [x >= 0.0, atoms.norm2(x) <= 1.0], "constraint 1, .*not a quadratic program"),
    (squares + atoms.norm2(x - 1.0), [], "term 1 of the cost, .*not a quadratic program"),
    (squares + atoms.sum(atoms.exp(x)), [], r"exp\(x\).*not a quadratic program"),
]


@pytest.mark.parametrize(("cost", "constraints", "message"), BLAMED)
def test_the_part_to_blame_is_shown(cost: Any, constraints: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_qp(cp.Problem(cp.Minimize(cost), constraints), [p, q], [])


def test_a_term_of_a_maximisation_is_blamed_as_well() -> None:
    profit = -squares + atoms.sum(atoms.square(x))
    with pytest.raises(ValueError, match=r"term 1 of the cost.*not convex"):
        compile_qp(cp.Problem(cp.Maximize(profit)), [], [])


def test_a_long_expression_is_shortened() -> None:
    long = atoms.sum(atoms.exp(sum(np.full((2, 2), k + 0.123456) @ x for k in range(9))))
    with pytest.raises(ValueError, match="not a quadratic program") as caught:
        compile_qp(cp.Problem(cp.Minimize(long)), [], [])
    assert "..." in str(caught.value)
    assert len(str(caught.value)) < 300


def test_integer_variables_are_named() -> None:
    n = cp.Variable(2, name="n", integer=True)
    with pytest.raises(ValueError, match=r"integer variables \['n'\].*relax"):
        compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(n - 0.3))), [], [])


def test_leaves_that_share_a_name_are_refused() -> None:
    twins = [cp.Variable(name="v"), cp.Variable(name="v")]
    cost = atoms.square(twins[0]) + atoms.square(twins[1] - 1.0)
    with pytest.raises(ValueError, match=r"several variables are named \['v'\]"):
        compile_qp(cp.Problem(cp.Minimize(cost)), [], [])


def test_parameters_with_a_structure_are_refused() -> None:
    S = cp.Parameter((2, 2), name="S", symmetric=True)
    with pytest.raises(ValueError, match="parameter 'S' is declared symmetric"):
        compile_qp(cp.Problem(cp.Minimize(squares), [S @ np.ones(2) <= x]), [S], [])


def test_the_parameter_that_would_change_the_matrices_is_named() -> None:
    slope, level = cp.Parameter(2, name="slope"), cp.Parameter(name="level")
    problem = cp.Problem(cp.Minimize(squares), [slope @ x >= level])
    with pytest.raises(ValueError, match=r"parameters \['slope'\] multiply variables"):
        compile_qp(problem, [slope, level], [])
