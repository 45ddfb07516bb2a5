"""Exceptions that a signal's handler raises in the middle of `act`.

A watchdog's `TimeoutError` is an error like any other: the step falls back. Ctrl-C leaves `act`,
and the controller is as before the step or as after it.
"""

import gc
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.mpc import Bounds, Cost, Inputs, KalmanObserver, KoopmanMPC, Search
from koopman_control.trajectories import Trajectory

F, G = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
BOUNDED: dict[str, Any] = {
    "input_bounds": [[-1.0], [1.0]],
    "cost": Cost(S=0.1),
    "bounds": Bounds(rates=0.2),
}
pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="has no such timers")


def linear(**more: Any) -> KoopmanMPC:
    model = LiftedModel.from_arrays(F, G)
    settings = {"output_bounds": [[-5.0, -0.4], [5.0, 0.4]]} | BOUNDED | more
    return KoopmanMPC(model, 20, **settings)


def watched() -> KoopmanMPC:
    bounds = Bounds(rates=0.2, soft=False)
    return linear(estimator=KalmanObserver(0.1), inputs=Inputs(delay=2), bounds=bounds)


def relifted() -> KoopmanMPC:
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(3):
        x, us = rng.normal(size=2), rng.uniform(-1.0, 1.0, (40, 1))
        xs = [x, *(x := x + 0.1 * np.array([x[1], u[0] - np.sin(x[0])]) for u in us)]
        runs.append(Trajectory(np.array(xs), us))
    model = EDMDc(SampledFeatures(15, random_state=0)).fit(runs).model_
    return KoopmanMPC(
        model, 10, rollout="relifted", search=Search(guesses=4, first_guesses=4), **BOUNDED
    )


MAKE: list[Callable[[], KoopmanMPC]] = [
    linear,
    watched,
    relifted,
    lambda: linear(solver="osqp"),
    lambda: linear(solver="clarabel"),
    lambda: linear(solver="piqp"),
]
NAMES = ["linear", "watched", "relifted", "osqp", "clarabel", "piqp"]


