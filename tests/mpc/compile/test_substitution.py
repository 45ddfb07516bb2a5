"""Inputs replaced by fewer values: the same answers as CVXPY with u = M v, in fewer rows."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.mpc import ParametricQP, compile_qp
from koopman_control.mpc.compile.eliminate import with_inputs

atoms: Any = cp
INF = np.inf
HELD: Array = np.eye(2).repeat(2, axis=0)  # each of two values for two steps
Build = Callable[[Any, Any], list[Any]]


def substituted(build: Build, M: Array = HELD) -> ParametricQP:
    """Compile a problem in u of shape (N, 1) alone, and put u = M v in."""
    u, p = cp.Variable((len(M), 1), name="u"), cp.Parameter(name="p", value=1.0)
    problem = cp.Problem(cp.Minimize(atoms.sum_squares(u - 3.0)), build(u[:, 0], p))
    return with_inputs(compile_qp(problem, problem.parameters(), [u]), M)


def rows(qp: ParametricQP, theta: Any = ()) -> list[tuple[list[float], float, float]]:
    program = qp.at(theta)
    n = len(qp.P)
    sides = zip(program.A.tolist(), program.lower[n:], program.upper[n:], strict=True)
    return [(row, float(low), float(high)) for row, low, high in sides]


def test_parallel_bounds_become_the_tightest() -> None:
    qp = substituted(lambda u, p: [u[0] >= -1.0, u[0] <= 2.0, u[1] >= -3.0, u[1] <= 1.0, u[3] <= 5])
    assert rows(qp) == [([1.0, 0.0], -1.0, 1.0), ([0.0, 1.0], -INF, 5.0)]
    assert qp.row_names == ("constraint 0 and constraint 1", "constraint 4")


@pytest.mark.parametrize(
    ("M", "wanted"),
    [
        ([[1.0], [-1.0]], (-0.5, 2.0)),
        ([[1.0], [2.0]], (-1.0, 0.25)),
        ([[-2.0], [4.0]], (-0.75, 0.125)),
    ],
)
def test_bounds_are_divided_by_the_weight_of_the_value(
    M: list[list[float]], wanted: tuple[float, float]
) -> None:
    qp = substituted(lambda u, p: [u[0] >= -1, u[0] <= 2, u[1] >= -3, u[1] <= 0.5], np.array(M))
    assert rows(qp) == [([1.0], *wanted)]


def test_rates_within_a_held_value_vanish_and_others_stay() -> None:
    qp = substituted(lambda u, p: [u[1:] - u[:-1] <= 0.5, u[1:] - u[:-1] >= -0.25])
    assert rows(qp) == [([1.0, -1.0], -0.5, 0.25)]


def test_a_rate_that_a_held_value_cannot_have_stays_infeasible() -> None:
    for build in (lambda u, p: [u[1] - u[0] >= 0.5], lambda u, p: [u[1] - u[0] <= -0.5]):
        qp = substituted(build)
        assert len(rows(qp)) == 1
        assert qp.solve().status == "infeasible"


def within_one(u: Any) -> list[Any]:
    return [u >= -1.0, u <= 1.0]


@pytest.mark.parametrize(("side", "count"), [(2.0, 2), (1.999, 3), (2.001, 2)])
def test_rows_that_bounds_imply_are_dropped(side: float, count: int) -> None:
    above = substituted(lambda u, p: [*within_one(u), u[0] + u[2] <= side])
    below = substituted(lambda u, p: [*within_one(u), u[0] - u[2] >= -side])
    assert len(rows(above)) == len(rows(below)) == count


def test_rows_that_half_open_bounds_do_not_imply_are_kept() -> None:
    qp = substituted(lambda u, p: [u <= 1.0, u[2:] >= -1.0, u[0] + u[2] >= -9.0])
    assert ([1.0, 1.0], -9.0, INF) in rows(qp)
    assert len(rows(qp)) == 3
    qp = substituted(lambda u, p: [u <= 1.0, u[2:] >= -1.0, u[0] + u[2] <= 9.0])
    assert rows(qp) == [([1.0, 0.0], -INF, 1.0), ([0.0, 1.0], -1.0, 1.0)]


def test_bounds_on_the_last_value_count_as_those_on_the_first() -> None:
    def count(added: Callable[[Any], Any]) -> int:
        box = substituted(lambda u, p: [*within_one(u[:2]), *within_one(u[2:] / 5.0), added(u)])
        return len(rows(box))

    assert count(lambda u: u[0] + 2.0 * u[2] <= 11.0) == 2
    assert count(lambda u: u[0] + 2.0 * u[2] <= 10.9) == 3
    assert count(lambda u: u[0] - 2.0 * u[2] >= -10.9) == 3


def test_rows_that_depend_on_parameters_are_neither_joined_nor_dropped() -> None:
    qp = substituted(lambda u, p: [u[0] <= p, u[1] <= 1.0, u[1] >= -1.0, u[0] + u[2] <= 9.0 + p])
    assert len(rows(qp, [0.5])) == 3
    assert ([1.0, 0.0], -INF, 0.5) in rows(qp, [0.5])
    assert ([1.0, 1.0], -INF, 9.5) in rows(qp, [0.5])
    assert len(rows(substituted(lambda u, p: [u[0] >= p, u[1] >= 1.0]), [0.5])) == 2


@pytest.mark.parametrize(("difference", "count"), [(2e-11, 1), (2e-10, 2)])
def test_rows_that_agree_to_ten_digits_are_parallel(difference: float, count: int) -> None:
    entry = 0.25 + difference
    qp = substituted(lambda u, p: [u[0] + u[2] / 4.0 <= 1.0, u[1] + entry * u[3] <= 2.0])
    assert len(rows(qp)) == count
    assert rows(qp)[0][2] == 1.0


def test_an_entry_at_rounding_level_does_not_lead_a_row() -> None:
    M = np.array([[1e-15, 2.0], [0.0, 1.0]])
    found = rows(substituted(lambda u, p: [u[0] <= 1.0, u[1] <= 2.0], M))
    assert len(found) == 1
    assert found[0][2] == 0.5


def test_soft_rows_keep_prices_and_places() -> None:
    u, s = cp.Variable((4, 1), name="u"), cp.Variable(2, name="s", nonneg=True)
    cost = atoms.sum_squares(u - 3.0) + atoms.sum(s) + 2.0 * atoms.sum_squares(s)
    bounds = [u[:, 0] >= -1.0, u[:, 0] <= 9.0, u[0, 0] - s[0] <= 1.0, u[2, 0] - s[1] <= 9.0]
    qp = with_inputs(compile_qp(cp.Problem(cp.Minimize(cost), bounds), [], [u]), HELD)
    np.testing.assert_array_equal(np.sort(qp.linear_weight), [1.0, 1.0, INF, INF])
    np.testing.assert_array_equal(qp.quadratic_weight[np.isfinite(qp.linear_weight)], 4.0)
    answer = qp.solve()  # 4 (v - 3) + 1 + 4 (v - 1) = 0 for the first value
    np.testing.assert_allclose(answer.values["u"][:, 0], [1.875, 1.875, 3.0, 3.0], atol=1e-7)
    np.testing.assert_allclose(answer.values["s"], [0.875, 0.0], atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_is_that_of_cvxpy_with_the_inputs_tied(seed: int) -> None:
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(4, 3)) if seed % 2 else HELD
    y, u = cp.Variable((4, 1), name="y"), cp.Variable((4, 2), name="u")
    p, v = cp.Parameter(4, name="p"), cp.Variable((M.shape[1], 2))
    p.value = 0.3 * np.abs(rng.normal(size=4))
    gain, price = rng.normal(size=(4, 8)), rng.normal(size=8)
    flat = atoms.reshape(u, (8,), order="C")
    bounds = [y[:, 0] == gain @ flat + p, u >= -1.0, u <= 0.8, y <= 1.0, flat[0] <= p[1]]
    cost = atoms.sum_squares(y - 2.0) + 0.1 * atoms.sum_squares(u) + price @ flat
    problem = cp.Problem(cp.Minimize(cost), bounds)
    qp = with_inputs(compile_qp(problem, [p], [y, u]), M)
    assert qp.columns["u"].shape == v.shape
    tied = cp.Problem(problem.objective, [*bounds, u == M @ v])
    tied.solve(solver="CLARABEL")  # type: ignore[no-untyped-call]
    answer = qp.solve({"p": p.value})
    assert answer.objective == pytest.approx(float(tied.value), rel=1e-6)
    for variable in (u, y):
        wanted = np.asarray(variable.value, dtype=np.float64)
        np.testing.assert_allclose(answer.values[variable.name()], wanted, atol=1e-5)


def test_values_and_other_variables_are_found_by_their_columns() -> None:
    y, u = cp.Variable((2, 1), name="y"), cp.Variable((4, 2), name="u")
    cost = atoms.sum_squares(y) + atoms.sum_squares(u)
    qp = with_inputs(compile_qp(cp.Problem(cp.Minimize(cost)), [], [u, y]), HELD)
    x = np.random.default_rng(0).normal(size=len(qp.P))
    found = qp.recovery(x, np.zeros(0), np.zeros(0))
    assert (len(x), qp.columns["u"].shape, qp.columns["y"].shape) == (6, (2, 2), (2, 1))
    np.testing.assert_array_equal(found["y"], x[qp.columns["y"]])
    np.testing.assert_allclose(found["u"], HELD @ x[qp.columns["u"]], rtol=1e-15)
    weight = np.zeros(6)
    weight[qp.columns["u"]], weight[qp.columns["y"]] = 4.0, 2.0
    np.testing.assert_array_equal(qp.P, np.diag(weight))
