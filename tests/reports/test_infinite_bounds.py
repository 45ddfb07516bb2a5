"""Bounds that are infinite or huge, switched on and off between solves.

After qpOASES #126, qpsolvers #135, osqp #735, ecos-python #49, cuopt #1806 and Clarabel.rs #216.
"""

import math
from dataclasses import astuple
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control import Bounds, KoopmanMPC, LiftedModel, compile_qp
from koopman_control.common import Array
from koopman_control.mpc.compile.program import ParametricQP
from koopman_control.mpc.solvers import make_solver

pytest.importorskip("piqp", reason="needs pip install piqp")

atoms: Any = cp  # CVXPY's atoms carry no type information

SOLVERS = ("auto", "daqp", "osqp", "piqp", "clarabel")
TARGET = np.array([1.0, -3.0])
Case = tuple[list[float], list[float], float, list[float]]


def boxed() -> ParametricQP:
    """Make min |x - (1, -3)|^2, lo <= x <= hi, x_0 + x_1 <= cap."""
    x, lo, hi = cp.Variable(2, name="x"), cp.Parameter(2, name="lo"), cp.Parameter(2, name="hi")
    cap = cp.Parameter(name="cap")
    rows = [x >= lo, x <= hi, atoms.sum(x) <= cap]
    return compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x - TARGET)), rows), [lo, hi, cap])


def cases(big: float) -> list[Case]:
    """Bounds lo, hi and cap, and the solution: none, some, others, none again."""
    return [
        ([-big, -big], [big, big], big, [1.0, -3.0]),
        ([-big, -1.0], [0.5, big], big, [0.5, -1.0]),
        ([-1.0, -1.0], [big, big], -1.0, [0.0, -1.0]),
        ([-big, -big], [big, big], big, [1.0, -3.0]),
    ]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("big", [1e8, 1e12, 1e20, 1e30, math.inf])
def test_a_far_bound_is_no_bound_for_any_solver(solver: str, big: float) -> None:
    qp = boxed()
    for low, high, cap, expected in cases(big):
        answer = qp.solve({"lo": low, "hi": high, "cap": cap}, solver)
        assert answer.status == "optimal"
        np.testing.assert_allclose(answer.values["x"], expected, atol=1e-5)
        assert answer.residuals is not None
        assert max(astuple(answer.residuals)) < 1e-4


@pytest.mark.parametrize("name", SOLVERS)
def test_bounds_come_and_go_while_a_solver_keeps_its_memory(name: Any) -> None:
    qp, solver = boxed(), make_solver(name)
    for low, high, cap, expected in 3 * cases(math.inf):
        answer = solver.solve(qp.at({"lo": low, "hi": high, "cap": cap}), matrices_changed=False)
        assert answer.v is not None
        np.testing.assert_allclose(answer.v, expected, atol=1e-5)


def test_infinity_and_huge_numbers_are_the_same_program() -> None:
    qp = boxed()
    one, other = (
        qp.at({"lo": [-big, 0.0], "hi": [big, 1.0], "cap": big}) for big in (1e20, math.inf)
    )
    for got, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert np.isneginf(one.lower).sum() == 2 + 2  # of x itself, lo[0] and below the cap


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lo": [math.inf, 0.0]}, r"lo\[0\] is inf, so that nothing keeps constraint 0"),
        ({"hi": [1.0, -1e25]}, r"hi\[1\] is -inf, so that nothing keeps"),
        ({"cap": math.nan}, "cap is nan; expected a finite number, or infinity"),
        ({"target": [0.0, math.inf]}, r"target\[1\] is inf; expected finite numbers in cost and"),
        ({"sum": math.inf}, "sum is inf; expected finite numbers in cost and equations"),
    ],
)
def test_infinity_that_opens_no_row_is_refused_by_name(changed: dict[str, Any], says: str) -> None:
    x, lo, hi = cp.Variable(3, name="x"), cp.Parameter(2, name="lo"), cp.Parameter(2, name="hi")
    cap, target, total = (
        cp.Parameter(name="cap"), cp.Parameter(2, name="target"), cp.Parameter(name="sum")
    )  # fmt: skip
    rows = [x[:2] >= lo, x[:2] <= hi, x[0] <= cap, x[0] - x[2] == total, x[1] + 2 * x[2] == total]
    cost = atoms.sum_squares(x[:2] - target)
    qp = compile_qp(cp.Problem(cp.Minimize(cost), rows), [lo, hi, cap, target, total])
    good: dict[str, Any] = {
        "lo": [0.0, 0.0],
        "hi": [1.0, 1.0],
        "cap": 1.0,
        "target": [1.0, 1.0],
        "sum": 0.5,
    }
    assert qp.solve(good).status == "optimal"
    with pytest.raises(ValueError, match=says):
        qp.solve(good | changed)


