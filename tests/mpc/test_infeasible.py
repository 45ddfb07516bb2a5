"""Hard bounds are met where they can be; where not, they are broken as little as possible."""

from collections.abc import Callable
from typing import Any, Literal

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Inputs, KoopmanMPC

atoms: Any = cp  # CVXPY's atoms carry no type information
Make = Callable[..., LiftedModel]
F, G = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])
ROLLOUTS: list[Literal["linear", "relifted"]] = ["linear", "relifted"]
WALL = [[-np.inf, -0.5], [1.0, 0.5]]  # position stays below 1, speed within +-0.5


def controller(make: Make, **settings: Any) -> KoopmanMPC:
    model = make(F, G, action_bounds=[[-1.0], [1.0]])
    given: dict[str, Any] = {
        "reference": [2.0, 0.0],
        "output_bounds": WALL,
        "bounds": Bounds(soft=False),
    } | settings
    return KoopmanMPC(model, 25, [1.0, 0.1], 0.01, **given)


def loop(mpc: KoopmanMPC, x: Array, steps: int) -> tuple[Array, list[str]]:
    states, rungs = [x], list[str]()
    for _ in range(steps):
        states.append(F @ states[-1] + G @ mpc.act(states[-1]))
        assert mpc.last is not None
        rungs.append(mpc.last.rung)
    return np.array(states), rungs


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_with_the_true_model_the_loop_meets_every_hard_bound(
    linear_model: Make, rollout: Literal["linear", "relifted"]
) -> None:
    mpc = controller(linear_model, rollout=rollout, bounds=Bounds(rates=0.5, soft=False))
    X, rungs = loop(mpc, np.array([-2.0, 0.0]), 120)
    assert set(rungs) == {"solved"}
    assert X[:, 0].max() <= 1.0 + 1e-7
    assert np.abs(X[:, 1]).max() <= 0.5 + 1e-7
    assert X[:, 0].max() > 0.99  # the wall mattered
    assert X[:, 1].max() > 0.49


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_bounds_that_cannot_be_kept_are_broken_least_and_kept_again_later(
    linear_model: Make, rollout: Literal["linear", "relifted"]
) -> None:
    mpc = controller(linear_model, rollout=rollout)
    X, rungs = loop(mpc, np.array([0.0, 1.5]), 60)
    assert rungs[0] == "softened"
    assert rungs[-1] == "solved"
    soft = controller(linear_model, rollout=rollout, bounds=Bounds(soft=True))
    np.testing.assert_allclose(X[:10], loop(soft, X[0], 9)[0], atol=1e-6)
    assert np.abs(X[30:, 1]).max() <= 0.5 + 1e-6


def test_the_step_tells_the_predicted_violation(linear_model: Make) -> None:
    mpc = controller(linear_model)
    mpc.act([0.0, 1.5])
    assert mpc.last is not None
    assert mpc.last.fallback
    np.testing.assert_allclose(mpc.last.slack[0], [0.0, 0.9], atol=1e-7)  # full braking
    mpc.act([0.0, 0.0])
    np.testing.assert_allclose(mpc.last.slack, 0.0, atol=1e-7)


def test_constraints_of_the_users_own_are_softened_too(linear_model: Make) -> None:
    mpc = controller(linear_model, output_bounds=None).constrain(lambda y, u, p: y[:, 1] <= 0.5)
    _, rungs = loop(mpc, np.array([0.0, 1.5]), 40)
    assert rungs[0] == "softened"
    assert rungs[-1] == "solved"


def test_rows_on_inputs_alone_stay_hard(linear_model: Make) -> None:
    mpc = controller(linear_model).constrain(lambda y, u, p: atoms.norm1(u) <= 3.0)
    mpc.act([0.0, 1.5])
    assert mpc.last is not None
    assert mpc.last.rung == "softened"
    assert np.abs(mpc.last.inputs).sum() == pytest.approx(3.0, abs=1e-6)


def test_where_inputs_alone_conflict_the_plan_is_continued(linear_model: Make) -> None:
    mpc = controller(linear_model).constrain(lambda y, u, p: u[0] >= p.least, least=0.0)
    first = mpc.act([0.0, 0.0])
    assert mpc.last is not None
    plan = mpc.last.inputs
    mpc.parameters["least"] = 2.0  # beyond the input bounds
    np.testing.assert_allclose(mpc.act([0.0, 0.0]), plan[1])
    assert mpc.last.rung == "shifted"
    assert first.shape == (1,)


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_sides_of_a_polytope_that_contradict_each_other_share_the_violation(
    linear_model: Make, rollout: Literal["linear", "relifted"]
) -> None:
    """Position below -1 and above 1, twice the same expression: zero is the middle."""
    sides = [[1.0, 0.0], [-1.0, 0.0]], np.zeros((2, 1)), [-1.0, -1.0]
    mpc = controller(
        linear_model,
        rollout=rollout,
        output_bounds=None,
        reference=0.0,
        bounds=Bounds(polytope=sides, soft=False),
    )
    X, rungs = loop(mpc, np.array([0.1, 0.0]), 60)
    assert set(rungs) == {"softened"}
    np.testing.assert_allclose(X[-1], 0.0, atol=1e-3)


def test_sides_on_inputs_that_contradict_each_other_leave_the_safe_input(
    linear_model: Make,
) -> None:
    sides = np.zeros((2, 2)), [[1.0], [-1.0]], [-0.5, -0.5]
    mpc = controller(
        linear_model,
        output_bounds=None,
        bounds=Bounds(polytope=sides, soft=False),
        inputs=Inputs(safe=0.25),
    )
    for _ in range(3):
        np.testing.assert_array_equal(mpc.act([0.1, 0.0]), [0.25])
        assert mpc.last is not None
        assert (mpc.last.rung, mpc.last.status) == ("safe", "infeasible")
