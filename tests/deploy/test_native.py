"""`KoopmanMPC(compiled=True)`: native calls that nothing but time tells from Python's steps."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control import KalmanObserver, KoopmanMPC, OffsetFree
from koopman_control.common.arrays import Array
from koopman_control.deploy import NotExportableError
from koopman_control.evaluation import evaluate
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.mpc import Inputs, MovingHorizonEstimator, Search
from koopman_control.mpc.step import Step
from koopman_control.trajectories import collect
from tests.deploy.compilers import needs_gcc
from tests.deploy.kinds import bilinear, bounded, controller, model, moving_target, relifted
from tests.deploy.shadowing import shadowed

MADE: dict[str, Callable[..., KoopmanMPC]] = {
    "hard bounds, angle": lambda **how: bounded("single", False, reference=[0.3, -3, 0], **how),
    "offset-free": lambda **how: bounded(estimator=OffsetFree(0.05), **how),
    "measured input, delay, Kalman": lambda **how: bounded(
        inputs=Inputs(measured=[1], delay=2, safe=0.2), estimator=KalmanObserver(0.1), **how
    ),
    "function": lambda **how: bounded(reference=moving_target, **how),
    "re-lifted, guesses": lambda **how: relifted(
        bilinear(angles="pair"), search=Search(guesses=3, first_guesses=12, seed=4), **how
    ),
    "re-lifted, offset-free, measured input": lambda **how: relifted(
        bilinear(), estimator=OffsetFree(0.05), inputs=Inputs(measured=[0], delay=1), **how
    ),
}


def apart(one: Step, other: Step) -> dict[str, float]:
    """How far two steps are apart, by what they tell."""
    pairs: dict[str, tuple[Any, Any]] = {
        name: (getattr(one, name), getattr(other, name))
        for name in ("inputs", "outputs", "slack", "trust", "objective")
    }
    assert (one.situation is None) == (other.situation is None) or one.rung == "shifted"
    if one.situation is not None and other.situation is not None:
        pairs |= {
            name: (getattr(one.situation, name), getattr(other.situation, name))
            for name in ("reference", "input_reference", "previous", "theta")
        }
        pairs["x"] = one.situation.start.x, other.situation.start.x
    found = {}
    for name, (a, b) in pairs.items():
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), name)
        size = max(1.0, float(np.nan_to_num(np.abs(a)).max()))
        found[name] = float(np.nan_to_num(np.abs(np.subtract(a, b))).max()) / size
    return found


@needs_gcc
@pytest.mark.parametrize("kind", MADE)
def test_steps_and_what_is_told_of_them_are_those_of_python(kind: str) -> None:
    mpc, fast = MADE[kind](), MADE[kind](compiled=True)
    mpc.reset()
    fast.reset()
    for ours, (theirs,) in shadowed(mpc, [fast], steps=80, seed=3):
        assert ours.rung == theirs.rung
        np.testing.assert_allclose(theirs.u, ours.u, atol=1e-10)
        np.testing.assert_allclose(fast.previous_input, mpc.previous_input, atol=1e-10)
        assert mpc.last is not None and fast.last is not None
        if mpc.last.planned:
            assert fast.last.status == mpc.last.status
        assert fast.last.ignored == mpc.last.ignored
        assert max(apart(mpc.last, fast.last).values()) < 1e-9
    assert fast.explain() == mpc.explain()


@needs_gcc
def test_what_is_wrong_is_said_in_the_first_step_and_later_ones_fall_back() -> None:
    fast = controller(model(), compiled=True)
    with pytest.raises(ValueError, match="observation has shape"):
        fast.act([1.0])
    fast.act([0.1, 0.2, -0.1])
    fast.act("nonsense")
    assert fast.last is not None and fast.last.rung == "shifted"
    assert fast.last.status == "observation not finite"


@needs_gcc
def test_no_error_of_a_handler_leaves_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = controller(model(), compiled=True)
    u = fast.act([0.5, 0.2, -0.1])

    def late(*arguments: Any, **others: Any) -> Array:
        raise TimeoutError("watchdog")

    native: Any = fast._native
    monkeypatch.setattr(native._fast, "act", late)
    np.testing.assert_array_equal(fast.act([0.4, 0.2, -0.1]), u)
    assert fast.last is not None and fast.last.status == "TimeoutError: watchdog"


@needs_gcc
def test_terms_and_parameters_reach_native_steps() -> None:
    fast, mpc = (
        controller(model(), horizon=6, compiled=how).constrain(
            lambda y, u, p: [u[:, 0] <= p.top], top=0.7
        )
        for how in (True, False)
    )
    y = np.array([-1.0, -0.5, 0.2])
    for top in (0.7, 0.1):
        for one in (fast, mpc):
            one.parameters["top"] = top
            one.reset()
        np.testing.assert_allclose(fast.act(y), mpc.act(y), atol=1e-10)


@needs_gcc
def test_copies_go_on_alone_and_in_other_processes(tmp_path: Path) -> None:
    fast = controller(model(), estimator=KalmanObserver(0.05), compiled=True)
    rows = np.random.default_rng(0).normal(size=(6, 3))
    for y in rows[:3]:
        fast.act(y)
    others = copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))
    ahead = [fast.act(y) for y in rows[3:]]
    for other in others:
        np.testing.assert_array_equal([other.act(y) for y in rows[3:]], ahead)
        assert other.last is not None and fast.last is not None
        assert other.last.objective == fast.last.objective
    fast.save(tmp_path / "controller.npz")
    loaded = KoopmanMPC.load(tmp_path / "controller.npz")
    assert loaded.compiled
    fast.reset()
    np.testing.assert_array_equal([loaded.act(y) for y in rows], [fast.act(y) for y in rows])


@needs_gcc
def test_what_has_no_code_is_named_when_an_episode_begins() -> None:
    mpc = controller(model(), estimator=MovingHorizonEstimator(0.1), compiled=True)
    with pytest.raises(NotExportableError, match="MovingHorizon"):
        mpc.reset()


def test_without_a_compiler_steps_stay_in_python_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    mpc, fast = (controller(model("sine"), horizon=4, compiled=how) for how in (False, True))
    with pytest.warns(UserWarning, match="no C compiler.*stays in Python") as told:
        fast.reset()
    y = [0.5, 0.2, -0.1]
    np.testing.assert_array_equal(fast.act(y), mpc.act(y))
    assert len(told) == 1


@needs_gcc
def test_it_is_judged_like_any_controller() -> None:
    mpc, fast = (
        KoopmanMPC(pendulum(), 10, [1.0, 0.1], 0.001, compiled=how) for how in (False, True)
    )
    ours, theirs = (evaluate(one, "Pendulum-v1", seeds=[1000, 1001]) for one in (fast, mpc))
    np.testing.assert_allclose(ours.returns, theirs.returns, rtol=1e-9)
    assert ours.rungs == theirs.rungs


def pendulum() -> LiftedModel:
    runs = collect("Pendulum-v1", n_steps=300, seed=20)
    fit = EDMDc(PolynomialFeatures(2), rollout="linear", angles=[(0, 1)], n_folds=0)
    fitted: LiftedModel = fit.set_params(regularization=1e-6).fit(runs).model_
    return fitted
