"""Maps of the parameters: read from where CVXPY keeps them, or probed."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import compile_qp
from koopman_control.mpc.compile import canonical as dependence
from koopman_control.mpc.compile.program import AffineMap

atoms: Any = cp


def stated() -> tuple[cp.Problem, list[cp.Parameter]]:
    rng = np.random.default_rng(0)
    x = cp.Variable((3, 2), name="x")
    target, price = cp.Parameter((3, 2), name="target"), cp.Parameter(2, name="price")
    low, fee = cp.Parameter((3, 2), nonpos=True, name="low"), cp.Parameter(name="fee")
    profit = -atoms.sum_squares(rng.normal(size=(4, 3)) @ (x - target)) + atoms.sum(x @ price)
    bounds = [x >= low, atoms.sum(x, axis=0) == price + fee]
    return cp.Problem(cp.Maximize(profit - 2.0 * fee + 1.0), bounds), [price, low, target, fee]


def test_probing_finds_the_maps_that_cvxpy_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of CVXPY that keep them elsewhere are probed."""
    problem, parameters = stated()
    read = compile_qp(problem, parameters)
    monkeypatch.setattr(dependence, "_read", lambda *_: None)
    probed = compile_qp(problem, parameters)
    for one, other in ((read.q, probed.q), (read.lower, probed.lower), (read.upper, probed.upper)):
        np.testing.assert_allclose(one.constant, other.constant, atol=1e-13)
        difference = one.matrix.toarray() - other.matrix.toarray()
        np.testing.assert_allclose(difference, 0.0, atol=1e-13)
    theta = np.random.default_rng(1).normal(size=15)
    assert read.constant(theta) == pytest.approx(probed.constant(theta), rel=1e-12)


def test_maps_that_were_read_wrongly_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, parameters = stated()
    wanted = compile_qp(problem, parameters)
    read = dependence._read

    def wrong(*arguments: Any) -> Any:
        maps = read(*arguments)
        assert maps is not None
        return maps | {"q": AffineMap(maps["q"].constant + 1e-6, maps["q"].matrix)}

    monkeypatch.setattr(dependence, "_read", wrong)
    found = compile_qp(problem, parameters)
    np.testing.assert_allclose(found.q.constant, wanted.q.constant, atol=1e-13)


def test_few_calls_of_cvxpy_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set-up time does not grow with the number of parameters."""
    x, p = cp.Variable(200, name="x"), cp.Parameter(200, name="p")
    idle = cp.Parameter(50, name="idle")  # nothing depends on it
    problem, calls = cp.Problem(cp.Minimize(atoms.sum_squares(x - p))), []
    original = cp.Problem.get_problem_data

    def counted(self: cp.Problem, *arguments: Any, **settings: Any) -> Any:
        calls.append(arguments)
        return original(self, *arguments, **settings)

    monkeypatch.setattr(cp.Problem, "get_problem_data", counted)
    qp = compile_qp(problem, [idle, p])
    assert len(calls) <= 5
    theta = np.arange(250.0)
    np.testing.assert_allclose(qp.solve(theta).values["x"], theta[50:], rtol=1e-12)
