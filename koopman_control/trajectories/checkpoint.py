"""Finished episodes of a collection in a folder, from which an interrupted one goes on."""

from collections.abc import Mapping
from typing import Any

from koopman_control.common import PathLike, ensure_writable_folder
from koopman_control.trajectories.store import load_with_settings, save_trajectories
from koopman_control.trajectories.trajectory import Trajectory


class Checkpoint:
    """A folder with one file per finished episode, each with the conditions it was made under.

    Args:
        folder: The folder; made if it is not there.
        conditions: What the collection depends on, as JSON can hold it.

    Raises:
        FolderNotWritableError: The folder cannot be written to.
    """

    def __init__(self, folder: PathLike, conditions: Mapping[str, Any]) -> None:
        self._folder, self._conditions = ensure_writable_folder(folder), dict(conditions)

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
