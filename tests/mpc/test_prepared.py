"""The prepared program of a linear roll-out against the condenser, which knows no short cut."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, Inputs, Knots, KoopmanMPC
from koopman_control.mpc.planning.linear import LinearPlanner

Make = Callable[..., LiftedModel]
N = 6


def plain(model: LiftedModel, **settings: Any) -> KoopmanMPC:
    given = {"cost": Cost(S=0.2)} | settings
    return KoopmanMPC(model, N, [1.0, 0.5], 0.1, input_bounds=(-1.0, 1.0), **given)


def with_costs_per_unit(model: LiftedModel) -> KoopmanMPC:
    return plain(
        model,
        cost=Cost(S=0.2, linear_input=0.3, linear_output=[0.1, -0.2]),
        bounds=Bounds(rates=0.3),
    )


def with_moving_sides(model: LiftedModel) -> KoopmanMPC:
    mpc = plain(model, output_bounds=([-2.0, -np.inf], [2.0, 1.0]), bounds=Bounds(rates=0.3))
    return mpc.constrain(lambda y, u, p: [u <= p.top, u >= -1.0], top=0.7).constrain(
        lambda y, u, p: [y[:, 0] <= p.width, y[:, 0] >= -p.width, u[0] + u[1] <= p.width], width=1.5
    )


def in_knots(model: LiftedModel) -> KoopmanMPC:
    return plain(
        model,
        output_bounds=(-2.0, 2.0),
        bounds=Bounds(rates=0.3),
        inputs=Inputs(parametrization=Knots(3)),
    )


@pytest.mark.parametrize("build", [plain, with_costs_per_unit, with_moving_sides, in_knots])
def test_filling_in_gives_the_condensers_program(
    linear_model: Make, build: Callable[[LiftedModel], KoopmanMPC]
) -> None:
    mpc, rng = (
        build(linear_model([[1.0, 0.1], [-0.2, 0.9]], [[0.0], [0.1]])),
        np.random.default_rng(0),
    )
    planner = mpc._planner
    assert isinstance(planner, LinearPlanner)
    condenser, program, response = planner.condenser, planner._program, planner.response
    Z, thetas = (
        rng.normal(size=(4, response.Phi.shape[1])),
        rng.normal(size=(4, condenser.n_parameters)),
    )
    many = program.vectors(program.moved(Z), thetas)
    for i, (z, theta) in enumerate(zip(Z, thetas, strict=True)):
        at = condenser.instance(theta)
        expected = condenser.condense(at, response.Phi @ z, response.Gamma)
        filled = program(program.vectors(program.moved(z), theta))
        parts: tuple[Array, ...] = (*filled, *(part[i] for part in many))
        wanted = (*expected, expected.f, expected.lower, expected.upper)
        for part, value in zip(parts, wanted, strict=True):
            np.testing.assert_allclose(part, value, rtol=1e-12, atol=1e-12)
