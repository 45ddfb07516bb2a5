from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from koopman_control.benchmark import CONDITIONS
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, with_input_delay
from koopman_control.trajectories import Trajectory
from tests.benchmark.tiny import tiny_task


def runs() -> list[Trajectory]:
    """Runs of x+ = 0.9 x + 0.5 v with v one step behind u."""
    rng, found = np.random.default_rng(0), []
    for _ in range(5):
        u, x = rng.uniform(-1.0, 1.0, size=(30, 1)), [np.zeros(1)]
        for k in range(30):
            x.append(0.9 * x[-1] + 0.5 * (u[k - 1] if k else np.zeros(1)))
        found.append(Trajectory(np.array(x), u))
    return found


@pytest.mark.parametrize("n_draws", [1, 3])
def test_it_fits_what_a_plain_fit_to_moved_inputs_fits(n_draws: int) -> None:
    settings: dict[str, Any] = {"features": SampledFeatures(5, random_state=0), "n_draws": n_draws}
    settings["rollout"] = "linear"
    late = clone(EDMDc(input_delay=1, **settings)).fit(runs())
    plain = EDMDc(**settings).fit(with_input_delay(runs(), 1))
    np.testing.assert_array_equal(late.model_.A, plain.model_.A)
    np.testing.assert_allclose(late.model_.predict([1.0], [[2.0]]), [[1.9]], atol=1e-6)
    assert late.score(runs()) == pytest.approx(plain.score(with_input_delay(runs(), 1)))


def test_a_task_under_delay_learns_and_controls_with_several_draws() -> None:
    task = CONDITIONS["delay"].learning(tiny_task(n_draws=2))
    learned = task.learn(0)
    assert learned.model.coordinates.memory == 0
    assert [r.steps for r in learned.rounds] == [160, 240]
    action = learned.controller.act(learned.data[0].observations[0])
    assert np.isfinite(action).all()
