from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from koopman_control.benchmark.statistics import (
    Cell,
    iqm_of_returns,
    mean_of_runs,
    over_tasks,
    performance_profile,
    score_difference,
)
from koopman_control.tasks import reference_returns

SEEDS = range(1000, 1004)
ENV = "Pendulum-v1"
BEST = (reference_returns(ENV, SEEDS) or ("", np.zeros(4)))[1]


def cell(returns: dict[int, Any], data_steps: int = 600) -> Cell:
    records = tuple(
        {"seed": seed, "returns": list(row), "data_steps": data_steps}
        for seed, row in returns.items()
    )
    return Cell((ENV, "s", "nominal"), records, {}, SEEDS, ENV)


def test_the_interquartile_mean_is_over_all_episodes_of_all_runs() -> None:
    found = iqm_of_returns(cell({0: [-1000.0, 1.0, 2.0, 3.0], 1: [1.0, 2.0, 3.0, 900.0]}))
    assert found.value == 2.0
    assert found.low <= 2.0 <= found.high


def test_intervals_need_more_than_one_run() -> None:
    assert np.isnan(iqm_of_returns(cell({0: BEST})).low)
    assert np.isnan(mean_of_runs([1.0]).high)
    assert np.isnan(over_tasks([np.array([1.0]), np.array([2.0])]).low)


def test_resampling_keeps_the_runs_of_each_task_together() -> None:
    # Were runs of both tasks mixed, the mean would vary; within each task all runs agree.
    found = over_tasks([np.zeros(5), np.ones(5)], np.mean)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_interval_over_tasks_is_scipys_for_independent_samples() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=30), rng.normal(2.0, size=30)
    found = over_tasks([a, b], np.mean)
    peer = stats.bootstrap(
        (a, b),
        lambda x, y, axis: 0.5 * (x.mean(axis=axis) + y.mean(axis=axis)),
        method="percentile",
        rng=0,
    ).confidence_interval
    width = peer.high - peer.low
    assert found.low == pytest.approx(peer.low, abs=0.05 * width)
    assert found.high == pytest.approx(peer.high, abs=0.05 * width)


def test_the_profile_is_the_share_of_runs_above_each_threshold() -> None:
    share, low, high = performance_profile(
        [np.array([0.2, 0.8]), np.array([0.6, 0.6, 0.6])], np.array([0.0, 0.5, 0.7, 1.0])
    )
    np.testing.assert_allclose(share, [1.0, 0.75, 0.25, 0.0])
    assert np.all(low <= share) and np.all(share <= high)


def test_subjects_are_compared_on_the_learning_seeds_they_share() -> None:
    first = cell({0: BEST, 1: BEST, 2: BEST - 50.0})
    second = cell({1: BEST - 100.0, 0: BEST - 100.0})
    scores = second.scores
    assert scores is not None
    found = score_difference(first, second)
    assert found is not None
    assert found.mean == pytest.approx(1.0 - scores[0])
    assert found.wins == 1.0


def test_a_subject_that_does_not_learn_meets_every_learning_seed() -> None:
    first, fixed = cell({0: BEST, 5: BEST - 50.0}), cell({0: BEST}, data_steps=0)
    ahead, behind = score_difference(fixed, first), score_difference(first, fixed)
    assert ahead is not None and behind is not None
    assert ahead.wins == 0.5
    assert behind.mean == pytest.approx(-ahead.mean)


def test_without_shared_seeds_or_scores_there_is_no_difference() -> None:
    assert score_difference(cell({0: BEST}), cell({1: BEST})) is None
    record = {"seed": 0, "returns": [1.0] * 4}
    unknown = Cell(("Nothing", "s", "nominal"), (record,), {}, SEEDS, "Nothing-v0")
    assert score_difference(cell({0: BEST}), unknown) is None


def test_a_subject_whose_runs_all_failed_is_compared_as_random_actions() -> None:
    ours, floor = cell({0: BEST, 1: BEST}), BEST - 1000.0
    failed = Cell((ENV, "t", "nominal"), (), {0: floor, 1: floor}, SEEDS, ENV)
    difference = score_difference(ours, failed)
    one = score_difference(ours, cell({0: floor, 1: floor}))
    assert difference is not None and difference == one
