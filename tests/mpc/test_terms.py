"""What `constrain` and `penalize` take, what they refuse, and that parameters can be set."""

import pickle
import re
from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC, Parameters

atoms: Any = cp  # CVXPY's atoms carry no type information
Make = Callable[..., LiftedModel]
N = 5


@pytest.fixture
def mpc(linear_model: Make) -> KoopmanMPC:
    model = linear_model([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]], action_bounds=[[-1.0], [1.0]])
    return KoopmanMPC(model, N, [1.0, 0.1], 0.01, reference=[1.0, 0.0])


def planned(mpc: KoopmanMPC) -> Any:
    mpc.reset()
    mpc.act([0.0, 0.0])
    assert mpc.last is not None
    assert mpc.last.rung == "solved"
    return mpc.last.inputs[:, 0]


def test_they_return_a_new_controller_and_leave_the_old_one_as_it_is(mpc: KoopmanMPC) -> None:
    before = planned(mpc)
    assert before[0] > 0.9
    less = mpc.constrain(lambda y, u, p: u <= p.most, most=0.25)
    np.testing.assert_allclose(planned(less)[0], 0.25)
    np.testing.assert_array_equal(planned(mpc), before)
    assert list(less.parameters) == ["most"]
    assert not mpc.parameters


def test_a_parameter_can_be_set_between_steps(mpc: KoopmanMPC) -> None:
    less = mpc.constrain(lambda y, u, p: u[:, 0] <= p.most, most=np.full(N, 0.25))
    for most in (0.5, 0.125):
        less.parameters["most"] = np.full(N, most)
        np.testing.assert_allclose(planned(less)[0], most)
    np.testing.assert_array_equal(less.parameters["most"], np.full(N, 0.125))


def test_a_later_term_may_use_an_earlier_parameter(mpc: KoopmanMPC) -> None:
    both = mpc.constrain(lambda y, u, p: u <= p.most, most=0.25).constrain(
        lambda y, u, p: u >= -p.most
    )
    np.testing.assert_allclose(planned(both)[0], 0.25)
    both.reset()
    np.testing.assert_allclose(both.act([9.0, 0.0]), [-0.25])


def test_the_sign_of_a_parameter_can_be_declared(mpc: KoopmanMPC) -> None:
    fee = cp.Parameter(nonneg=True, value=50.0)
    dear = mpc.penalize(lambda y, u, p: p.fee * atoms.norm1(u), fee=fee)
    np.testing.assert_allclose(planned(dear), 0.0, atol=1e-9)
    dear.parameters["fee"] = 0.0
    np.testing.assert_allclose(planned(dear), planned(mpc), atol=1e-7)
    with pytest.raises(ValueError, match=r"parameter 'fee' is -1\.0; declared as nonneg"):
        dear.parameters["fee"] = -1.0


def test_a_row_of_y_and_u_is_a_step(mpc: KoopmanMPC) -> None:
    shapes = []

    def seen(y: Any, u: Any, p: Any) -> Any:
        shapes.append((y.shape, u.shape))
        return atoms.sum(y)

    mpc.penalize(seen)
    assert shapes == [((N, 2), (N, 1))]


def test_a_copy_in_another_process_acts_alike(mpc: KoopmanMPC) -> None:
    less = mpc.constrain(below_a_quarter)
    np.testing.assert_array_equal(planned(pickle.loads(pickle.dumps(less))), planned(less))


def below_a_quarter(y: Any, u: Any, p: Any) -> Any:
    return u <= 0.25


WRONG_PARAMETERS: list[tuple[Any, str]] = [
    (np.nan, "parameter 'a' is nan; expected numbers, not NaN"),
    (cp.Parameter(), "parameter 'a' has no value; give it one"),
]


