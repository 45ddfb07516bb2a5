"""A task without angles: each becomes its cosine and sine, for models that know plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common import Array
from koopman_control.features import Coordinates
from koopman_control.tasks import Task

Read = Callable[[Array], Array]


@dataclass(frozen=True)
class Widened:
    """Values of states (..., d) as values of plain columns; pickles where a closure would not.

    Args:
        columns: For each plain column, in order: the state, and how to read it.
    """

    columns: tuple[tuple[int, Read], ...]

    def __call__(self, values: Array) -> Array:
        """Read every plain column, (..., d) to (..., e)."""
        return np.stack([read(values[..., i]) for i, read in self.columns], axis=-1)


@dataclass(frozen=True)
class WidenedTarget:
    """A function of the observation that returns targets of plain columns."""

    target: Callable[[Array], Any]
    widened: Widened

    def __call__(self, observation: Array) -> Array | None:
        """Widen what the target's function returns."""
        value = self.target(observation)
        return None if value is None else self.widened(np.asarray(value, dtype=np.float64))


def in_plain_columns(task: Task, n_observations: int) -> Task:
    """Restate a task on plain columns.

    A deviation of angle a costs 2 (1 - cos a) instead of a^2, which is the same near the target.

    Args:
        task: A task with or without angles.
        n_observations: Length of its observation.

    Returns:
        The task without angles, with the same weights, targets and bounds; angles lose their
        bounds. Angles in radians become plain numbers.
    """
    entries = Coordinates.of(n_observations, task.states, task.angles).columns
    found: list[tuple[int, int, Read]] = []
    for i, entry in enumerate(entries):
        pair = entry if isinstance(entry, tuple) else (entry,)
        reads: tuple[Read, ...] = (np.cos, np.sin) if len(pair) == 2 else (np.array,)
        found += [(column, i, read) for column, read in zip(pair, reads, strict=True)]
    found.sort(key=lambda item: item[0])
    widened = Widened(tuple((i, read) for _, i, read in found))
    mpc = dict(task.mpc)
    if "output_bounds" in mpc:
        mpc["output_bounds"] = _bounds(mpc["output_bounds"], widened)
    return replace(
        task,
        Q=tuple(float(task.Q[i]) for i, _ in widened.columns),
        states=tuple(column for column, _, _ in found),
        angles=(),
        state_names=None,
        reference=_reference(task, len(entries), widened),
        mpc=mpc,
    )


def _reference(task: Task, d: int, widened: Widened) -> Any:
    if callable(task.reference):
        return WidenedTarget(task.reference, widened)
    rows: Array = np.asarray(task.reference, dtype=np.float64)
    return widened(np.broadcast_to(rows, (d,)) if rows.ndim == 0 else rows)


def _bounds(bounds: tuple[ArrayLike, ArrayLike], widened: Widened) -> tuple[Array, Array]:
    low, high = (np.asarray(end, dtype=np.float64) for end in bounds)
    plain = np.array([read is np.array for _, read in widened.columns])
    states = [i for i, _ in widened.columns]
    return np.where(plain, low[states], -np.inf), np.where(plain, high[states], np.inf)
