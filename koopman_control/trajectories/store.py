"""Trajectories on disk: one `.npz` with the runs end to end, and what belongs to each as settings.

A `Checkpoint` keeps the finished episodes of a collection, from which an interrupted one goes on.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from koopman_control.common import (
    Array,
    PathLike,
    ensure_writable_folder,
    load_npz,
    refusing,
    save_npz,
)
from koopman_control.common.border import checked
from koopman_control.common.files import Claim
from koopman_control.trajectories.trajectory import Trajectory, check_trajectories

KIND = "trajectories"
FORMAT_VERSION = 2
_PLAIN = (
    "dt",
    "terminated",
    "truncated",
    "seed",
    "env_id",
    "observation_names",
    "action_names",
)
_OPTIONAL = ("rewards", "observation_bounds", "action_bounds")


@checked
def save_trajectories(
    path: PathLike,
    trajectories: Trajectory | Iterable[Trajectory],
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write trajectories of one system to a .npz file, replacing what was there.

    Args:
        path: Where the file goes.
        trajectories: What to keep.
        settings: What made them, as far as JSON can hold it; kept beside them.

    Raises:
        ValueError: There is none, or they differ in columns or time step.
        OSError: The file cannot be written.
    """
    data = check_trajectories(trajectories, missing=True)
    arrays: dict[str, Array | Any] = {
        "lengths": np.array([len(item) for item in data], dtype=np.int64),
        "observations": np.concatenate([item.observations for item in data]),
        "actions": np.concatenate([item.actions for item in data]),
    }
    for name in _OPTIONAL:
        present = [value for item in data if (value := getattr(item, name)) is not None]
        if present:
            arrays[name] = np.concatenate(present)
    rows = [
        {name: getattr(item, name) for name in _PLAIN}
        | {"has": [name for name in _OPTIONAL if getattr(item, name) is not None]}
        | ({"missing": True} if item.missing else {})
        for item in data
    ]
    content = {"trajectories": rows, "made_by": dict(settings)}
    save_npz(path, KIND, FORMAT_VERSION, arrays, content)


@checked
def load_trajectories(path: PathLike) -> list[Trajectory]:
    """Read what :func:`save_trajectories` wrote, to the last bit.

    Raises:
        FileNotFoundError: There is no such file.
        FileFormatError: It is damaged or holds something else.
    """
    return load_with_settings(path)[0]


def load_with_settings(path: PathLike) -> tuple[list[Trajectory], dict[str, Any]]:
    """Read trajectories as `load_trajectories` does, and the settings that made them."""
    arrays, settings = load_npz(path, KIND, FORMAT_VERSION)
    with refusing(f"{path} does not hold whole trajectories; make it again"):
        queues = {name: _Queue(array) for name, array in arrays.items() if name != "lengths"}
        data = [
            _read(queues, int(length), row)
            for length, row in zip(arrays["lengths"], settings["trajectories"], strict=True)
        ]
        return check_trajectories(data, missing=True), dict(settings["made_by"])


def _read(queues: dict[str, "_Queue"], steps: int, row: dict[str, Any]) -> Trajectory:
    sizes = {"rewards": steps, "observation_bounds": 2, "action_bounds": 2}
    fields: dict[str, Any] = {name: row[name] for name in _PLAIN}
    fields |= {name: queues[name].take(sizes[name]) for name in row["has"]}
    fields["missing"] = row.get("missing", False)
    return Trajectory(
        observations=queues["observations"].take(steps + 1),
        actions=queues["actions"].take(steps),
        **fields,
    )


class _Queue:
    """Rows of an array, taken from the front."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows
        self._next = 0

    def take(self, count: int) -> Array:
        first, self._next = self._next, self._next + count
        return self._rows[first : self._next]


class Checkpoint:
    """A folder with one file per finished episode, each with the conditions it was made under.

    Args:
        folder: The folder; made if it is not there.
        conditions: What the collection depends on, as JSON can hold it.

    Raises:
        FolderNotWritableError: The folder cannot be written to.
        ValueError: Another process is collecting into it.
    """

    def __init__(self, folder: PathLike, conditions: Mapping[str, Any]) -> None:
        self._folder, self._conditions = ensure_writable_folder(folder), dict(conditions)
        self._claim = Claim(self._folder / ".claim")
        if not self._claim.take():
            raise ValueError(
                f"checkpoint {self._folder} is in use: another process collects into it; wait for "
                "its end, or choose another folder"
            )

    def close(self) -> None:
        """Let other processes go on here."""
        self._claim.release()

    def episodes(self) -> list[Trajectory]:
        """Return the episodes from the first on without a gap.

        Raises:
            FileFormatError: A file is damaged.
            ValueError: An episode was made under other conditions.
        """
        for abandoned in self._folder.glob(".*.tmp"):  # a write that a kill broke off
            abandoned.unlink()
        found: list[Trajectory] = []
        while (path := self._folder / _name(len(found))).exists():
            data, conditions = load_with_settings(path)
            self.require(conditions == self._conditions and len(data) == 1)
            found.extend(data)
        return found

    def add(self, number: int, episode: Trajectory) -> None:
        """Keep a finished episode; it is on the disk when this returns."""
        save_trajectories(self._folder / _name(number), episode, self._conditions)

    def require(self, same: bool) -> None:
        """Raise a ValueError unless what is kept belongs to the collection at hand."""
        if not same:
            raise ValueError(
                f"checkpoint {self._folder} is of another collection: environment, policy, seed or "
                "number of steps differ; repeat the same call, or choose another folder"
            )


def _name(number: int) -> str:
    return f"episode-{number:06d}.npz"