def test_an_open_soft_row_costs_nothing() -> None:
    x, cap = cp.Variable(2, name="x"), cp.Parameter(name="cap")
    slack = cp.Variable(nonneg=True, name="slack")
    cost = atoms.sum_squares(x - TARGET) + 1e3 * slack + atoms.square(slack)
    qp = compile_qp(cp.Problem(cp.Minimize(cost), [atoms.sum(x) >= cap - slack]), [cap])
    for solver in SOLVERS:
        for cap_value, expected in ((-math.inf, [1.0, -3.0]), (0.0, [2.0, -2.0])):
            answer = qp.solve({"cap": cap_value}, solver)
            np.testing.assert_allclose(answer.values["x"], expected, atol=1e-5)
            assert abs(float(answer.values["slack"])) < 1e-5


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("big", [1e8, 1e12])
def test_far_bounds_do_not_hide_what_rows_ask_for(solver: str, big: float) -> None:
    x = cp.Variable(2, name="x")
    rows = [x >= 1.0, x <= big, x[0] + x[1] >= 3.0]
    costs = {  # one without squares, and one that leads to almost zero by itself
        (2.0, 1.0): x[0] + 2.0 * x[1],
        (1.5, 1.5): atoms.sum_squares(x) + 1e-9 * x[0],
    }
    for expected, cost in costs.items():
        answer = compile_qp(cp.Problem(cp.Minimize(cost), rows), []).solve((), solver)
        assert answer.status == "optimal"
        np.testing.assert_allclose(answer.values["x"], expected, atol=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_that_first_saw_small_programs_solves_large_ones(name: Any) -> None:
    x, target, cap = cp.Variable(2, name="x"), cp.Parameter(2, name="target"), cp.Parameter(2)
    problem = cp.Problem(cp.Minimize(atoms.sum_squares(x - target)), [x <= cap])
    qp, solver = compile_qp(problem, [target, cap]), make_solver(name)
    for size in (1e-9, 1.0, 1e9, 1e-9):
        theta = size * np.array([1.0, -3.0, 0.5, 1e12])
        answer = solver.solve(qp.at(theta), matrices_changed=False)
        assert answer.v is not None
        np.testing.assert_allclose(answer.v / size, [0.5, -3.0], atol=1e-5)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
@pytest.mark.parametrize("big", [1e6, 1e8, 1e12, 1e20])
def test_far_bounds_of_inputs_are_none_to_a_controller(rollout: Any, big: float) -> None:
    A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])
    model = LiftedModel.from_arrays(
        A,
        B,
        np.eye(2),
        lambda X: X,
        jacobian=lambda X: np.tile(np.eye(2), (len(X), 1, 1)),
    )

    def driven(bound: float) -> Array:
        mpc = KoopmanMPC(
            model,
            10,
            1.0,
            0.1,
            rollout=rollout,
            input_bounds=(-bound, bound),
            bounds=Bounds(terminal=([-0.1, -0.1], [0.1, 0.1])),
        )
        x, taken = np.array([-1.0, 0.0]), []
        for _ in range(5):
            taken.append(mpc.act(x))
            assert mpc.last is not None
            assert mpc.last.rung == "solved"
            x = A @ x + B @ taken[-1]
        return np.array(taken)

    np.testing.assert_allclose(driven(big), driven(math.inf), atol=1e-9)
