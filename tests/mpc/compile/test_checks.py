"""What is said about problems that cannot be compiled: which part, and what to do."""

import re
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import compile_qp

atoms: Any = cp
x, y, p = cp.Variable(2, name="x"), cp.Variable(name="y"), cp.Parameter(2, name="p")
convex, concave = atoms.sum_squares(x), -atoms.square(y)


def refusal(cost: Any, constraints: Any = (), parameters: Any = (), variables: Any = ()) -> str:
    """Return what the error says."""
    goal = cost if isinstance(cost, cp.Maximize) else cp.Minimize(cost)
    with pytest.raises(ValueError) as error:
        compile_qp(cp.Problem(goal, list(constraints)), list(parameters), list(variables))
    return str(error.value)


def test_the_term_of_the_cost_that_is_not_convex_is_named() -> None:
    remedy = "a parameter that multiplies a convex term must be declared nonneg=True"
    said = refusal(convex + y + concave)
    assert said.startswith(f"term 2 of the cost, {concave}, is not convex by CVXPY's rules")
    assert said.endswith(remedy)
    assert refusal(concave).startswith(f"term 0 of the cost, {concave}, is not convex")
    assert refusal(cp.Maximize(y + convex)).startswith(f"term 1 of the cost, {convex}, is")


def test_the_constraint_that_is_not_convex_is_named() -> None:
    bound = concave <= -1.0
    said = refusal(convex, [y <= 1.0, bound])
    assert said.startswith(f"constraint 1, {bound}, is not convex")


def test_products_of_parameters_are_named() -> None:
    bound = x <= atoms.multiply(p, p)
    said = refusal(convex + y, [x[0] <= 1.0, bound], [p])
    assert said.startswith(f"constraint 1, {bound}, multiplies parameters by parameters")
    assert said.endswith("(it is not DPP); introduce a parameter for the product")


def test_terms_that_are_not_quadratic_are_named() -> None:
    said = refusal(atoms.exp(y) + convex)
    assert said.startswith("term 0 of the cost, exp(y), is not a quadratic program; use linear and")
    assert said.endswith("norm_inf or huber, or solve it through CVXPY itself")


def test_a_long_expression_is_cut_at_eighty_characters() -> None:
    frame = len(str(concave)) - len("y")
    for length, cut in ((80, False), (81, True)):
        long = -atoms.square(cp.Variable(name="l" * (length - frame)))
        shown = re.findall(r"cost, (.*), is not convex", refusal(long))[0]
        assert shown == (str(long)[:77] + "..." if cut else str(long))
        assert len(shown) == 80


def test_labels_stand_for_positions() -> None:
    bound: Any = concave <= -1.0
    if not hasattr(bound, "set_label"):  # labels came with CVXPY 1.7
        return
    bound.set_label("valve")
    assert refusal(convex, [x <= 1.0, bound]).startswith("valve, ")


def test_integer_variables_are_listed() -> None:
    n, b = cp.Variable(name="n", integer=True), cp.Variable(name="b", boolean=True)
    said = refusal(atoms.square(n) + atoms.square(b) + convex)
    assert said.startswith("the problem has integer variables ['n', 'b']; expected continuous ones")


def test_names_that_are_not_unique_are_listed() -> None:
    other, another = cp.Variable(name="y"), cp.Variable(2, name="x")
    cost = convex + atoms.square(y) + atoms.square(other) + atoms.sum_squares(another)
    said = refusal(cost)
    assert said == "several variables are named ['x', 'y']; give each a name of its own"
    twin = cp.Parameter(2, name="p")
    said = refusal(atoms.sum_squares(x - p - twin), parameters=[p, twin])
    assert said == "several parameters are named ['p']; give each a name of its own"


def test_a_problem_without_variables_is_refused() -> None:
    said = refusal(atoms.sum_squares(p), parameters=[p])
    assert said == "the problem has no variables; expected at least one to solve for"


def test_leaves_that_are_not_listed_or_do_not_occur_are_named() -> None:
    q = cp.Parameter(2, name="a")
    unlisted = "the problem has parameters {} that were not listed; list these very objects"
    assert refusal(atoms.sum_squares(x - p - q)) == unlisted.format(["a", "p"])
    absent = "variables {} do not occur in the problem; expected the objects it is stated in"
    foreign = [x, y, cp.Variable(name="e")]
    assert refusal(convex, variables=foreign) == absent.format(["e", "y"])
    namesakes = cp.Parameter(2, name="p"), cp.Variable(2, name="x")
    assert refusal(atoms.sum_squares(x - p), parameters=namesakes[:1]) == unlisted.format(["p"])
    assert refusal(convex, variables=namesakes[1:]) == absent.format(["x"])


@pytest.mark.parametrize("kind", [{"symmetric": True}, {"PSD": True}, {"diag": True}])
def test_parameters_with_a_structure_are_refused(kind: dict[str, bool]) -> None:
    P, X = cp.Parameter((2, 2), name="P", **kind), cp.Variable((2, 2), name="X")
    said = refusal(atoms.sum_squares(X - P), parameters=[P])
    assert said.startswith(f"parameter 'P' is declared {next(iter(kind))}; expected one without")


@pytest.mark.parametrize("kind", [{"complex": True}, {"diag": True}])
def test_variables_whose_entries_are_not_free_numbers_are_refused(kind: dict[str, bool]) -> None:
    X = cp.Variable((2, 2), name="X", **kind)
    said = refusal(atoms.sum_squares(X - 1.0))
    assert said.startswith(f"variable 'X' is declared {next(iter(kind))}; expected one without")


DECLARED: list[dict[str, Any]] = [
    {},
    {"nonneg": True},
    {"nonpos": True},
    {"pos": True},
    {"neg": True},
    {"bounds": [-0.7, 0.4]},
    {"bounds": [np.array([[-9.0, 0.1], [-0.2, 2.0]]), 9.0]},
    {"symmetric": True},
]


@pytest.mark.parametrize("declared", DECLARED)
def test_what_variables_declare_is_kept(declared: dict[str, Any], agrees: Any) -> None:
    X, b = cp.Variable((2, 2), name="X", **declared), cp.Parameter((2, 2), name="b")
    agrees(cp.Problem(cp.Minimize(atoms.sum_squares(X - b))), ["X"])


@pytest.mark.parametrize("declared", [*DECLARED[:5], {"bounds": [5.0, 6.0]}])
def test_parameters_may_declare_signs_and_bounds(declared: dict[str, Any]) -> None:
    b = cp.Parameter(2, name="b", **declared)
    qp = compile_qp(cp.Problem(cp.Minimize(atoms.sum_squares(x - b)), [x >= b - 1.0]), [b])
    np.testing.assert_allclose(qp.solve({"b": [5.5, -6.0]}).values["x"], [5.5, -6.0], rtol=1e-9)