@contextmanager
def alarms(raised: type[BaseException]) -> Iterator[Callable[[float], None]]:
    """Let SIGALRM raise something; gives a function that sets the timer, or clears it by zero.

    Where the signal comes just outside of what `act` does, nothing is raised: the point is what
    happens inside. Nor where a solver imports something: Python ignores what is raised in the
    callbacks that release an import's lock, and only warns.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return
            if frame.f_code.co_name in ("_stepped",):
                raise raised("the watchdog")
            frame = frame.f_back

    # Hypothesis times the garbage collector from Python; Python ignores what is raised in there.
    hooks, gc.callbacks[:] = gc.callbacks[:], []
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        gc.callbacks[:] = hooks


def usual_seconds(mpc: KoopmanMPC) -> float:
    times = []
    for _ in range(10):
        start = time.perf_counter()
        mpc.act([1.0, 0.0])
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def allowed(u: Array, before: Array) -> bool:
    return bool((np.abs(u) <= 1.0 + 1e-9).all() and (np.abs(u - before) <= 0.2 + 1e-9).all())


@pytest.mark.parametrize("make", MAKE, ids=NAMES)
def test_a_watchdog_s_error_lets_the_step_fall_back(make: Callable[[], KoopmanMPC]) -> None:
    mpc, rng = make(), random.Random(0)
    typical = usual_seconds(mpc)
    mpc.reset()
    x, previous, hit = np.array([1.0, 0.0]), np.zeros(1), 0
    with alarms(TimeoutError) as after:
        for k in range(150):
            after(max(rng.uniform(0.0, 1.2) * typical, 2e-6))
            u = mpc.act(x)  # nothing leaves it
            after(0.0)
            assert allowed(u, previous)
            assert mpc._loop.step == k + 1  # one call, one step
            np.testing.assert_array_equal(mpc.previous_input, u)
            assert mpc.last is not None
            if "TimeoutError" in mpc.last.status:
                hit += 1
                assert mpc.last.rung in ("shifted", "safe")
            x, previous = F @ x + G @ u, u
    assert hit > 5  # how many depends on the machine's other work
    for _ in range(3):
        x = F @ x + G @ mpc.act(x)
    assert mpc.last is not None
    assert mpc.last.planned


def test_a_watchdog_that_barks_all_the_time_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Some alarms go off inside a destructor, of which Python tells this hook before it goes on.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    mpc = linear()
    mpc.act([1.0, 0.0])
    hit = 0
    with alarms(TimeoutError):
        signal.setitimer(signal.ITIMER_REAL, 3e-4, 3e-4)
        for _ in range(300):
            u = mpc.act([1.0, 0.0])
            assert np.abs(u).max() <= 1.0 + 1e-9
            assert mpc.last is not None
            hit += "TimeoutError" in mpc.last.status
    assert hit > 0


def state_of(mpc: KoopmanMPC) -> tuple[Any, ...]:
    plan, previous, step, rungs = mpc._loop.progress
    estimates, seen, *_, sent = mpc._state.progress
    known = [None if now is None else now.x.tolist() for now in estimates]
    held = None if plan is None else plan.tolist()
    return held, previous.tolist(), step, rungs, known, seen.tolist(), [u.tolist() for u in sent]


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # NaN is like NaN


def check_whole(mpc: KoopmanMPC, before: tuple[Any, ...], told: Any) -> None:
    """Check that a controller is as before a step that was broken off, or as after it."""
    now = state_of(mpc)
    if now[2] == before[2]:
        assert same(now, before) and mpc.last is told
    else:
        assert now[2] == before[2] + 1 and mpc.last is not told


@pytest.mark.parametrize("make", MAKE, ids=NAMES)
def test_ctrl_c_at_any_time_leaves_the_controller_whole(make: Callable[[], KoopmanMPC]) -> None:
    mpc, rng, left = make(), random.Random(1), 0
    typical, x = usual_seconds(mpc), np.array([1.0, 0.0])
    with alarms(KeyboardInterrupt) as after:
        for _ in range(60):
            before, told, previous = state_of(mpc), mpc.last, mpc.previous_input
            after(max(rng.uniform(0.0, 1.2) * typical, 2e-6))
            try:
                assert allowed(mpc.act(x), previous)
            except KeyboardInterrupt:
                left += 1
                check_whole(mpc, before, told)
            after(0.0)
    assert left > 3
    mpc.act(x)
    assert mpc.last is not None and mpc.last.planned


class Interrupting:
    """Raises at the n-th line that is run within a function, wherever that is, as a signal would.

    Args:
        function: Name of the function.
        at: Number of the line.
        raised: What is raised.
    """

    def __init__(self, function: str, at: int, raised: type[BaseException]) -> None:
        self.function, self.left, self.raised = function, at, raised
        self.within: FrameType | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if self.within is None:
            if event != "call" or frame.f_code.co_name != self.function:
                return None
            if "koopman_control" not in frame.f_code.co_filename:
                return None
            self.within = frame
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise self.raised("here")
        elif event == "return" and frame is self.within:
            sys.settrace(None)
        return self


@contextmanager
def interrupting(function: str, at: int, raised: type[BaseException]) -> Iterator[Interrupting]:
    tracer, before = Interrupting(function, at, raised), sys.gettrace()
    sys.settrace(tracer)
    try:
        yield tracer
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("make", MAKE[:3], ids=NAMES[:3])
def test_ctrl_c_leaves_the_controller_as_before_the_step_or_after_it(
    make: Callable[[], KoopmanMPC],
) -> None:
    """At every line of a step, one after the other."""
    mpc, at, left, x = make(), 0, 0, np.array([1.0, 0.0])
    u = mpc.act(x)
    while True:
        at += 1 if at < 60 else 7  # a re-lifted step has thousands of lines
        before, told = state_of(mpc), mpc.last
        x = F @ x + G @ u
        try:
            with interrupting("act", at, KeyboardInterrupt) as tracer:
                u = mpc.act(x)
            if tracer.left > 0:
                break  # the step was shorter than that
            continue  # where no exception gets out, such as a clean-up
        except KeyboardInterrupt:
            left += 1
        check_whole(mpc, before, told)
        previous = mpc.previous_input
        u = mpc.act(x)
        assert mpc.last is not None
        assert mpc.last.planned and allowed(u, previous)
    assert left > 50


@pytest.mark.parametrize("make", MAKE[:2], ids=NAMES[:2])
def test_an_error_at_any_line_of_a_first_step_stays_within(make: Callable[[], KoopmanMPC]) -> None:
    """Even where it looks as if an argument had been of no use."""
    mpc, at = make(), 0
    while True:
        at += 1
        mpc.reset()
        with interrupting("_stepped", at, TimeoutError) as tracer:
            u = mpc.act([1.0, 0.0], applied=[0.1])
        assert allowed(u, np.array([0.1]))
        assert mpc._loop.step == 1
        if tracer.left > 0:
            break
    assert at > 50


def test_a_reset_that_is_interrupted_leaves_a_controller_that_works() -> None:
    mpc, at = linear(), 0
    while True:
        at += 1
        mpc.reset()
        mpc.act([1.0, 0.0])
        try:
            with interrupting("reset", at, KeyboardInterrupt) as tracer:
                mpc.reset(previous_input=[0.3])
        except KeyboardInterrupt:
            pass
        previous = mpc.previous_input
        u = mpc.act([1.0, 0.0])
        assert mpc._loop.step in (1, 2)
        assert mpc.last is not None and mpc.last.planned
        if tracer.left > 0:
            break
        assert allowed(u, previous)
    assert at > 30


def test_a_refusal_is_still_one() -> None:
    mpc = linear()
    with pytest.raises(ValueError, match=r"observation has shape \(3,\); expected \(2,\)"):
        mpc.act([1.0, 2.0, 3.0])
    assert mpc._loop.step == 0 and mpc.last is None
    assert mpc.act([1.0, 0.0]).shape == (1,)


@pytest.mark.parametrize("raised", [TimeoutError, KeyboardInterrupt])
@pytest.mark.parametrize("function", ["_looked_at", "_stepped"])
def test_copies_of_a_plant_keep_in_step(function: str, raised: type[BaseException]) -> None:
    batch, at, X = linear().batch(3), 0, np.array([[1.0, 0.0], [0.5, 0.1], [-4.9, -0.39]])
    batch.act(X)
    while True:
        at += 1
        before = batch._now
        U = before.previous
        try:
            with interrupting(function, at, raised) as tracer:
                U = batch.act(X)
        except KeyboardInterrupt:
            assert raised is KeyboardInterrupt
            assert batch._now is before or (batch._now.steps == before.steps + 1).all()
        else:
            assert (batch._now.steps == before.steps + 1).all()
        assert (np.abs(U) <= 1.0 + 1e-9).all()
        assert (np.abs(U - before.previous) <= 0.2 + 1e-9).all()
        if tracer.left > 0:
            break
        batch.act(X)
        assert batch.solved.all()
    assert at > 5


def test_osqp_hands_ctrl_c_on() -> None:
    """It catches the signal itself while it solves, and would end with a status only."""
    from koopman_control.mpc.solvers import osqp as osqp_solver

    class Interrupted:
        class info:
            status, iter = osqp_solver.INTERRUPTED, 1

    mpc = linear(solver="osqp")
    mpc.act([1.0, 0.0])
    solver = mpc._planner._solver  # type: ignore[attr-defined]

    class Stub:
        def update(self, **settings: Any) -> None:
            pass

        update_settings = update

        def solve(self, raise_error: bool) -> Any:
            return Interrupted

    solver._solver = Stub()
    with pytest.raises(KeyboardInterrupt):
        mpc.act([1.0, 0.0])
    mpc.act([1.0, 0.0])
    assert mpc.last is not None and mpc.last.planned
