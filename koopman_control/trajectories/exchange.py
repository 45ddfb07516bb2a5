"""Trajectories from and for others: Minari data sets, pandas frames, xarray data sets."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from koopman_control.common import (
    Array,
    bounds_array,
    optional_package,
    positive_int,
    refusing,
)
from koopman_control.common.border import checked
from koopman_control.trajectories.trajectory import Trajectory, check_trajectories

NAME = re.compile(r"(?:[\w-]+/)*[\w-]+-v\d+")


@checked
def from_minari(dataset: Any, n_episodes: int | None = None) -> list[Trajectory]:
    """Read the episodes of a Minari data set.

    Args:
        dataset: A `minari.MinariDataset`, or the name of one that is on this machine.
        n_episodes: Read the first ones only; None reads all.

    Returns:
        A trajectory for each episode, with rewards, bounds of the spaces and how it ended.

    Raises:
        ImportError: If Minari is not installed.
        ValueError: If observations or actions are not flat boxes of numbers.

    Example:
        >>> data = from_minari("D4RL/pointmaze/open-v2", 10)  # doctest: +SKIP
    """
    if n_episodes is not None:
        positive_int("n_episodes", n_episodes)
    if isinstance(dataset, str):
        with refusing(f"dataset {dataset!r} cannot be read; expected a Minari data set"):
            dataset = optional_package("minari", "logs").load_dataset(dataset)
    for name in ("observation_space", "action_space"):
        space = getattr(dataset, name, None)
        if len(getattr(space, "shape", None) or ()) != 1:
            raise ValueError(
                f"dataset has {space} as its {name}; expected a Minari data set with a flat Box"
            )
    found: list[Trajectory] = []
    for episode in dataset.iterate_episodes():
        if n_episodes is not None and len(found) >= n_episodes:
            break
        found.append(
            Trajectory(
                np.asarray(episode.observations, dtype=np.float64),
                np.asarray(episode.actions, dtype=np.float64),
                rewards=np.asarray(episode.rewards, dtype=np.float64),
                observation_bounds=_bounds("observation", dataset.observation_space),
                terminated=bool(episode.terminations[-1]),
                truncated=bool(episode.truncations[-1]),
                env_id=getattr(getattr(dataset, "env_spec", None), "id", None),
            )
        )
    return found


def _bounds(name: str, space: Any) -> Array:
    low, high = (np.asarray(side, dtype=np.float64) for side in (space.low, space.high))
    return np.array(bounds_array(name, np.stack([low, high]), len(low)))


@checked
def to_minari(data: Trajectory | Sequence[Trajectory], name: str) -> Any:
    """Write trajectories as a Minari data set on this machine.

    Args:
        data: The trajectories; missing rewards become 0.
        name: Name of the data set, `NAMESPACE/NAME-v0` say.

    Returns:
        The `minari.MinariDataset`.

    Raises:
        ImportError: If Minari is not installed.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}; expected NAMESPACE/NAME-v0 or NAME-v0")
    minari = optional_package("minari", "logs")
    spaces = optional_package("gymnasium.spaces", "logs")
    buffer = optional_package("minari.data_collector.episode_buffer", "logs").EpisodeBuffer
    runs = check_trajectories(data)
    episodes = []
    for i, run in enumerate(runs):
        ends = np.zeros(len(run), dtype=bool)
        ends[-1] = True
        rewards = np.zeros(len(run)) if run.rewards is None else run.rewards
        episodes.append(
            buffer(
                id=i,
                observations=np.array(run.observations),
                actions=np.array(run.actions),
                rewards=np.array(rewards),
                terminations=ends & run.terminated,
                truncations=ends & (not run.terminated),
                infos={},
            )
        )
    p, m = runs[0].observations.shape[1], runs[0].actions.shape[1]
    free = np.tile([[-np.inf], [np.inf]], max(p, m))
    seen = free[:, :p] if runs[0].observation_bounds is None else runs[0].observation_bounds
    applied = free[:, :m] if runs[0].action_bounds is None else runs[0].action_bounds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of authors and links that a log has not
        return minari.create_dataset_from_buffers(
            name,
            episodes,
            observation_space=spaces.Box(*seen, dtype=np.float64),
            action_space=spaces.Box(*applied, dtype=np.float64),
        )


@checked
def to_frame(data: Trajectory | Sequence[Trajectory]) -> Any:
    """Write trajectories as one pandas frame, which `from_table` reads again.

    Args:
        data: The trajectories.

    Returns:
        Columns `run`, `time` in seconds (or rows, without a dt), observations and actions by name;
        the last row of a run has no actions (NaN).

    Raises:
        ImportError: If pandas is not installed.

    Example:
        >>> run = Trajectory(np.array([0.0, 1.0, 2.0]), np.array([5.0, 6.0]), dt=0.5)
        >>> to_frame(run).columns.tolist()
        ['run', 'time', 'y0', 'u0']
    """
    pandas = optional_package("pandas", "logs")
    runs = check_trajectories(data)
    p, m = runs[0].observations.shape[1], runs[0].actions.shape[1]
    outputs = runs[0].observation_names or tuple(f"y{i}" for i in range(p))
    inputs = runs[0].action_names or tuple(f"u{i}" for i in range(m))
    pieces = []
    for i, run in enumerate(runs):
        rows = len(run) + 1
        actions = np.vstack([run.actions, np.full((1, m), np.nan)])
        columns = {"run": np.full(rows, i), "time": np.arange(rows) * (run.dt or 1.0)}
        columns |= dict(zip(outputs, run.observations.T, strict=True))
        columns |= dict(zip(inputs, actions.T, strict=True))
        pieces.append(pandas.DataFrame(columns))
    return pandas.concat(pieces, ignore_index=True)
