"""Figures of the benchmark: a run is one learning seed, and intervals are over runs.

As Agarwal et al. 2021 ("Deep reinforcement learning at the edge of the statistical precipice")
advise: interquartile means, bootstrap intervals in which every task keeps its number of runs,
performance profiles, and comparisons seed by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.benchmark.cells import Cell
from koopman_control.common import Array
from koopman_control.evaluation import (
    PairedDifference,
    bootstrap_interval,
    interquartile_mean,
    paired_difference,
)

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval over runs; NaN ends for a single run."""

    value: float
    low: float
    high: float


def iqm_of_returns(cell: Cell) -> Estimate:
    """Interquartile mean over all episodes of all runs; whole runs are resampled."""
    matrix = cell.matrix

    def iqm(picks: Array, axis: int) -> Array:
        drawn = matrix[picks.astype(int)].reshape(*picks.shape[:-1], -1)
        return np.asarray(interquartile_mean(drawn, axis=axis))

    low, high = bootstrap_interval(np.arange(len(matrix)), iqm, n_resamples=RESAMPLES)
    return Estimate(float(interquartile_mean(matrix)), low, high)


def mean_of_runs(values: ArrayLike) -> Estimate:
    """Mean of one number per run, shape (runs,)."""
    numbers = np.asarray(values, dtype=np.float64)
    return Estimate(float(numbers.mean()), *bootstrap_interval(numbers))


def over_tasks(
    scores: Sequence[Array], statistic: Callable[..., ArrayLike] = interquartile_mean
) -> Estimate:
    """Summarise the scores of all runs on all tasks.

    Args:
        scores: Scores (runs,) for each task.
        statistic: Called as `statistic(x, axis=-1)` on all scores together.

    Returns:
        The statistic; its interval is from resampling the runs of each task by themselves.
    """
    value = float(np.asarray(statistic(np.concatenate(scores)[None], axis=-1))[0])
    if all(len(values) == 1 for values in scores):
        return Estimate(value, float("nan"), float("nan"))
    rng = np.random.default_rng(0)
    drawn = [rng.choice(values, size=(RESAMPLES, len(values))) for values in scores]
    estimates = statistic(np.concatenate(drawn, axis=1), axis=-1)
    low, high = np.quantile(np.asarray(estimates), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def performance_profile(scores: Sequence[Array], thresholds: Array) -> tuple[Array, Array, Array]:
    """Return the share of runs above each threshold, every task weighing the same.

    Args:
        scores: Scores (runs,) for each task.
        thresholds: Shape (k,).

    Returns:
        The share and the ends of its 95 % interval (runs resampled within tasks), each (k,).
    """
    rng = np.random.default_rng(0)
    drawn = [rng.choice(values, size=(RESAMPLES // 4, len(values))) for values in scores]
    share = np.mean([(v[:, None] > thresholds).mean(axis=0) for v in scores], axis=0)
    shares = np.mean([(d[..., None] > thresholds).mean(axis=1) for d in drawn], axis=0)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return share, low, high


def score_difference(a: Cell, b: Cell) -> PairedDifference | None:
    """Compare the scores of two subjects on a task, learning seed by learning seed.

    A subject that does not learn meets every learning seed of the other with its only run.

    Returns:
        The mean of a - b and its interval over the learning seeds they share; None if one of them
        has no score or they share no seed.
    """
    first, second = a.scores, b.scores
    if not first or not second:
        return None
    if not b.learns:
        second = dict.fromkeys(first, *second.values())
    elif not a.learns:
        first = dict.fromkeys(second, *first.values())
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    return paired_difference([first[s] for s in shared], [second[s] for s in shared])
