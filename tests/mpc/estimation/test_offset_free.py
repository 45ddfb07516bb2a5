"""Constant references are reached exactly in spite of a wrong model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import Cost, KoopmanMPC, OffsetFree
from koopman_control.mpc.estimation.base import Observer

Make = Callable[..., LiftedModel]
F, G = np.array([[0.9, 0.1], [-0.1, 0.8]]), np.array([[0.05], [0.3]])
ROLLOUTS = ["linear", "bilinear", "relifted"]


def settled(model: LiftedModel, rollout: Rollout, estimator: Observer | None) -> Array:
    """Run a plant with 30 % less gain than its model, and a load; return the last states."""
    mpc = KoopmanMPC(
        model,
        20,
        Q=[1.0, 0.0],
        reference=[0.5, 0.0],
        rollout=rollout,
        estimator=estimator,
        cost=Cost(S=0.1),
    )
    x = np.zeros(2)
    for _ in range(200):
        x = F @ x + 0.7 * G @ mpc.act(x) + np.array([0.02, -0.05])
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
    return x


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_a_wrong_gain_and_a_load_leave_no_offset(linear_model: Make, rollout: Rollout) -> None:
    model = linear_model(F, G, np.zeros((1, 2, 2)) if rollout == "bilinear" else None)
    assert abs(settled(model, rollout, OffsetFree(0.01))[0] - 0.5) < 1e-6
    assert abs(settled(model, rollout, None)[0] - 0.5) > 1e-3


@pytest.mark.parametrize("bilinear", [False, True])
def test_a_nonlinear_model_leaves_no_offset(nonlinear_model: Make, bilinear: bool) -> None:
    model, ends = nonlinear_model(bilinear=bilinear, seed=4), []
    settings: dict[str, Any] = {"Q": [1.0, 0.0], "reference": [0.1, 0.0], "cost": Cost(S=0.1)}
    for estimator in (OffsetFree(0.01), None):
        mpc = KoopmanMPC(model, 15, rollout="relifted", estimator=estimator, **settings)
        x = np.zeros(2)
        for _ in range(300):
            x = model.one_step.step(x[None], 0.7 * mpc.act(x)[None])[0] + [0.01, 0.0]
        ends.append(abs(x[0] - 0.1))
    assert ends[0] < 1e-6
    assert ends[1] > 1e-3


def test_the_controller_s_predictions_have_the_offset_in_them(linear_model: Make) -> None:
    mpc = KoopmanMPC(linear_model(F, G), 10, estimator=OffsetFree(0.01), cost=Cost(S=0.1))
    x = np.array([0.2, 0.1])
    for _ in range(150):
        u = mpc.act(x)
        assert mpc.last is not None
        foretold = mpc.last.outputs[0]
        x = F @ x + 0.7 * G @ u + np.array([0.02, -0.05])
    np.testing.assert_allclose(x, foretold, atol=1e-6)


def test_the_offset_of_an_integrator_cannot_be_told_apart(linear_model: Make) -> None:
    model = linear_model([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]])
    with pytest.raises(ValueError, match="cannot be told from an integrator's own state"):
        KoopmanMPC(model, 5, estimator=OffsetFree(0.01))
