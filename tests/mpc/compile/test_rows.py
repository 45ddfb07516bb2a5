"""Rows with two sides: which rows are joined, and what the sides are."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import ParametricQP, compile_qp

atoms: Any = cp
INF = np.inf


def compiled(build: Callable[[Any, Any], list[Any]]) -> ParametricQP:
    x, p = cp.Variable(2, name="x"), cp.Parameter(name="p")
    problem = cp.Problem(cp.Minimize(atoms.sum_squares(x)), build(x, p))
    return compile_qp(problem, problem.parameters(), [x])


def rows(qp: ParametricQP, theta: Any = ()) -> list[tuple[list[float], float, float]]:
    program = qp.at(theta)
    np.testing.assert_array_equal(program.lower[:2], -INF)
    np.testing.assert_array_equal(program.upper[:2], INF)
    sides = zip(program.A.tolist(), program.lower[2:], program.upper[2:], strict=True)
    return [(row, float(low), float(high)) for row, low, high in sides]


def test_opposite_rows_become_one_with_two_sides() -> None:
    qp = compiled(lambda x, p: [x[0] - 2.0 * x[1] <= 3.0, x[0] - 2.0 * x[1] >= p - 1.0])
    assert rows(qp, [0.5]) == [([1.0, -2.0], -0.5, 3.0)]
    assert qp.row_names == ("constraint 1 and constraint 0",)


def test_a_row_bounded_from_below_only_is_open_above() -> None:
    qp = compiled(lambda x, p: [x[0] >= 2.0, x[1] <= p])
    assert rows(qp, [4.0]) == [([1.0, 0.0], 2.0, INF), ([0.0, 1.0], -INF, 4.0)]


def test_open_sides_do_not_depend_on_parameters() -> None:
    qp = compiled(lambda x, p: [x[0] <= p, x[0] + x[1] >= p, x[1] <= p])
    np.testing.assert_array_equal(qp.upper.matrix.toarray()[:, 0], [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(qp.lower.matrix.toarray()[:, 0], [0.0, 1.0, 0.0])


def test_rows_whose_first_entry_is_negative_are_turned() -> None:
    qp = compiled(lambda x, p: [-x[0] + x[1] <= 1.0, x[1] - x[0] >= -2.0])
    assert rows(qp) == [([1.0, -1.0], -1.0, 2.0)]


def test_bounds_on_the_same_side_keep_rows_of_their_own() -> None:
    qp = compiled(lambda x, p: [x[0] <= 1.0, x[0] <= p, x[0] >= -1.0, x[0] <= 3.0, x[0] >= -p])
    wanted = [([1.0, 0.0], -1.0, 1.0), ([1.0, 0.0], -2.0, 2.0), ([1.0, 0.0], -INF, 3.0)]
    assert rows(qp, [2.0]) == wanted


def test_rows_that_differ_by_rounding_are_joined_and_others_are_not() -> None:
    third = 1.0 / 3.0
    joined = compiled(lambda x, p: [x[0] + third * x[1] <= 1.0, x[0] + (third + 1e-14) * x[1] >= 0])
    assert len(rows(joined)) == 1
    apart = compiled(lambda x, p: [x[0] + third * x[1] <= 1.0, x[0] + (third + 1e-11) * x[1] >= 0])
    assert len(rows(apart)) == 2


def test_equalities_stay_below_as_rows_with_equal_sides() -> None:
    qp = compiled(lambda x, p: [x[0] + x[1] == p, x[1] >= -1.0])
    assert rows(qp, [0.5]) == [([0.0, 1.0], -1.0, INF), ([1.0, 1.0], 0.5, 0.5)]
    assert qp.row_names == ("constraint 1", "constraint 0")
    np.testing.assert_array_equal(qp.linear_weight, INF)
    np.testing.assert_array_equal(qp.quadratic_weight, INF)


def test_a_problem_without_constraints_has_no_rows() -> None:
    qp = compiled(lambda x, p: [])
    assert qp.A.shape == (0, 2)
    assert rows(qp) == []
    assert qp.row_names == ()


def test_soft_and_hard_rows_of_the_same_direction_stay_apart() -> None:
    x, s = cp.Variable(name="x"), cp.Variable(2, name="s", nonneg=True)
    cost = atoms.square(x - 9.0) + 2.0 * atoms.sum(s) + atoms.sum_squares(s)
    bounds = [x - s[0] <= 1.0, x <= 4.0, x >= -3.0, x + s[1] >= 0.0]
    qp = compile_qp(cp.Problem(cp.Minimize(cost), bounds), [], [x])
    theta = np.zeros(0)
    sides = zip(qp.lower(theta), qp.upper(theta), qp.linear_weight, strict=True)
    found = dict(zip(qp.row_names, sides, strict=True))
    assert found == {
        "constraint 0": (-INF, 1.0, 2.0),
        "constraint 2 and constraint 1": (-3.0, 4.0, INF),
        "constraint 3": (0.0, INF, 2.0),
    }


@pytest.mark.parametrize("maximize", [False, True])
def test_the_cost_is_that_of_the_stated_problem_everywhere(maximize: bool) -> None:
    """Variables that leave the program leave a constant that depends on the parameters."""
    x, y, p = cp.Variable(2, name="x"), cp.Variable(2, name="y"), cp.Parameter(2, name="p")
    weight = np.array([[2.0, 0.5], [0.5, 1.0]])
    cost = atoms.quad_form(x, weight) + atoms.sum_squares(y - 1.0) + 3.0 * p[0] + p @ y + 2.0
    link = [y == 2.0 * x + p]
    goal = cp.Maximize(-cost) if maximize else cp.Minimize(cost)
    qp = compile_qp(cp.Problem(goal, link), [p], [x])
    assert qp.P.shape == (2, 2)
    rng = np.random.default_rng(0)
    for theta, v in zip(rng.normal(size=(4, 2)), rng.normal(size=(4, 2)), strict=True):
        x.value, p.value = v, theta
        y.value = 2.0 * v + theta
        assert qp.at(theta).cost(v) + qp.constant(theta) == pytest.approx(float(cost.value))
