"""Tasks off their settings: another environment, another fit, inputs one step late, no angles."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common import Array
from koopman_control.features import Coordinates
from koopman_control.identification import EDMDc, with_input_delay
from koopman_control.tasks import Task
from koopman_control.trajectories import Trajectory
from koopman_control.trajectories.environments import Environment


class NoMeaning(Exception):
    """A condition has no clear meaning for a task; the message is the reason."""


WORDING = ("summary", "state_names")


def fingerprint(task: Task) -> str:
    """Return a short hash of a task's settings: results of other settings are no longer valid.

    Settings at their defaults do not count, so that a new kind of setting invalidates nothing; nor
    do words.
    """
    necessary = [f.name for f in fields(task) if f.default is f.default_factory is MISSING]
    unset = type(task)(**{name: getattr(task, name) for name in necessary}).settings()
    settings = {
        name: value
        for name, value in task.settings().items()
        if (name in necessary or value != unset[name]) and name not in WORDING
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def _as_it_is(env: Environment) -> Environment:
    return env


@dataclass(frozen=True)
class VariedTask(Task):
    """A task with more that can be changed.

    Args:
        wrap: From environment to environment.
        fit: Settings of `EDMDc` that differ from the task's.
        estimator_class: What to fit with instead.
    """

    wrap: Callable[[Environment], Environment] = _as_it_is
    fit: Mapping[str, Any] = field(default_factory=dict)
    estimator_class: type[EDMDc] = EDMDc

    def environment(self) -> Environment:
        """Make the environment and wrap it."""
        return self.wrap(super().environment())

    def estimator(self, seed: int = 0) -> EDMDc:
        """Return the unfitted estimator with the settings that differ."""
        return self.estimator_class(**(super().estimator(seed).get_params(deep=False) | self.fit))


def varied(task: Task, **changes: Any) -> VariedTask:
    """Return the task with some settings changed, `wrap` and `fit` among them if need be."""
    settings = {f.name: getattr(task, f.name) for f in fields(task)}
    kind: Any = type(task)
    new: VariedTask = _varied_kind(kind)(**(settings | changes))
    return new


@cache
def _varied_kind(kind: Any) -> Any:
    """Return the class of varied tasks that learn as those of class `kind` do."""
    if issubclass(kind, VariedTask):
        return kind
    if kind is Task:
        return VariedTask
    return make_dataclass(f"Varied{kind.__name__}", (), bases=(VariedTask, kind), frozen=True)


def with_arguments(task: Task, **arguments: Any) -> Task:
    """Return the task with further arguments of its environment."""
    return replace(task, env_arguments={**task.env_arguments, **arguments})


def unfiltered(task: Task) -> Task:
    """Return the task without its estimator, which was chosen for its own roll-out."""
    return replace(task, mpc={k: v for k, v in task.mpc.items() if k != "estimator"})


Data = Trajectory | Sequence[Trajectory]


class OneStepLate(EDMDc):
    """`EDMDc` on data with every input moved to the step it acts in."""

    def fit(self, data: Data, y: None = None, sample_weight: Any = None) -> OneStepLate:
        """Fit a model without the delay."""
        # A plain EDMDc, as one of several draws clones itself and would move the inputs again.
        plain = EDMDc(**self.get_params(deep=False)).fit(_moved(data), y, sample_weight)
        self.__dict__.update(plain.__dict__)
        return self

    def score(self, data: Data, y: None = None) -> float:
        """Score as `EDMDc` does."""
        return super().score(_moved(data), y)

    def score_left_out(self, seen: Sequence[Trajectory], judged: Sequence[Trajectory]) -> float:
        """Score as `EDMDc` does."""
        return super().score_left_out(_moved(seen), _moved(judged))


def _moved(data: Data) -> list[Trajectory]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # runs of a single step tell nothing here
        return with_input_delay(data, 1)


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
