"""Tasks restated: their fingerprint, without the estimator of their own, without angles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import numpy as np

from koopman_control.common import Array
from koopman_control.features import Coordinates
from koopman_control.tasks import Task
from koopman_control.tasks.untold import Untold


class NotApplicableError(Exception):
    """A condition cannot be applied to a task; the message is the reason."""


LABELS = ("name", "summary", "state_names")  # what results do not depend on


def fingerprint(task: Task | Untold) -> str:
    """Return a short hash of a task's settings: results of other settings are no longer valid.

    Settings at their defaults do not count, so that a new kind of setting invalidates nothing; nor
    do words.
    """
    necessary = [f.name for f in fields(task) if f.default is f.default_factory is MISSING]
    unset = type(task)(**{name: getattr(task, name) for name in necessary}).settings()
    settings = {
        name: value
        for name, value in task.settings().items()
        if (name in necessary or value != unset[name]) and name not in LABELS
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def without_estimator(task: Task) -> Task:
    """Return the task without its state estimator, which was chosen for its own roll-out."""
    return replace(task, mpc={k: v for k, v in task.mpc.items() if k != "estimator"})


Read = Callable[[Array], Array]


@dataclass(frozen=True)
class ColumnMap:
    """Turns values of states (..., d) into values of observation columns; can be pickled.

    Args:
        columns: For each column, in order: the state, and how to read it.
    """

    columns: tuple[tuple[int, Read], ...]

    def __call__(self, values: Array) -> Array:
        """Read every column, (..., d) to (..., e)."""
        return np.stack([read(values[..., i]) for i, read in self.columns], axis=-1)


@dataclass(frozen=True)
class ColumnReference:
    """A function of the observation that returns the reference of columns."""

    reference: Callable[[Array], Any]
    columns: ColumnMap

    def __call__(self, observation: Array) -> Array | None:
        """Turn the reference of the states into that of the columns."""
        value = self.reference(observation)
        return None if value is None else self.columns(np.asarray(value, dtype=np.float64))


def without_angles(task: Task, n_observations: int) -> Task:
    """Restate a task on columns of the observation: an angle becomes its cosine and its sine.

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
    columns = ColumnMap(tuple((i, read) for _, i, read in found))
    reference: Any = task.reference
    if callable(reference):
        reference = ColumnReference(reference, columns)
    else:
        rows = np.asarray(reference, dtype=np.float64)
        reference = columns(np.broadcast_to(rows, (len(entries),)) if rows.ndim == 0 else rows)
    mpc = dict(task.mpc)
    if "output_bounds" in mpc:
        low, high = (np.asarray(end, dtype=np.float64) for end in mpc["output_bounds"])
        as_is = np.array([read is np.array for _, read in columns.columns])
        states = [i for i, _ in columns.columns]
        mpc["output_bounds"] = (
            np.where(as_is, low[states], -np.inf),
            np.where(as_is, high[states], np.inf),
        )
    return replace(
        task,
        Q=tuple(float(task.Q[i]) for i, _ in columns.columns),
        states=tuple(column for column, _, _ in found),
        angles=(),
        state_names=None,
        reference=reference,
        mpc=mpc,
    )
