"""The runs of one subject on one task under one condition, put side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from koopman_control.benchmark.execution import Record
from koopman_control.benchmark.names import OWN
from koopman_control.benchmark.plan import Key
from koopman_control.common import Array
from koopman_control.tasks import normalised_score
from koopman_control.tasks.references import random_returns

Name = tuple[str, str, str]  # task, subject, condition


@dataclass(frozen=True)
class Cell:
    """All runs of a cell of the table, one per learning seed.

    Args:
        name: Task, subject and condition.
        records: One per learning seed, in their order; runs that failed are not among them.
        failed: Learning seeds of runs that failed, with the random policy's returns (n,) or None.
        evaluation_seeds: The n reset seeds.
    """

    name: Name
    records: tuple[Record, ...]
    failed: Mapping[int, Array | None]
    evaluation_seeds: Sequence[int]

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
            seed: normalised_score(self.name[0], returns, self.evaluation_seeds)
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
        seeds = [int(r["seed"]) for r in found if "error" in r]
        floor = _floor(records, name[0], evaluation_seeds) if seeds else None
        failed = dict.fromkeys(seeds, floor)
        good = tuple(r for r in found if "error" not in r)
        cell = Cell(name, good, failed, evaluation_seeds)
        if cell.returns:
            cells[name] = cell
    return cells


def _floor(records: Mapping[Key, Record], task: str, seeds: Sequence[int]) -> Array | None:
    """Returns (n,) of random actions: those of the run, or else those stored; None without any."""
    random = records.get(Key(task, "random", "nominal", 0), {})
    if "returns" in random:
        return np.array(random["returns"], dtype=np.float64)
    return random_returns(task, seeds)
