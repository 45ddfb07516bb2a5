"""What was measured: one uninterrupted run of a system.

Between observation t and observation t+1 acts action t, so T actions come with T+1 observations.
Runs are never joined: nothing here knows what happened between two of them.
"""

import copy
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import (
    SINGLE,
    Array,
    bounds_array,
    finite_array,
    positive_float,
    read_only,
    real_array,
    rounding_at,
)
from koopman_control.common.border import check_fields, checked, require

SAME_DT = 1e-6  # relative; time steps that differ by less are one, computed from rounded times


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """Observations, actions and what is known about them; checked once, then immutable.

    Args:
        observations: (T+1, p), finite, NaN only with `missing`; (T+1,) is a single column.
        actions: (T, m), finite; the actions that were applied. (T,) is a single column.
        rewards: (T,), or None.
        dt: Seconds between two observations, or None if unknown.
        observation_bounds: (2, p), lows then highs that the system never leaves; ±inf if unknown.
        action_bounds: (2, m), lows then highs of what can be applied; ±inf if unknown.
        terminated: The run ended in a terminal state.
        truncated: The run was cut off.
        seed: Seed of the reset.
        env_id: Gymnasium id of the environment it came from.
        observation_names: p names, or None.
        action_names: m names, or None.
        missing: Observations may be NaN where nothing was measured. Only fits that smooth take such
            trajectories, `EDMDc(corrections=Corrections(noise="smooth"))`.

    Raises:
        TypeError: A field holds no numbers.
        ValueError: Lengths do not match, a number is not finite, or an action is out of bounds.

    Example:
        >>> Trajectory(observations=[[0.0], [0.1], [0.3]], actions=[[1.0], [2.0]], dt=0.1)
        Trajectory(2 steps, 1 observations, 1 actions, dt=0.1)
    """

    observations: Array
    actions: Array
    rewards: Array | None = None
    dt: float | None = None
    observation_bounds: Array | None = None
    action_bounds: Array | None = None
    terminated: bool = False
    truncated: bool = False
    seed: int | None = None
    env_id: str | None = None
    observation_names: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    missing: bool = False

    def __post_init__(self) -> None:
        """Check and freeze every field."""
        check_fields(self)
        observations = _in_columns("observations", self.observations)
        if not self.missing or np.isinf(observations).any():
            finite_array("observations", observations)
        actions = finite_array("actions", _in_columns("actions", self.actions))
        steps = len(actions)
        if steps < 1:
            raise ValueError("actions has no row; a trajectory needs at least one step")
        if len(observations) != steps + 1:
            raise ValueError(
                f"observations has {len(observations)} rows for {steps} actions; expected "
                f"{steps + 1}: one before the first action and one after each"
            )
        if observations.shape[1] < 1 or actions.shape[1] < 1:
            raise ValueError(
                f"observations has {observations.shape[1]} columns and actions "
                f"{actions.shape[1]}; expected at least one of each"
            )
        self._set(observations=read_only(observations), actions=read_only(actions))
        if self.rewards is not None:
            self._set(rewards=read_only(finite_array("rewards", self.rewards, shape=(steps,))))
        if self.dt is not None:
            self._set(dt=positive_float("dt", self.dt))
        self._check_bounds()
        self._check_names("observation_names", observations.shape[1])
        self._check_names("action_names", actions.shape[1])

    def __len__(self) -> int:
        """Return the number of steps T."""
        return len(self.actions)

    def __repr__(self) -> str:
        """Say what it is without printing the arrays."""
        p, m = self.observations.shape[1], self.actions.shape[1]
        return f"Trajectory({len(self)} steps, {p} observations, {m} actions, dt={self.dt})"

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # the way to fill a frozen dataclass

    def _check_bounds(self) -> None:
        if self.observation_bounds is not None:
            size = self.observations.shape[1]
            bounds = bounds_array("observation_bounds", self.observation_bounds, size)
            self._set(observation_bounds=read_only(bounds))
        if self.action_bounds is None:
            return
        low, high = bounds_array("action_bounds", self.action_bounds, self.actions.shape[1])
        self._set(action_bounds=read_only(np.array([low, high])))
        margin = rounding_at(self.action_bounds)
        largest = np.abs(self.actions).max(axis=0, initial=0.0)  # where zero is the only bound
        margin = np.where(margin > 0.0, margin, SINGLE * largest)
        outside = (self.actions < low - margin) | (self.actions > high + margin)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"actions holds {self.actions[row, column]} in row {row}, column {column}, outside "
                f"action_bounds [{low[column]}, {high[column]}]; store the actions as applied, "
                "after clipping"
            )

    def _check_names(self, field: str, size: int) -> None:
        names: Iterable[str] | None = getattr(self, field)
        if names is None:
            return
        names = tuple(str(name) for name in names)
        if len(names) != size or len(set(names)) != size:
            raise ValueError(f"{field} is {names}; expected {size} different names")
        self._set(**{field: names})


