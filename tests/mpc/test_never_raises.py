"""Whatever arrives, an action within the bounds comes back, and the step tells how."""

import warnings
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Inputs, KalmanObserver, KoopmanMPC, OffsetFree, Search
from koopman_control.mpc.solvers import DaqpSolver, Solution

RATE = 0.3
RUNGS = ("solved", "softened", "shifted", "safe")


class Unreadable:
    """Not even an array can be made of it."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise RuntimeError("the sensor is gone")


NUMBERS = st.one_of(
    st.floats(-2.0, 2.0),
    st.floats(width=64),  # NaN and infinity as well
    st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e160, 1e-300]),
)
GARBAGE = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.lists(NUMBERS, max_size=4),
    st.lists(st.lists(NUMBERS, max_size=3), max_size=3),
    st.sampled_from([Unreadable(), 10**400, [10**400, 0], 1j, {}, np.array(["x", "y"]), object()]),
)


@st.composite
def controllers(draw: Any) -> KoopmanMPC:
    """Controllers of random plants, stable or not, with bounds that may contradict each other."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d, m = 2, draw(st.integers(1, 2))
    F, G = rng.normal(size=(d, d)) * draw(st.sampled_from([0.3, 0.8, 3.0])), rng.normal(size=(d, m))
    rollout = draw(st.sampled_from(["linear", "bilinear", "relifted"]))
    model = LiftedModel.from_arrays(
        F,
        G,
        N=0.3 * rng.normal(size=(m, d, d)) if rollout == "bilinear" else None,
        action_bounds=[[-1.0] * m, [1.0] * m],
    )
    mpc = KoopmanMPC(
        [model] * draw(st.integers(1, 2)),
        3,
        R=draw(st.sampled_from([0.0, 0.1])),
        rollout=rollout,
        output_bounds=draw(st.sampled_from([None, [[-1.0] * d, [0.1] * d]])),
        estimator=draw(st.sampled_from([None, KalmanObserver(0.1), OffsetFree(0.1)]))
        if rollout != "linear"
        else None,
        reference=draw(st.sampled_from([0.0, 1e9, lambda y: y, lambda y: 1.0 / (y[0] > 0.0)])),
        bounds=Bounds(rates=draw(st.sampled_from([None, RATE])), soft=draw(st.booleans())),
        search=Search(guesses=draw(st.integers(0, 1))),
        inputs=Inputs(safe=draw(st.floats(-2.0, 2.0)), delay=draw(st.integers(0, 2))),
    )
    if draw(st.booleans()):
        return mpc
    return mpc.constrain(lambda y, u, p: u[0, 0] >= p.least, least=draw(st.floats(-3.0, 3.0)))


def failing(_: DaqpSolver, qp: Any, *__: Any, kind: str) -> Solution:
    if kind == "raises":
        raise RuntimeError("the solver broke")
    if kind == "infeasible":
        return Solution(None, kind, 1)
    return Solution(np.full(len(qp.f), np.nan if kind == "nan" else 1e30), "optimal", 1)


def check(mpc: KoopmanMPC, u: Array, before: Array) -> None:
    assert u.shape == before.shape
    assert np.abs(u).max() <= 1.0  # False for NaN
    rate = mpc._weights.rate_bounds
    assert (np.abs(u - before) <= rate + 1e-12).all()
    assert mpc.last is not None
    assert mpc.last.rung in RUNGS
    assert isinstance(mpc.last.status, str)
    assert mpc.last.status


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    controllers(),
    st.lists(NUMBERS, min_size=2, max_size=2),
    st.lists(
        st.tuples(
            st.one_of(st.lists(NUMBERS, min_size=2, max_size=2), GARBAGE),
            GARBAGE,
            st.sampled_from(["works"] * 3 + ["raises", "infeasible", "nan", "huge"]),
        ),
        max_size=6,
    ),
)
def test_act_returns_an_allowed_action_whatever_arrives(
    mpc: KoopmanMPC, first: list[float], later: list[tuple[Any, Any, str]]
) -> None:
    before = mpc._safe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # huge numbers overflow
        u = mpc.act(first)
        check(mpc, u, before)
        for observation, disturbance, kind in later:
            with pytest.MonkeyPatch.context() as patch:
                if kind != "works":
                    patch.setattr(DaqpSolver, "solve", partialmethod(failing, kind=kind))
                before, u = u, mpc.act(observation, disturbance)
            check(mpc, u, before)
        mpc.reset()
        check(mpc, mpc.act([0.1, 0.2]), mpc._safe)
