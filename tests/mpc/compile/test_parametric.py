"""Solving and inspecting a compiled problem."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import ParametricQP, compile_qp

atoms: Any = cp
SOLVERS = ["auto", "daqp", "osqp", "piqp", "clarabel"]


def softly_bounded() -> ParametricQP:
    """Maximise -(x - p)^2 - 2 s - s^2 where x <= 1 + s and y = 3 x + 1."""
    x, y, s = cp.Variable(name="x"), cp.Variable(name="y"), cp.Variable(name="s", nonneg=True)
    p = cp.Parameter(name="p")
    profit = -atoms.square(x - p) - 2.0 * s - atoms.square(s)
    return compile_qp(cp.Problem(cp.Maximize(profit), [x <= 1.0 + s, y == 3.0 * x + 1.0]), [p])


@pytest.mark.parametrize("solver", SOLVERS)
def test_eliminated_variables_and_folded_slacks_come_back(solver: str) -> None:
    qp = softly_bounded()
    assert qp.P.shape == (1, 1)  # y and s have left the program
    answer = qp.solve({"p": 4.0}, solver)  # 2 (x - 4) + 2 + 2 (x - 1) = 0 at x = 2
    assert answer.status == "optimal"
    for name, wanted in {"x": 2.0, "y": 7.0, "s": 1.0}.items():
        np.testing.assert_allclose(answer.values[name], wanted, atol=1e-6)
    assert answer.objective == pytest.approx(-4.0 - 2.0 - 1.0, abs=1e-6)
    assert answer.residuals is not None
    assert answer.residuals.stationarity < 1e-6


def test_compiled_programs_and_answers_cannot_be_changed() -> None:
    qp = softly_bounded()
    for one in (qp, qp.q, qp.constant, qp.recovery, qp.origin, qp.solve([0.5])):
        with pytest.raises(FrozenInstanceError):
            setattr(one, fields(one)[0].name, None)


def test_parameters_are_given_by_name_or_stacked() -> None:
    qp = softly_bounded()
    assert qp.solve({"p": 0.5}).values["x"] == qp.solve([0.5]).values["x"] == pytest.approx(0.5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_infeasible_problem_is_reported(solver: str) -> None:
    x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
    bounds = [x >= p, x <= 1.0, atoms.sum(x) >= 0.0]
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x)), bounds), [p])
    answer = qp.solve({"p": [0.0, 2.0]}, solver)
    assert answer.status == "infeasible"
    assert answer.values == {}
    assert np.isnan(answer.objective)
    assert answer.residuals is None


def test_a_constraint_between_parameters_alone_decides_about_feasibility() -> None:
    x, p = cp.Variable(name="x"), cp.Parameter(name="p")
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.square(x)), [p <= 1.0, x >= p]), [p])
    assert qp.solve({"p": 0.5}).objective == pytest.approx(0.25)
    assert qp.solve({"p": 2.0}).status == "infeasible"


@pytest.mark.parametrize("solver", ["auto", "piqp", "clarabel"])
def test_an_unbounded_problem_is_reported(solver: str) -> None:
    x, price = cp.Variable(name="x"), cp.Parameter(name="price")
    qp = compile_qp(cp.Problem(cp.Minimize(price * x), [x <= 1.0]), [price])
    assert qp.solve({"price": -2.0}, solver).objective == pytest.approx(-2.0)
    assert qp.solve({"price": 2.0}, solver).status == "unbounded"


def test_crossing_sides_of_one_slack_are_both_paid_for() -> None:
    """Two rows with one slack are one soft row only where their sides cannot cross."""
    x, s, p = cp.Variable(name="x"), cp.Variable(name="s", nonneg=True), cp.Parameter(name="p")
    cost = 0.01 * atoms.square(x) + s + atoms.square(s)
    qp = compile_qp(cp.Problem(cp.Minimize(cost), [x - s <= -p, x + s >= p]), [p])
    answer = qp.solve({"p": 2.0})  # x <= s - 2 and x >= 2 - s
    assert answer.values["s"] == pytest.approx(2.0)
    assert answer.objective == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"values are given for parameters \[\]; expected \['p'\]"),
        ({"p": 1.0, "q": 2.0}, r"\['p', 'q'\]; expected \['p'\]"),
        ({"p": [1.0, 2.0]}, "p has shape"),
        ({"p": np.nan}, "finite"),
        ([1.0, 2.0], "theta has shape"),
    ],
)
def test_wrong_values_of_parameters_are_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        softly_bounded().solve(values)


def test_an_unknown_solver_is_refused() -> None:
    with pytest.raises(ValueError, match="solver is 'ipopt'; expected one of auto, daqp"):
        softly_bounded().solve({"p": 1.0}, "ipopt")