@pytest.mark.parametrize(("value", "message"), WRONG_PARAMETERS)
def test_a_parameter_needs_a_value(mpc: KoopmanMPC, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mpc.constrain(lambda y, u, p: u <= p.a, a=value)


def test_parameters_refuse_other_shapes_names_and_deletion(mpc: KoopmanMPC) -> None:
    less = mpc.constrain(lambda y, u, p: u[:, 0] <= p.most, most=np.ones(N))
    with pytest.raises(ValueError, match=r"parameter 'most' has shape \(\); expected \(5\)"):
        less.parameters["most"] = 1.0
    with pytest.raises(ValueError, match=r"parameter 'most' is .*-inf.*; expected finite numbers"):
        less.parameters["most"] = np.full(N, -np.inf)
    with pytest.raises(KeyError, match="name is 'least', no parameter; the controller has most"):
        less.parameters["least"] = 1.0
    with pytest.raises(TypeError, match="stays"):
        del less.parameters["most"]
    with pytest.raises(ValueError, match="parameter 'most' exists already"):
        less.penalize(lambda y, u, p: p.most @ u, most=np.ones(N))
    assert isinstance(less.parameters, Parameters)


WRONG_CONSTRAINTS: list[tuple[Any, str]] = [
    (lambda y, u, p: atoms.norm(u) >= 1.0, "constrain got .* not convex"),
    (lambda y, u, p: atoms.square(u) == 1.0, "constrain got .* not convex"),
    (lambda y, u, p: True, "constrain got True; expected CVXPY constraints"),
    (lambda y, u, p: [u <= 1.0, u], "constrain got u; expected CVXPY constraints"),
    (lambda y, u, p: p.a * p.a * u <= 1.0, "constrain got .* not DPP"),
    (lambda y, u, p: u[:, 0] <= np.ones(N + 1), r"with y of shape \(5, 2\) and u"),
    (lambda y, u, p: p.a * y[:, 0] + u[:, 0] <= 1.0, "would change its matrices"),
]


@pytest.mark.parametrize(("build", "message"), WRONG_CONSTRAINTS)
def test_constraints_that_will_not_do_are_refused(
    mpc: KoopmanMPC, build: Any, message: str
) -> None:
    with pytest.raises(ValueError) as told:
        mpc.constrain(build, a=0.5)
    text = "\n".join([str(told.value), *getattr(told.value, "__notes__", [])])
    assert re.search(message, text)


WRONG_COSTS: list[tuple[Any, str]] = [
    (lambda y, u, p: -atoms.sum_squares(y), "penalize got .* not convex"),
    (lambda y, u, p: y[:, 0], r"penalize got shape \(5,\); expected one CVXPY expression"),
    (lambda y, u, p: 3.0, "penalize got 3.0; expected one CVXPY expression"),
    (lambda y, u, p: p.a * p.a * atoms.sum(u), "penalize got .* not DPP"),
]


@pytest.mark.parametrize(("build", "message"), WRONG_COSTS)
def test_costs_that_will_not_do_are_refused(mpc: KoopmanMPC, build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mpc.penalize(build, a=0.5)


def test_an_error_in_the_function_tells_the_shapes(mpc: KoopmanMPC) -> None:
    with pytest.raises(AttributeError) as told:
        mpc.constrain(lambda y, u, p: u <= p.missing)
    assert told.value.__notes__ == ["in constrain, with y of shape (5, 2) and u of shape (5, 1)"]


def test_parameters_in_matrices_work_through_cvxpy(linear_model: Make) -> None:
    model = linear_model([[1.0]], [[1.0]], action_bounds=[[-1.0], [1.0]])
    with pytest.warns(UserWarning, match="through CVXPY itself"):
        slow = KoopmanMPC(model, 2, reference=1.0, solver="cvxpy")
    with pytest.warns(UserWarning, match="through CVXPY itself"):
        slow = slow.constrain(lambda y, u, p: p.a * u[0] <= 0.5, a=1.0)
    for a in (1.0, 2.0):
        slow.parameters["a"] = a
        slow.reset()
        np.testing.assert_allclose(slow.act([0.0]), 0.5 / a, atol=1e-6)
