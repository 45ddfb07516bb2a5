"""Several terms are compiled together, and what is wrong with one is said where it is added."""

import pickle
from collections.abc import Callable
from typing import Any

import cvxpy
import numpy as np
import pytest

from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC, compile_qp

cp: Any = cvxpy  # its functions are not declared for type checkers
Make = Callable[..., LiftedModel]


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Problems that were compiled as a whole, with their inputs and outputs."""
    seen: list[Any] = []

    def noted(problem: Any, parameters: Any, variables: Any = ()) -> Any:
        seen.extend([problem] if variables else [])
        return compile_qp(problem, parameters, variables)

    monkeypatch.setattr("koopman_control.mpc.controller.compile_qp", noted)
    return seen


def extended(make: Make) -> KoopmanMPC:
    mpc = KoopmanMPC(make([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]]), 8, 1.0, 0.1)
    mpc = mpc.constrain(lambda y, u, p: y[:, 0] <= p.ceiling, ceiling=0.4)
    mpc = mpc.penalize(lambda y, u, p: p.price @ u[:, 0], price=np.ones(8))
    return mpc.constrain(lambda y, u, p: cp.sum(u) >= -3.0)


def test_several_terms_are_compiled_once(linear_model: Make, compilations: list[Any]) -> None:
    mpc = extended(linear_model)
    assert len(compilations) == 1  # by the constructor
    first = mpc.act([0.1, 0.0])
    assert len(compilations) == 2
    mpc.parameters["price"] = np.zeros(8)
    assert mpc.act([0.1, 0.0]) > first
    mpc.reset()
    mpc.explain()
    assert len(compilations) == 2


def test_a_copy_for_another_process_is_compiled(
    linear_model: Make, compilations: list[Any]
) -> None:
    mpc = KoopmanMPC(linear_model([[1.0]], [[0.1]]), 4).penalize(price_of_inputs)
    copy = pickle.loads(pickle.dumps(mpc))
    count = len(compilations)
    np.testing.assert_array_equal(copy.act([0.5]), mpc.act([0.5]))
    assert len(compilations) == count


def price_of_inputs(y: Any, u: Any, p: Any) -> Any:
    return cp.sum_squares(u)


@pytest.mark.parametrize(
    "build",
    [
        lambda y, u, p: p.slope * y[:, 0] <= 1.0,
        lambda y, u, p: y[:, 0] <= cp.Parameter(value=1.0),
        lambda y, u, p: y[:, 0] >= y[:, 1] ** 2 * p.slope,
    ],
)
def test_errors_appear_where_a_term_is_added(linear_model: Make, build: Any) -> None:
    mpc = extended(linear_model)
    with pytest.raises(ValueError):
        mpc.constrain(build, slope=1.0)
