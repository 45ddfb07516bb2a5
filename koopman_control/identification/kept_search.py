"""What a search for a model has found, kept in a file so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.common.files import PathLike, load_npz, refusing, save_npz
from koopman_control.identification.draws import Member, Structure, Trial
from koopman_control.trajectories import Trajectory

KIND, FORMAT_VERSION = "search for a model", 1


class KeptSearch:
    """Trials and draws of a search; each is on the disk when it is added.

    Args:
        path: The file; None keeps nothing.
        data: What is searched for a model of.
        settings: What the search depends on, beside the data.

    Attributes:
        trials: Trials known, in their order.
        spent: Seconds that they took.

    Raises:
        FileFormatError: The file is damaged.
        ValueError: The file is of other data or settings.
    """

    def __init__(
        self, path: PathLike | None, data: Sequence[Trajectory], settings: Mapping[str, Any]
    ) -> None:
        self._path = None if path is None else Path(path)
        self.trials: list[Trial] = []
        self.spent = 0.0
        self._members: dict[Structure, list[tuple[Array, Array]]] = {}
        if self._path is None:
            return
        self._made_for = {"data": _checksum(data)} | dict(settings)
        if self._path.exists():
            self._read(self._path)

    def _read(self, path: Path) -> None:
        arrays, content = load_npz(path, KIND, FORMAT_VERSION)
        if content.get("made_for") != self._made_for:
            raise ValueError(
                f"{path} keeps a search in other data, or with other settings; repeat the same "
                "call, or remove the file"
            )
        with refusing(f"{path} does not hold a whole search; remove it"):
            self.spent = float(content["spent"])
            for i, known in enumerate(content["trials"]):
                errors = tuple(float(e) for e in arrays[f"trial{i}"])
                structure = Structure(**known["structure"])
                self.trials.append(Trial(structure, known["n_features"], errors, known["seconds"]))
            for i, structure in enumerate(content["members"]):
                pair = np.array(arrays[f"theta{i}"]), np.array(arrays[f"facts{i}"])
                self._members.setdefault(Structure(**structure), []).append(pair)

    def add_trial(self, trial: Trial, spent: float) -> None:
        """Keep a trial."""
        self.trials.append(trial)
        self._write(spent)

    def add_member(self, structure: Structure, member: Member, spent: float) -> None:
        """Keep a draw."""
        fold = -1 if member.fold is None else member.fold
        facts = np.array([member.error, member.strength, member.gain, fold], dtype=np.float64)
        self._members.setdefault(structure, []).append((member.theta, facts))
        self._write(spent)

    def member(self, structure: Structure, draw: int) -> tuple[Array, Array] | None:
        """Return weights, and error, strength, gain and fold of a draw; None if it is not known."""
        known = self._members.get(structure, [])
        return known[draw] if draw < len(known) else None

    def _write(self, spent: float) -> None:
        self.spent = spent
        if self._path is None:
            return
        arrays: dict[str, Array] = {
            f"trial{i}": np.array(trial.errors) for i, trial in enumerate(self.trials)
        }
        drawn = [(s, pair) for s, pairs in self._members.items() for pair in pairs]
        for i, (_, (theta, facts)) in enumerate(drawn):
            arrays |= {f"theta{i}": theta, f"facts{i}": facts}
        content = {
            "made_for": self._made_for,
            "spent": spent,
            "trials": [
                {
                    "structure": asdict(trial.structure),
                    "n_features": trial.n_features,
                    "seconds": trial.seconds,
                }
                for trial in self.trials
            ],
            "members": [asdict(structure) for structure, _ in drawn],
        }
        save_npz(self._path, KIND, FORMAT_VERSION, arrays, content)


def _checksum(data: Sequence[Trajectory]) -> str:
    found = hashlib.sha256()
    for run in data:
        for array in (run.observations, run.actions):
            found.update(repr(array.shape).encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