def _in_columns(name: str, value: Array) -> Array:
    """Return an array (T, columns); one dimension is a single column."""
    array = real_array(name, value)
    return real_array(name, array[:, None] if array.ndim == 1 else array, ndim=2)


def check_trajectories(
    data: Trajectory | Iterable[Trajectory], *, missing: bool = False
) -> list[Trajectory]:
    """Return data as a list of trajectories of one and the same system.

    Time steps that differ by rounding only, a relative 1e-6, count as one: that of the first.

    Args:
        data: The trajectories.
        missing: Whether observations may be NaN.

    Raises:
        TypeError: Something in it is no Trajectory.
        ValueError: It is empty, the trajectories differ in columns or time step, or observations
            are NaN that may not be.
        UserWarning: Time steps differ by rounding; the message says which is taken.
    """
    require("missing", missing, bool)
    if isinstance(data, Trajectory):
        return _without_gaps([data], missing)
    if not isinstance(data, Iterable):
        raise TypeError(f"data is a {type(data).__name__}; expected a Trajectory or a list of them")
    trajectories = list(data)
    if not trajectories:
        raise ValueError("data is empty; expected at least one Trajectory")
    for i, item in enumerate(trajectories):
        if not isinstance(item, Trajectory):
            raise TypeError(
                f"data[{i}] is a {type(item).__name__}; expected a Trajectory: wrap arrays as "
                "Trajectory(observations, actions)"
            )
        for what, got, expected in zip(
            ("observation columns", "action columns", "dt"),
            _signature(item),
            _signature(trajectories[0]),
            strict=True,
        ):
            if got != expected and not (what == "dt" and _same_dt(got, expected)):
                raise ValueError(
                    f"data[{i}] has {got} as its {what}, data[0] has {expected}; expected "
                    "trajectories of one system sampled at one rate"
                )
    return _with_one_dt(_without_gaps(trajectories, missing))


def like_the_first(data: Iterable[Trajectory], first: Trajectory) -> list[Trajectory]:
    """Return trajectories that are of the same system as one seen before, with its time step.

    Raises:
        ValueError: One differs in columns or time step.
    """
    found = []
    for i, item in enumerate(data):
        for what, got, expected in zip(
            ("observation columns", "action columns", "dt"),
            _signature(item),
            _signature(first),
            strict=True,
        ):
            if got != expected and not (what == "dt" and _same_dt(got, expected)):
                raise ValueError(
                    f"data[{i}] has {got} as its {what}, the first shard has {expected}; expected "
                    "trajectories of one system sampled at one rate"
                )
        if item.dt != first.dt:
            item = copy.copy(item)
            item._set(dt=first.dt)
        found.append(item)
    return found


def _without_gaps(trajectories: list[Trajectory], missing: bool) -> list[Trajectory]:
    """Return the trajectories, or say that observations are NaN where none may be."""
    for i, item in enumerate(trajectories):
        gaps = np.isnan(item.observations) if item.missing and not missing else np.zeros(1)
        if gaps.any():
            raise ValueError(
                f"data[{i}] lacks {int(gaps.sum())} entries of its observations (NaN); only a fit "
                'that smooths takes such data: EDMDc(corrections=Corrections(noise="smooth")), '
                "whose smoothed_ are the trajectories without gaps"
            )
    return trajectories


@checked
def total_steps(trajectories: Iterable[Trajectory]) -> int:
    """Return the number of environment steps in all trajectories together."""
    return sum(len(trajectory) for trajectory in trajectories)


def _signature(trajectory: Trajectory) -> tuple[int, int, float | None]:
    return trajectory.observations.shape[1], trajectory.actions.shape[1], trajectory.dt


def _same_dt(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= SAME_DT * other


def _with_one_dt(trajectories: list[Trajectory]) -> list[Trajectory]:
    """Give all trajectories the time step of the first, and say so where that changes one."""
    dt = trajectories[0].dt
    other = [i for i, item in enumerate(trajectories) if item.dt != dt]
    if not other:
        return trajectories
    warnings.warn(
        f"data[{other[0]}] has {trajectories[other[0]].dt} as its dt, data[0] has {dt}: they differ"
        f" by rounding, and {dt} is taken for all",
        UserWarning,
        stacklevel=3,
    )
    same = list(trajectories)
    for i in other:
        same[i] = copy.copy(trajectories[i])  # the arrays, which nobody can change, are shared
        same[i]._set(dt=dt)
    return same
