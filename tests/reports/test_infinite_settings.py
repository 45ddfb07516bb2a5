"""Settings and parameters of controllers that bound nothing: far, infinite, or infinite for a time.

The same reports as of compiled programs: qpOASES #126, qpsolvers #135, osqp #735, cuopt #1806.
"""

import math
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control import Bounds, KoopmanMPC, LiftedModel
from koopman_control.common import Array

pytest.importorskip("piqp", reason="needs pip install piqp")

atoms: Any = cp  # CVXPY's atoms carry no type information

SOLVERS = ("auto", "daqp", "osqp", "piqp", "clarabel")
CLOSE = {"osqp": 2e-3}
CART = LiftedModel.from_arrays([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], dt=0.1)
BIG = (1e4, 1e10, float(np.finfo(float).max), math.inf)


def cart(*, solver: str = "auto", rollout: Any = "linear", **bounds: Any) -> KoopmanMPC:
    own: Any = {"inputs": (-1.0, 1.0)} | bounds
    return KoopmanMPC(
        CART, 10, Q=[1.0, 0.1], R=0.01, bounds=Bounds(**own), solver=solver, rollout=rollout
    )


def acted(mpc: KoopmanMPC) -> Array:
    """Act on three observations from the start."""
    mpc.reset()
    actions = []
    for y in ([1.0, 0.0], [0.2, -0.3], [0.5, 0.2]):
        actions.append(mpc.act(y))
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
    return np.ravel(actions)


FAR: dict[str, Any] = {
    "outputs": lambda far: {"outputs": (-far, far)},
    "hard outputs": lambda far: {"outputs": (-far, far), "soft": False},
    "one side": lambda far: {"outputs": [[-np.inf, -far], [far, np.inf]]},
    "rates": lambda far: {"rates": far},
    "polytope": lambda far: {"polytope": ([[1.0, 0.0]], [[1.0]], [far])},
    "hard polytope": lambda far: {"polytope": ([[1.0, 0.0]], [[1.0]], [far]), "soft": False},
    "terminal": lambda far: {"terminal": (-far, far)},
    "terminal set": lambda far: {"terminal_set": ([[1.0, 1.0]], [far])},
}


@pytest.mark.parametrize(
    ("kind", "solver"),
    [("outputs", solver) for solver in SOLVERS]
    + [(kind, solver) for kind in list(FAR)[1:] for solver in ("auto", "clarabel")],
)
def test_far_settings_bound_nothing(kind: str, solver: str) -> None:
    expected = acted(cart())
    for far in BIG:
        got = acted(cart(solver=solver, **FAR[kind](far)))
        np.testing.assert_allclose(got, expected, atol=CLOSE.get(solver, 1e-6))


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_parameters_of_a_controller_open_bounds_and_close_them(solver: str, rollout: Any) -> None:
    free, bounded = acted(cart()), acted(cart(inputs=(-0.3, 1.0)))
    close = CLOSE.get(solver, 1e-5)
    for far in (1e8, math.inf):
        mpc = cart(solver=solver, rollout=rollout).constrain(
            lambda y, u, p: [y[:, 1] <= p.high, atoms.sum(u) <= p.cap, u >= p.low],
            high=far,
            cap=far,
            low=-far,
        )
        np.testing.assert_allclose(acted(mpc), free, atol=close)
        mpc.parameters["low"] = -0.3
        np.testing.assert_allclose(acted(mpc), bounded, atol=close)
        mpc.parameters["low"] = -far
        np.testing.assert_allclose(acted(mpc), free, atol=close)


def test_open_bounds_are_saved_and_closed_again(tmp_path: Path) -> None:
    mpc = cart().constrain(lambda y, u, p: u >= p.low, low=-math.inf)
    mpc.save(tmp_path / "open.npz")
    again = KoopmanMPC.load(tmp_path / "open.npz")
    assert again.parameters["low"] == -math.inf
    np.testing.assert_array_equal(acted(again), acted(mpc))
    again.parameters["low"] = -0.3
    np.testing.assert_allclose(acted(again), acted(cart(inputs=(-0.3, 1.0))), atol=1e-9)
    with pytest.raises(ValueError, match="the infinity that leaves a bound open"):
        again.parameters["low"] = math.inf


@pytest.mark.parametrize(
    ("name", "value"), [("high", -math.inf), ("both", math.inf), ("target", -math.inf)]
)
def test_infinity_that_opens_nothing_is_refused(name: str, value: float) -> None:
    mpc = (
        cart()
        .constrain(lambda y, u, p: [y[:, 1] <= p.high, u[0] == p.both], high=math.inf, both=0.0)
        .penalize(lambda y, u, p: atoms.sum_squares(u - p.target), target=0.0)
    )
    with pytest.raises(ValueError, match=f"parameter '{name}' is .*inf; expected finite numbers"):
        mpc.parameters[name] = value


def test_a_first_value_is_refused_alike() -> None:
    with pytest.raises(ValueError, match="parameter 'both' is inf"):
        cart().constrain(lambda y, u, p: u[0] == p.both, both=math.inf)


def test_parameters_are_entries_not_attributes() -> None:
    mpc = cart().constrain(lambda y, u, p: u >= p.low, low=-1.0)
    parameters: Any = mpc.parameters
    with pytest.raises(AttributeError, match=r"parameters\['low'\] = ..."):
        parameters.low = -0.3


def test_sides_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="infinity where a row has no side"):
        cart(polytope=([[1.0, 0.0]], [[1.0]], [-math.inf]))
    with pytest.raises(ValueError, match="expected lows below infinity"):
        cart(outputs=(math.inf, math.inf))
