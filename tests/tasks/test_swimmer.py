from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common import begin_episode
from koopman_control.evaluation import evaluate
from koopman_control.tasks.swimmer import (
    HIGHEST,
    LOWEST,
    SECONDS_PER_STEP,
    SWIMMER,
    TRIAL,
    gait,
    next_wave,
)
from koopman_control.trajectories import CollectionInterrupted, total_steps

SMALL = replace(SWIMMER, n_steps=1150, first_steps=500, n_features=(10,))


def test_the_second_joint_follows_the_first_later_and_rates_are_derivatives() -> None:
    rows = gait(amplitude=0.8, period=40.0, lag=np.pi / 2)
    np.testing.assert_allclose(rows[10:, 1], rows[:-10, 0], atol=1e-12)  # a quarter of a period
    slopes = np.gradient(gait(0.8, 4e4, 1.0), SECONDS_PER_STEP, axis=0)[1:-1, :2]
    np.testing.assert_allclose(gait(0.8, 4e4, 1.0)[1:-1, 2:], slopes, rtol=1e-6, atol=1e-9)


def test_the_search_stays_in_its_box_and_closes_in_on_the_fastest_wave() -> None:
    rng, fastest = np.random.default_rng(0), np.array([1.1, 36.0, 0.8])
    waves = np.empty((0, 3))
    speeds = np.empty(0)
    for _ in range(60):
        wave = next_wave(waves, speeds, rng)
        assert np.all((wave >= LOWEST) & (wave <= HIGHEST))
        waves = np.vstack([waves, wave])
        speeds = np.append(speeds, -(((wave - fastest) / (HIGHEST - LOWEST)) ** 2).sum())
    assert np.all(np.abs(waves[np.argmax(speeds)] - fastest) < 0.1 * (HIGHEST - LOWEST))


def test_every_step_of_the_trials_counts_and_the_fastest_wave_is_kept() -> None:
    counted: list[int] = []
    learned = SMALL.learn(seed=5, on_step=counted.append)
    assert counted == list(range(1, 1151))
    assert [len(t) for t in learned.data] == [500, TRIAL, TRIAL, TRIAL, 50]
    assert total_steps(learned.data) == SMALL.n_steps
    best = max(learned.data[1:], key=lambda t: np.mean(t.rewards if t.rewards is not None else 0))
    begin_episode(learned.controller, 0)
    played = [learned.controller.act(y) for y in best.observations[:20]]
    np.testing.assert_allclose(played, best.actions[:20], atol=1e-6)


def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path) -> None:
    def stop(steps: int) -> None:
        if steps == 800:
            raise KeyboardInterrupt

    with pytest.raises(CollectionInterrupted) as caught:
        SMALL.learn(seed=5, on_step=stop, checkpoint=tmp_path)
    assert total_steps(caught.value.trajectories) == 800
    resumed = SMALL.learn(seed=5, checkpoint=tmp_path)
    for again, once in zip(resumed.data, SMALL.learn(seed=5).data, strict=True):
        np.testing.assert_array_equal(again.observations, once.observations)


@pytest.mark.slow
def test_swimming_is_learned_from_10000_steps() -> None:
    learned = SWIMMER.learn(seed=11)
    assert total_steps(learned.data) == 10_000
    assert evaluate(learned.controller, SWIMMER.env_id, range(2000, 2005)).mean > 320.0
