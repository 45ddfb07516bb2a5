"""What is read from CVXPY: names of rows, maps of the parameters, and nothing left behind."""

from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import ParametricQP, compile_qp
from koopman_control.mpc.compile import canonical as dependence
from koopman_control.mpc.compile.canonical import Canonical
from koopman_control.mpc.compile.program import AffineMap

atoms: Any = cp


def named(cost: Any, constraints: Any, *variables: cp.Variable) -> set[str]:
    return set(compile_qp(cp.Problem(cp.Minimize(cost), constraints), [], variables).row_names)


@pytest.mark.parametrize(
    ("count", "listed"), [(2, "x[0], x[1]"), (3, "x[0], x[1], x[2]"), (4, "x[0], x[1], x[2], ...")]
)
def test_rows_that_cvxpy_adds_list_three_variables(count: int, listed: str) -> None:
    x = cp.Variable(count, name="x")
    cost = atoms.abs(atoms.sum(x) - 1.0) + atoms.sum_squares(x)
    assert named(cost, [], x) == {f"auxiliary row of {listed}"}


def test_rows_on_variables_of_cvxpy_alone_belong_to_the_cost() -> None:
    x = cp.Variable(name="x")
    names = named(atoms.huber(x - 1.0) + atoms.square(x), [x <= 3.0], x)
    assert "auxiliary row of the cost" in names
    assert "constraint 0" in names
    assert not any(name.startswith("bound of") for name in names)


def test_bounds_that_variables_declare_are_named_after_their_entries() -> None:
    x, y = cp.Variable(2, name="x", nonneg=True), cp.Variable(name="y", nonpos=True)
    cost = atoms.sum_squares(x - 1.0) + atoms.square(y)
    assert named(cost, [], x, y) == {"bound of x[0]", "bound of x[1]", "bound of y"}


def test_an_entry_of_a_matrix_is_named_by_row_and_column() -> None:
    x = cp.Variable((2, 2), name="x")
    names = named(atoms.sum_squares(x), [x[1:] >= 1.0, atoms.sum(x) == 3.0], x)
    assert names == {"constraint 0[0, 0]", "constraint 0[0, 1]", "constraint 1"}


def two_parameters() -> tuple[cp.Variable, cp.Parameter, cp.Parameter]:
    x = cp.Variable(2, name="x")
    return x, cp.Parameter(2, name="still"), cp.Parameter(name="moves", nonneg=True)


def moving(x: Any, still: Any, moves: Any, part: str) -> cp.Problem:
    """State a problem in which one parameter multiplies variables in one part."""
    cost, bounds = atoms.sum_squares(x - still), [x >= -1.0, atoms.sum(x) == 1.0]
    if part == "cost":
        cost += moves * atoms.square(x[0])
    elif part == "equality":
        bounds[1] = x[0] + moves * x[1] == 1.0
    else:
        bounds[0] = moves * x >= still
    return cp.Problem(cp.Minimize(cost), bounds)


@pytest.mark.parametrize("part", ["cost", "equality", "inequality"])
def test_the_parameter_that_would_change_a_matrix_is_named(part: str) -> None:
    x, still, moves = two_parameters()
    for order in ([still, moves], [moves, still]):
        with pytest.raises(ValueError, match=r"parameters \['moves'\] multiply variables"):
            compile_qp(moving(x, still, moves, part), order)


def test_a_refused_problem_keeps_its_values() -> None:
    x, still, moves = two_parameters()
    still.value, moves.value, x.value = np.array([1.0, 2.0]), 3.0, np.array([4.0, 5.0])
    with pytest.raises(ValueError, match="matrices"):
        compile_qp(moving(x, still, moves, "cost"), [still, moves])
    np.testing.assert_array_equal(still.value, [1.0, 2.0])
    np.testing.assert_array_equal(x.value, [4.0, 5.0])
    assert moves.value == 3.0


def test_variables_project_values_as_before() -> None:
    x: Any = cp.Variable(2, name="x", bounds=[0.0, 1.0])
    compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x))), [])
    np.testing.assert_array_equal(x.project(np.array([-3.0, 3.0])), [0.0, 1.0])
    assert "project" not in vars(x)


def tracked() -> tuple[cp.Problem, list[cp.Parameter]]:
    x, p = cp.Variable((2, 2), name="x"), cp.Parameter((2, 2), name="p")
    low, price = cp.Parameter(name="low"), cp.Parameter((2, 2), name="price")
    cost = atoms.sum_squares(x - p) + atoms.sum(atoms.multiply(price, x)) + 3.0 * low
    return cp.Problem(cp.Minimize(cost), [x >= low, atoms.sum(x) == 1.0 + p[0, 1]]), [p, low, price]


def same(one: ParametricQP, other: ParametricQP) -> None:
    for map1, map2 in ((one.q, other.q), (one.lower, other.lower), (one.upper, other.upper)):
        np.testing.assert_allclose(map1.constant, map2.constant, atol=1e-13)
        np.testing.assert_allclose(map1.matrix.toarray(), map2.matrix.toarray(), atol=1e-13)
    theta = np.random.default_rng(0).normal(size=9)
    assert one.constant(theta) == pytest.approx(other.constant(theta), rel=1e-12)


ELSEWHERE: dict[str, dict[str, Any]] = {
    "nowhere": {},
    "under other names": {"param_prob": SimpleNamespace()},
    "as something else": {"param_prob": SimpleNamespace(q="q", A=None, param_id_to_col={})},
    "without a constant": {
        "param_prob": SimpleNamespace(q=np.eye(12), A=np.eye(12), param_id_to_col={})
    },
    "as numbers": {"param_prob": SimpleNamespace(q=1.0, A=1.0, param_id_to_col=3)},
    "too short": {"param_prob": SimpleNamespace(q=np.eye(2), A=np.eye(2), param_id_to_col={-1: 7})},
}


@pytest.mark.parametrize("kept", ELSEWHERE.values(), ids=ELSEWHERE)
def test_maps_that_cvxpy_keeps_elsewhere_are_probed(
    kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, parameters = tracked()
    wanted = compile_qp(problem, parameters)
    original = Canonical.data

    def moved(self: Canonical, theta: Any) -> dict[str, Any]:
        data = original(self, theta)
        del data["param_prob"]
        return data | kept

    monkeypatch.setattr(Canonical, "data", moved)
    same(compile_qp(problem, parameters), wanted)


@pytest.mark.parametrize("key", ["q", "b", "G", "offset"])
def test_maps_that_hold_nowhere_are_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, parameters = tracked()
    probed = dependence._probed

    def wrong(*arguments: Any) -> Any:
        maps = probed(*arguments)
        return maps | {key: AffineMap(maps[key].constant + 1e-6, maps[key].matrix)}

    monkeypatch.setattr(dependence, "_read", lambda *_: None)
    monkeypatch.setattr(dependence, "_probed", wrong)
    with pytest.raises(ValueError, match="this version of CVXPY does not return costs and bounds"):
        compile_qp(problem, parameters)
