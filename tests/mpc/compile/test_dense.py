"""The program that solvers are given, on numbers small enough to check by hand."""

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.mpc.solvers.program import DenseQP

INF = np.inf
QP = DenseQP(
    H=np.array([[2.0, 1.0], [1.0, 4.0]]),
    f=np.array([1.0, -1.0]),
    A=np.array([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]]),
    lower=np.array([-9.0, -9.0, 0.0, -1.0, -INF]),
    upper=np.array([9.0, 9.0, 1.0, INF, 0.5]),
    linear_weight=np.array([INF, 2.0, 3.0]),
    quadratic_weight=np.array([INF, 4.0, 0.0]),
)
BELOW, ABOVE = np.array([-3.0, 1.0]), np.array([3.0, 2.0])


def test_rows_with_a_price_are_soft() -> None:
    np.testing.assert_array_equal(QP.soft, [False, True, True])


def test_violations_are_counted_on_both_sides() -> None:
    np.testing.assert_array_equal(QP.violation(BELOW), [2.0, 3.0, 0.5])
    np.testing.assert_array_equal(QP.violation(ABOVE), [4.0, 0.0, 1.5])
    np.testing.assert_array_equal(QP.violation(np.array([0.25, 0.25])), 0.0)


def test_the_cost_includes_the_price_of_violations() -> None:
    assert QP.cost(BELOW) == (8.0 - 4.0) + (2.0 * 3.0 + 0.5 * 4.0 * 9.0) + 3.0 * 0.5
    assert QP.cost(ABOVE) == (23.0 + 1.0) + 0.0 + 3.0 * 1.5


def test_a_divided_program_costs_less_everywhere() -> None:
    for v in (BELOW, ABOVE):
        assert QP.divided(4.0).cost(v) == QP.cost(v) / 4.0
        np.testing.assert_array_equal(QP.divided(4.0).violation(v), QP.violation(v))
    np.testing.assert_array_equal(QP.divided(4.0).soft, QP.soft)


@pytest.mark.parametrize(
    ("diagonal", "f", "size"),
    [
        ([2.0, 4.0], [1.0, -1.0], 3.0),
        ([2.0, 4.0], [1.0, -5.0], 3.0),  # a solution far away makes no larger cost
        ([0.25, 0.25], [1e4, 0.0], 0.25),
        ([1e-6, 1e-6], [0.5, 0.0], 0.5),  # no curvature beside such a slope
        ([0.25, 0.25], [0.0, 0.0], 0.25),
        ([0.0, 0.0], [0.0, 0.0], 3.0),
        ([0.0, 0.0], [0.0, -0.125], 0.125),
    ],
)
def test_the_size_of_a_cost_is_that_of_its_curvature_or_else_of_its_slopes_or_prices(
    diagonal: Array, f: Array, size: float
) -> None:
    H = np.diag(diagonal) + np.array([[0.0, 100.0], [100.0, 0.0]])
    assert QP._replace(H=H, f=np.array(f)).cost_size == size


def test_the_size_of_a_cost_that_weighs_nothing_is_one() -> None:
    nothing = QP._replace(H=np.zeros((2, 2)), f=np.zeros(2))
    for weight in (np.full(3, INF), np.array([INF, 0.0, 0.0])):
        assert nothing._replace(linear_weight=weight).cost_size == 1.0
