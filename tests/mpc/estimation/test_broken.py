"""Estimators of one's own that know nothing, or break."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Inputs, KoopmanMPC
from koopman_control.mpc.estimation import Estimate

Make = Callable[..., LiftedModel]


class Blind:
    """An estimator of one's own that knows nothing at first, and later breaks."""

    def attached(self, model: LiftedModel, rollout: str) -> Blind:
        return self

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        if y[0] > 5.0:
            raise RuntimeError("the estimator broke")
        return Estimate(y) if y[0] > 0.0 else None


def test_an_estimator_that_breaks_is_survived(linear_model: Make) -> None:
    model = linear_model(np.eye(2), [[0.0], [1.0]], action_bounds=[[-1.0], [1.0]])
    mpc = KoopmanMPC(model, 5, estimator=Blind(), inputs=Inputs(safe=0.25))
    np.testing.assert_array_equal(mpc.act([0.0, 0.0]), [0.25])
    with pytest.raises(ValueError, match="observation does not tell the state"):
        mpc.reference_solution([0.0, 0.0], np.zeros((5, 1)))
    rungs = []
    for y in (1.0, 9.0, 1.0):
        mpc.act([y, 0.0])
        assert mpc.last is not None
        rungs.append((mpc.last.rung, mpc.last.status))
    assert rungs[0] == rungs[2] == ("solved", "optimal")
    assert rungs[1] == ("shifted", "RuntimeError: the estimator broke")
