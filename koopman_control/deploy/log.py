"""The log of a served controller: a table that `identify` and `from_table` read again."""

from __future__ import annotations

import csv
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.common.files import FileNotWritableError, PathLike
from koopman_control.identification import LiftedModel

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class StepLog:
    """A CSV file with a row for each step, written as it happens.

    Columns: `time` (seconds since the start), `run` (counts episodes), the observation, the input
    applied from then on (`u0`, ...), measured inputs (`d0`, ...), and what the controller said:
    `rung`, `act_us`, `late`, `missed`, `trust`. What was not measured is empty.

    Args:
        path: The file; it must not exist yet, and is made with the first row.
        model: Names the columns of the observation that are states; others are `y0`, ...
        n_inputs: Number of controlled inputs.
        n_measured: Number of measured inputs.

    Attributes:
        error: Why nothing more is written; empty if all is well.

    Raises:
        FileNotWritableError: The file exists already, or its folder cannot be written to.
    """

    @checked
    def __init__(
        self, path: PathLike, model: LiftedModel, n_inputs: int, n_measured: int = 0
    ) -> None:
        positive_int("n_inputs", n_inputs)
        positive_int("n_measured", n_measured, minimum=0)
        self.path = Path(path)
        self.observations = tuple(_names(model))
        self.actions = tuple(f"u{i}" for i in range(n_inputs))
        self.disturbances = tuple(f"d{i}" for i in range(n_measured))
        self.error = ""
        self._file: TextIO | None = None
        if self.path.exists():
            raise FileNotWritableError(
                f"there is a file {path} already, and a log replaces none; choose another name"
            )
        if not os.access(self.path.parent, os.W_OK):
            raise FileNotWritableError(
                f"cannot write the log {path}: there is no such folder, or "
                "it is read-only; choose another one"
            )

    def _open(self) -> None:
        """Make the file, and write the names of the columns."""
        self._file = open(self.path, "x", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        said = ("rung", "act_us", "late", "missed", "trust")
        head = ("time", "run", *self.observations, *self.actions, *self.disturbances, *said)
        self._rows.writerow(head)

    def write(
        self,
        time: float,
        run: int,
        y: Array | None,
        u: Array,
        disturbance: Array | None,
        said: tuple[Any, ...],
    ) -> None:
        """Write a row; the loop goes on if that fails, and `error` says why."""
        if self.error:
            return
        seen = np.full(len(self.observations), np.nan) if y is None else y
        known = np.full(len(self.disturbances), np.nan)
        if disturbance is not None and len(known):
            known = np.atleast_2d(disturbance)[0]
        numbers = [_cell(value) for value in (*seen.tolist(), *u.tolist(), *known.tolist())]
        try:
            if self._file is None:
                self._open()
            assert self._file is not None
            self._rows.writerow([f"{time:.6f}", run, *numbers, *said])
            self._file.flush()
        except OSError as error:  # the disk is full, say
            self.error = f"the log ends at {time:.3f} s: {error.strerror or error}"

    def close(self) -> None:
        """Close the file, if there is one."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()


def _cell(value: float) -> str:
    return repr(value) if np.isfinite(value) else ""


def _names(model: LiftedModel) -> list[str]:
    """Name the columns of observations: after the states where these are plain columns."""
    coordinates = model.coordinates
    names = [f"y{i}" for i in range(coordinates.n_observations)]
    for name, column in zip(model.state_names, coordinates.columns, strict=False):
        if not isinstance(column, tuple) and PLAIN.fullmatch(name) and name not in names:
            names[column] = name
    return names
