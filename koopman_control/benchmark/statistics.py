"""Runs of a subject side by side, and their figures: intervals are over learning seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.benchmark.plan import Key
from koopman_control.benchmark.run import Record
from koopman_control.common import Array
from koopman_control.evaluation import (
    PairedDifference,
    bootstrap_interval,
    interquartile_mean,
    paired_difference,
)
from koopman_control.tasks import normalised_score
from koopman_control.tasks.references import random_returns

OWN = "koopman"  # the subject that others are compared with


Name = tuple[str, str, str]  # task, subject, condition


@dataclass(frozen=True)
class Cell:
    """All runs of a cell of the table, one per learning seed.

    Args:
        name: Task, subject and condition.
        records: One per learning seed, in their order; runs that failed are not among them.
        failed: Learning seeds of runs that failed, with the random policy's returns (n,) or None.
        evaluation_seeds: The n reset seeds.
        env_id: Environment of the task, for which returns of the reference are stored.
    """

    name: Name
    records: tuple[Record, ...]
    failed: Mapping[int, Array | None]
    evaluation_seeds: Sequence[int]
    env_id: str

    @cached_property
    def returns(self) -> dict[int, Array]:
        """Returns (n,) per learning seed; a run that failed counts as random actions."""
        found = {int(r["seed"]): np.array(r["returns"], dtype=np.float64) for r in self.records}
        found |= {seed: floor for seed, floor in self.failed.items() if floor is not None}
        return dict(sorted(found.items()))

    @property
    def learns(self) -> bool:
        """Whether the subject learned from data, so that runs differ by their learning seed."""
        several = len(self.returns) > 1  # if all of them failed, none tells what it learned from
        return several or self.data_steps > 0

    @property
    def data_steps(self) -> int:
        """Environment steps that runs learned from, at most; 0 if none of them tells."""
        return max((int(record.get("data_steps", 0)) for record in self.records), default=0)

    @property
    def matrix(self) -> Array:
        """All returns, shape (runs, n)."""
        return np.stack(list(self.returns.values()))

    @cached_property
    def scores(self) -> dict[int, float] | None:
        """Score per learning seed: 0 as random actions, 1 as the reference; None without one."""
        scores = {
            seed: normalised_score(self.env_id, returns, self.evaluation_seeds)
            for seed, returns in self.returns.items()
        }
        known = {seed: score for seed, score in scores.items() if score is not None}
        return known if known and len(known) == len(scores) else None


def cells_of(records: Mapping[Key, Record], evaluation_seeds: Sequence[int]) -> dict[Name, Cell]:
    """Sort records into cells; a cell without any returns is left out."""
    grouped: dict[Name, list[Record]] = {}
    # Ours comes first wherever subjects are listed.
    for key, record in sorted(records.items(), key=lambda item: item[0].subject != OWN):
        grouped.setdefault((key.task, key.subject, key.condition), []).append(record)
    cells = {}
    for name, found in grouped.items():
        seeds, env_id = [int(r["seed"]) for r in found if "error" in r], found[0]["env_id"]
        floor = None  # returns (n,) of random actions: those of the run, or else those stored
        if seeds:
            random = records.get(Key(name[0], "random", "nominal", 0), {}).get("returns")
            stored = random_returns(env_id, evaluation_seeds)
            floor = stored if random is None else np.array(random, dtype=np.float64)
        failed = dict.fromkeys(seeds, floor)
        good = tuple(r for r in found if "error" not in r)
        cell = Cell(name, good, failed, evaluation_seeds, env_id)
        if cell.returns:
            cells[name] = cell
    return cells


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
