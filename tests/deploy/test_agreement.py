"""Exported controllers act as those they were made of: same inputs, same rungs."""

import copy
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.deploy import CompiledMPC, CompiledStep, compiled, export_c
from koopman_control.mpc import KoopmanMPC
from tests.deploy.compilers import needs_gcc
from tests.deploy.kinds import KINDS
from tests.deploy.shadowing import shadowed

pytestmark = needs_gcc
QUICK = (
    "tanh features",
    "re-lifted, guesses",
    "re-lifted, hard bounds",
    "hard bounds",
    "offset-free",
    "measured input, delay, Kalman",
    "memory",
    "bilinear, lifted inputs",
    "re-lifted, two inputs and stops",
    "re-lifted, offset-free",
    "known noise",
)


def closed_loop(mpc: KoopmanMPC, fast: CompiledMPC) -> tuple[float, list[str]]:
    """Return the largest difference of an input, and the rungs, which are the same."""
    worst, rungs = 0.0, []
    for ours, (theirs,) in shadowed(mpc, [fast], steps=120, seed=3):
        assert theirs.rung == ours.rung
        rungs.append(ours.rung)
        worst = max(worst, float(np.abs(ours.u - theirs.u).max()))
    return worst, rungs


def check(kind: str) -> list[str]:
    mpc = KINDS[kind]()
    fast = compiled(mpc)
    assert isinstance(fast, CompiledMPC)
    mpc.reset()
    worst, rungs = closed_loop(mpc, fast)
    assert worst < 1e-9
    return rungs


@pytest.mark.parametrize("kind", QUICK)
def test_compiled_controllers_act_as_their_originals(kind: str) -> None:
    rungs = check(kind)
    assert "solved" in rungs
    assert ("softened" in rungs) == ("hard bounds" in kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(QUICK)))
def test_compiled_controllers_of_all_kinds_act_as_their_originals(kind: str) -> None:
    assert "solved" in check(kind)


@pytest.mark.parametrize("kind", ["angle from a pair", "parameters"])
def test_single_precision_acts_nearly_alike(kind: str, tmp_path: Path) -> None:
    mpc = KINDS[kind]()
    export_c(mpc, tmp_path, precision="float")
    worst, _ = closed_loop(mpc, CompiledMPC(tmp_path))
    assert worst < 2e-3  # of a box that is 2 wide


def test_a_plant_that_is_out_of_reach_is_pushed_back_with_all_there_is() -> None:
    mpc = KINDS["unstable"]()
    fast = compiled(mpc)
    for x in (1.2, 3.0, 50.0):  # no input holds it beyond 0.83
        mpc.reset()
        fast.reset()
        y = np.array([x, -0.3])
        mpc.act(y)
        fast.act(y)
        for controller in (mpc, fast):
            assert controller.last is not None and controller.last.rung == "solved"
            np.testing.assert_allclose(controller.last.inputs[0], -0.6, atol=1e-10)  # its rate
            np.testing.assert_allclose(controller.last.inputs[1:], -1.0, atol=1e-9)


def test_a_plan_is_what_python_plans() -> None:
    mpc = KINDS["knots"]()
    fast = compiled(mpc)
    y = np.array([0.3, 0.5, -0.2])
    mpc.reset()
    mpc.act(y)
    fast.act(y)
    assert mpc.last is not None and isinstance(fast, CompiledMPC) and fast.last is not None
    np.testing.assert_allclose(fast.last.inputs, mpc.last.inputs, atol=1e-12)
    assert fast.last.planned and fast.last.iterations == mpc.last.iterations


def test_parameters_may_be_set_at_any_time_and_outlive_an_episode() -> None:
    mpc = KINDS["parameters"]()
    fast = compiled(mpc)
    assert isinstance(fast, CompiledMPC)
    y = np.array([1.0, 0.5, -0.2])
    before = float(fast.act(y)[0])
    fast.parameters["top"][...] = 0.01
    fast.reset()
    mpc.parameters["top"] = 0.01
    mpc.reset()
    np.testing.assert_allclose(fast.act(y), mpc.act(y), atol=1e-12)
    assert abs(float(fast.act(y)[0])) <= 0.01 + 1e-15 < abs(before)  # a row's rounding


def test_an_episode_may_begin_under_another_input() -> None:
    mpc = KINDS["memory"]()
    fast = compiled(mpc)
    for controller in (mpc, fast):
        controller.reset(previous_input=[0.9, -0.8])
    y = np.array([0.1, 0.2, -0.1])
    np.testing.assert_allclose(fast.act(y), mpc.act(y), atol=1e-12)
    with pytest.raises(ValueError, match="previous_input"):
        fast.reset(previous_input=[1.0])


def test_a_copy_goes_on_alone() -> None:
    fast = compiled(KINDS["Kalman"]())
    rng = np.random.default_rng(0)
    observations: Array = rng.normal(size=(6, 3))
    for y in observations[:3]:
        fast.act(y)
    other = copy.deepcopy(fast)
    ahead = [fast.act(y) for y in observations[3:]]
    np.testing.assert_array_equal([other.act(y) for y in observations[3:]], ahead)


def test_what_is_wrong_in_the_first_step_is_said_and_later_ones_fall_back() -> None:
    fast = compiled(KINDS["measured input"]())
    assert isinstance(fast, CompiledMPC)
    y = np.array([0.1, 0.2, -0.1])
    with pytest.raises(ValueError, match="observation has shape"):
        fast.act([1.0])
    with pytest.raises(ValueError, match="disturbance"):
        fast.act(y, [[np.nan]])
    with pytest.raises(ValueError, match="applied"):
        fast.act(y, applied=[np.nan])
    fast.act(y)
    fast.act(y, [[np.nan]], applied=[np.nan])
    assert "disturbance" in told(fast).ignored and "applied" in told(fast).ignored
    assert told(fast).rung == "solved"
    fast.act("nonsense")
    assert told(fast).rung == "shifted" and told(fast).fallback and not told(fast).planned


def told(fast: CompiledMPC) -> CompiledStep:
    assert fast.last is not None
    return fast.last
