"""Constraints on inputs alone hold from an episode's first step on, also where guesses break them.

Nonlinear roll-outs compare plans with the guesses they started from, which know the box only.
"""

from __future__ import annotations

from typing import Any

import cvxpy
import numpy as np
import pytest

from koopman_control import Bounds, KoopmanMPC, LiftedModel, Search

cp: Any = cvxpy  # its functions are not declared for type checkers
A, B = [[1.0, 0.1], [-0.2, 0.95]], [[0.01], [0.1]]
START = np.array([1.0, -0.5])


def controller(rollout: Any, **settings: Any) -> KoopmanMPC:
    model = LiftedModel.from_arrays(A, B, dt=0.1)
    return KoopmanMPC(model, 12, Q=[1.0, 0.1], R=0.01, rollout=rollout, **settings)


@pytest.mark.parametrize("guesses", [0, 8])
def test_a_bound_of_the_user_s_own_is_kept_in_every_step(guesses: int) -> None:
    search = Search(first_guesses=guesses)
    settings: dict[str, Any] = {"input_bounds": [[-9.0], [9.0]], "search": search}
    linear = controller("linear", **settings).constrain(lambda y, u, p: u >= -0.01)
    mpc = controller("relifted", **settings).constrain(lambda y, u, p: u >= -0.01)
    for _ in range(3):
        expected = linear.act(START)
        np.testing.assert_allclose(mpc.act(START), expected, atol=1e-7)
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
        assert mpc.last.inputs.min() >= -0.01 - 1e-7


def test_rows_that_join_inputs_are_kept_and_may_change() -> None:
    mpc = controller("relifted").constrain(
        lambda y, u, p: [cp.norm1(u) <= p.fuel, cp.norm_inf(u[1:] - u[:-1]) <= 0.5], fuel=1.0
    )
    for fuel in (1.0, 0.2, 0.6):
        mpc.parameters["fuel"] = fuel
        mpc.act(START)
        assert mpc.last is not None
        U = mpc.last.inputs[:, 0]
        assert np.abs(U).sum() <= fuel + 1e-6
        assert np.abs(np.diff(U)).max() <= 0.5 + 1e-6


def test_a_polytope_of_inputs_alone_is_kept() -> None:
    polytope = (np.zeros((1, 2)), np.array([[-1.0]]), np.array([0.3]))
    mpc = controller("relifted", bounds=Bounds(polytope=polytope))
    mpc.act(START)
    assert mpc.last is not None
    assert mpc.last.inputs.min() >= -0.3 - 1e-7
