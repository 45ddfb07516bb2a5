"""A controller acts before its first episode, and nothing of that remains."""

from collections.abc import Callable

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, KoopmanMPC
from koopman_control.mpc.controller import WARM_UP_STEPS

Make = Callable[..., LiftedModel]


def test_a_reference_is_not_asked_before_the_first_step(linear_model: Make) -> None:
    asked: list[Array] = []

    def reference(y: Array) -> Array:
        asked.append(y)
        return np.zeros(2)

    mpc = KoopmanMPC(linear_model([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]]), 5, reference=reference)
    assert not asked
    mpc.act([1.0, 0.0])
    assert len(asked) == 1


def test_a_new_controller_acts_like_one_that_was_reset(linear_model: Make) -> None:
    model = linear_model([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]])
    mpc = KoopmanMPC(model, 8, 1.0, 0.01, input_bounds=(-1.0, 1.0), bounds=Bounds(rates=0.2))
    assert mpc.last is None
    observations = np.random.default_rng(0).normal(size=(6, 2))
    first = [mpc.act(y) for y in observations]
    mpc.reset()
    np.testing.assert_array_equal(first, [mpc.act(y) for y in observations])


def test_warming_up_ends_after_some_steps_or_some_time(
    linear_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Array] = []
    act = KoopmanMPC.act

    def counted(self: KoopmanMPC, observation: Array) -> Array:
        seen.append(observation)
        return act(self, observation)

    monkeypatch.setattr(KoopmanMPC, "act", counted)
    KoopmanMPC(linear_model([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]]), 5)
    assert 1 <= len(seen) <= WARM_UP_STEPS
