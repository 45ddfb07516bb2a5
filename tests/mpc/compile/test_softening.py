"""Which rows are relaxed where a problem has no solution: those that outputs lead to."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import ParametricQP, compile_qp
from koopman_control.mpc.compile.presolve import softened

atoms: Any = cp


def compiled(rows: dict[str, Any], *variables: cp.Variable) -> tuple[ParametricQP, list[str]]:
    cost = sum(atoms.sum_squares(v) for v in variables)
    qp = compile_qp(cp.Problem(cp.Minimize(cost), list(rows.values())), [], variables)
    order = [int(name.split()[-1]) for name in qp.row_names]
    return qp, [list(rows)[i] for i in order]


def test_rows_that_outputs_lead_to_are_relaxed_and_rows_on_inputs_stay_hard() -> None:
    y, u = cp.Variable((3, 1), name="y"), cp.Variable((3, 1), name="u")
    w, v = cp.Variable(4, name="w"), cp.Variable(name="v")
    rows = {
        "y alone": y[0, 0] <= 1.0,
        "y and u": y[1, 0] + u[1, 0] <= 1.0,
        "y and w0": y[2, 0] + w[0] <= 1.0,
        "w0 alone": w[0] <= 3.0,
        "w0 and w1": w[0] - w[1] == 1.0,
        "w1 and w2": w[1] + w[2] <= 2.0,
        "w2 alone": w[2] >= -5.0,
        "u alone": u[0, 0] <= 1.0,
        "u in a row with y": u[1, 0] >= -2.0,
        "u and v": u[1, 0] + v <= 1.0,
        "v alone": v <= 4.0,
        "w3 alone": w[3] <= 6.0,
    }
    qp, names = compiled(rows, y, u, w, v)
    relaxed = softened(qp, 7.0, 11.0)
    assert relaxed is not None
    for i, name in enumerate(names):
        hard = name.startswith(("u", "v", "w3"))
        assert relaxed.linear_weight[i] == (np.inf if hard else 7.0), name
        assert relaxed.quadratic_weight[i] == (np.inf if hard else 22.0), name


def test_rows_that_are_soft_already_keep_their_prices() -> None:
    y, u = cp.Variable((2, 1), name="y"), cp.Variable((2, 1), name="u")
    s = cp.Variable(name="s", nonneg=True)
    cost = atoms.sum_squares(y) + atoms.sum_squares(u) + 2.0 * s + 1.5 * atoms.square(s)
    bounds = [y[0, 0] - s <= 1.0, y[1, 0] <= 1.0]
    relaxed = softened(compile_qp(cp.Problem(cp.Minimize(cost), bounds), [], [y, u]), 7.0, 11.0)
    assert relaxed is not None
    np.testing.assert_array_equal(relaxed.linear_weight, [2.0, 7.0])
    np.testing.assert_array_equal(relaxed.quadratic_weight, [3.0, 22.0])


def test_without_rows_on_outputs_there_is_nothing_to_relax() -> None:
    y, u = cp.Variable((2, 1), name="y"), cp.Variable((2, 1), name="u")
    qp, _ = compiled({"u alone": u[0, 0] <= 1.0}, y, u)
    assert softened(qp, 7.0, 11.0) is None


def test_sides_that_may_cross_are_relaxed_as_rows_of_their_own() -> None:
    """Between bounds that have crossed, the violations are split as two rows would split them."""
    y, u = cp.Variable((2, 1), name="y"), cp.Variable((2, 1), name="u")
    low, top = cp.Parameter(name="low"), cp.Parameter(name="top")
    cost = atoms.square(y[0, 0] - 3.0) + atoms.square(y[1, 0]) + atoms.sum_squares(u)
    bounds = [y[0, 0] >= low, y[0, 0] <= top, y[1, 0] >= low, y[1, 0] <= low + 1.0]
    qp = compile_qp(cp.Problem(cp.Minimize(cost), bounds), [low, top], [y, u])
    assert qp.A.shape == (2, 4)
    relaxed = softened(qp, 10.0, 2.0)
    assert relaxed is not None
    assert relaxed.A.shape == (3, 4)
    found = relaxed.solve({"low": 2.0, "top": -1.0})
    over = [atoms.pos(2.0 - y[0, 0]), atoms.pos(y[0, 0] + 1.0), atoms.pos(2.0 - y[1, 0])]
    stated: Any = cp.Problem(cp.Minimize(cost + sum(10.0 * v + 2.0 * v**2 for v in over)))
    stated.solve(solver="CLARABEL")
    assert y.value is not None
    np.testing.assert_allclose(found.values["y"], np.array(y.value), atol=1e-6)
    assert found.objective == pytest.approx(stated.value, rel=1e-7)
    apart = {"low": -1.0, "top": 2.0}
    np.testing.assert_allclose(
        relaxed.solve(apart).values["y"], np.array([[2.0], [0.0]]), atol=1e-9
    )


def test_sides_at_a_constant_distance_are_split_only_if_they_have_crossed() -> None:
    y, u = cp.Variable((3, 1), name="y"), cp.Variable((3, 1), name="u")
    rows = {
        "low": y[0, 0] >= 1.0,
        "below it": y[0, 0] <= -2.0,
        "equal": y[1, 0] == 4.0,
        "wide": y[2, 0] >= -1.0,
        "apart": y[2, 0] <= 3.0,
    }
    qp, _ = compiled(rows, y, u)
    relaxed = softened(qp, 10.0, 2.0)
    assert relaxed is not None
    assert (len(qp.A), len(relaxed.A)) == (3, 4)
    theta = np.zeros(0)
    sides = sorted(zip(relaxed.lower(theta), relaxed.upper(theta), strict=True))
    assert sides == [(-np.inf, -2.0), (-1.0, 3.0), (1.0, np.inf), (4.0, 4.0)]
