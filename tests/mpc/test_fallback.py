"""Whatever goes wrong in the loop, an action within the bounds comes back."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from koopman_control.common import Controller
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Inputs, KoopmanMPC, Search
from koopman_control.mpc.solvers import DaqpSolver, Solution

Make = Callable[..., LiftedModel]
RATE = 0.25


def infeasible(*_: Any, **__: Any) -> Solution:
    return Solution(None, "infeasible", 3)


def not_finite(_: DaqpSolver, qp: Any, *__: Any, **___: Any) -> Solution:
    return Solution(np.full(len(qp.f), np.nan), "optimal", 3)


def raising(*_: Any, **__: Any) -> Solution:
    raise RuntimeError("the solver broke")


FAILURES = [infeasible, not_finite, raising]
ROLLOUTS: list[Literal["linear", "bilinear", "relifted"]] = ["linear", "bilinear", "relifted"]


@pytest.fixture(params=ROLLOUTS)
def mpc(request: pytest.FixtureRequest, nonlinear_model: Make) -> KoopmanMPC:
    model = nonlinear_model(bilinear=request.param == "bilinear")
    return KoopmanMPC(
        model,
        8,
        1.0,
        0.01,
        rollout=request.param,
        bounds=Bounds(rates=RATE),
        inputs=Inputs(safe=0.4),
        search=Search(guesses=2),
    )


def last(mpc: KoopmanMPC) -> tuple[str, bool]:
    assert mpc.last is not None
    return mpc.last.rung, mpc.last.fallback


def assert_allowed(u: Array, before: Array | float) -> None:
    assert u.shape == (1,)
    assert np.isfinite(u).all()
    assert np.abs(u).max() <= 1.0
    assert np.abs(u - before).max() <= RATE + 1e-15


def test_it_is_a_controller(mpc: KoopmanMPC) -> None:
    assert isinstance(mpc, Controller)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_solver_continues_the_plan_and_recovers(
    mpc: KoopmanMPC, failure: Callable[..., Solution], monkeypatch: pytest.MonkeyPatch
) -> None:
    u = mpc.act([0.9, -0.5])
    assert last(mpc) == ("solved", False)
    assert mpc.last is not None
    plan = mpc.last.inputs
    with monkeypatch.context() as broken:
        broken.setattr(DaqpSolver, "solve", failure)
        for k in range(1, 12):  # beyond the end of the plan, its last input is held
            before, u = u, mpc.act([0.9, -0.5])
            assert last(mpc) == ("shifted", True)
            np.testing.assert_allclose(u, plan[min(k, 7)], atol=1e-9)
            assert_allowed(u, before)
    before, u = u, mpc.act([0.9, -0.5])
    assert last(mpc) == ("solved", False)
    assert_allowed(u, before)


def test_a_solver_that_cannot_even_be_reset_does_no_harm(
    mpc: KoopmanMPC, monkeypatch: pytest.MonkeyPatch
) -> None:
    mpc.act([0.9, -0.5])
    with monkeypatch.context() as broken:
        for method in ("solve", "forget", "prepare"):
            broken.setattr(DaqpSolver, method, raising)
        mpc.act([0.9, -0.5])
        assert last(mpc) == ("shifted", True)
    mpc.act([0.9, -0.5])
    assert last(mpc) == ("solved", False)


@pytest.mark.parametrize("failure", FAILURES)
def test_without_a_plan_the_safe_input_is_applied(
    mpc: KoopmanMPC, failure: Callable[..., Solution], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(DaqpSolver, "solve", failure)
        for _ in range(3):
            np.testing.assert_array_equal(mpc.act([0.9, -0.5]), [0.4])
            assert last(mpc) == ("safe", True)
    u = mpc.act([0.9, -0.5])
    assert last(mpc) == ("solved", False)
    assert_allowed(u, 0.4)


def test_the_reason_is_told(mpc: KoopmanMPC, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = []
    for failure in FAILURES:
        monkeypatch.setattr(DaqpSolver, "solve", failure)
        mpc.act([0.9, -0.5])
        assert mpc.last is not None
        statuses.append(mpc.last.status)
    assert statuses[0] == "infeasible"
    assert "finite" in statuses[1]
    assert statuses[2] == "RuntimeError: the solver broke"


@pytest.mark.parametrize(
    "observation",
    [
        [np.nan, 0.0],
        [np.inf, 0.0],
        [1e200, -1e200],
        [0.0],
        [0.0, 0.0, 0.0],
        [[0.0, 0.0]],
        [],
        None,
        ["a", "b"],
        [[0.0], [0.0, 1.0]],
    ],
)
def test_a_broken_observation_falls_back_and_the_next_good_one_is_solved(
    mpc: KoopmanMPC, observation: Any
) -> None:
    u = mpc.act([0.9, -0.5])
    for _ in range(2):
        before, u = u, mpc.act(observation)
        assert_allowed(u, before)
        assert last(mpc)[0] in ("shifted", "solved")  # huge numbers may still be solved
    before, u = u, mpc.act([0.9, -0.5])
    assert_allowed(u, before)
    assert last(mpc) == ("solved", False)


@pytest.mark.parametrize("observation", [[0.0], [[0.0, 0.0]], None, ["a", "b"]])
def test_a_wrong_shape_in_the_first_step_is_an_error(mpc: KoopmanMPC, observation: Any) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"observation .* expected"):
            mpc.act(observation)
    mpc.act([0.0, 0.0])
    mpc.reset()
    with pytest.raises(ValueError, match="observation"):
        mpc.act(observation)


def test_nan_in_the_first_step_applies_the_safe_input(mpc: KoopmanMPC) -> None:
    np.testing.assert_array_equal(mpc.act([np.nan, 0.0]), [0.4])
    assert last(mpc) == ("safe", True)


def test_a_reference_function_that_fails_is_survived(linear_model: Make) -> None:
    def reference(y: Array) -> list[float]:
        return [1.0, 0.0] if y[0] < 5.0 else [1.0, 2.0, 3.0]

    model = linear_model(np.eye(2), [[0.0], [1.0]], action_bounds=[[-1.0], [1.0]])
    mpc = KoopmanMPC(model, 5, reference=reference)
    mpc.act([0.0, 0.0])
    mpc.act([9.0, 0.0])
    assert mpc.last is not None
    assert mpc.last.rung == "shifted"
    assert "reference has shape (3,)" in mpc.last.status


def test_the_safe_input_is_clipped_to_the_bounds(linear_model: Make) -> None:
    model = linear_model(np.eye(2), np.eye(2), action_bounds=[[-1.0, 0.5], [1.0, 2.0]])
    mpc = KoopmanMPC(model, 5, inputs=Inputs(safe=[7.0, 0.0]))
    np.testing.assert_array_equal(mpc.act([np.nan, 0.0]), [1.0, 0.5])


def test_a_roll_out_that_leaves_all_numbers_is_survived(linear_model: Make) -> None:
    model = linear_model(1e40 * np.eye(2), np.eye(2), action_bounds=[[-1.0] * 2, [1.0] * 2])
    mpc = KoopmanMPC(model, 10, rollout="relifted", inputs=Inputs(safe=[0.2, 0.0]))
    np.testing.assert_array_equal(mpc.act([0.1, 0.2]), [0.2, 0.0])
    assert mpc.last is not None
    assert (mpc.last.rung, mpc.last.status) == ("safe", "prediction or plan not finite")


def test_a_model_that_explodes_is_survived(linear_model: Make) -> None:
    def exploding(rho: float) -> LiftedModel:
        return linear_model(rho * np.eye(2), np.eye(2), action_bounds=[[-1.0] * 2, [1.0] * 2])

    linear = KoopmanMPC(exploding(1e9), 10)  # 1e12 is refused
    relifted = KoopmanMPC(
        exploding(1e12), 10, rollout="relifted", search=Search(guesses=2, first_guesses=4)
    )
    for mpc in (linear, relifted):
        for _ in range(3):
            u = mpc.act([0.1, 0.2])
            assert np.isfinite(u).all()
            assert np.abs(u).max() <= 1.0


def test_random_abuse_never_leaves_the_bounds(mpc: KoopmanMPC) -> None:
    rng = np.random.default_rng(0)
    u: Array | float = 0.4
    for _ in range(150):
        y = rng.normal(size=2) * 10.0 ** rng.uniform(-3, 3)
        y[rng.uniform(size=2) < 0.1] = rng.choice([np.nan, np.inf, 1e300])
        before, u = u, mpc.act(y)
        assert_allowed(u, before)


def test_where_nothing_is_asked_for_the_safe_input_is_applied(linear_model: Make) -> None:
    mpc = KoopmanMPC(
        linear_model([[1.0]], [[1.0]]),
        5,
        1.0,
        1.0,
        reference=lambda y: None if y[0] < 0.0 else 0.0,
        inputs=Inputs(safe=0.4),
        bounds=Bounds(rates=RATE),
    )
    free = KoopmanMPC(
        linear_model([[1.0]], [[1.0]]),
        5,
        1.0,
        1.0,
        inputs=Inputs(safe=0.4),
        bounds=Bounds(rates=RATE),
    )
    first = mpc.act([2.0])
    np.testing.assert_allclose(first, free.act([2.0]))
    np.testing.assert_allclose(mpc.act([-1.0]), first + RATE)  # on its way to 0.4
    assert mpc.last is not None
    assert not mpc.last.planned
    for _ in range(3):
        action = mpc.act([-1.0])
    np.testing.assert_allclose(action, [0.4])
    mpc.act([2.0])
    assert [mpc.last.rung, mpc.last.status] == ["solved", "optimal"]
