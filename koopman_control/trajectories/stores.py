"""Stores: many or large log files as a sequence of readers, each of a shard that fits into memory.

A shard is a row group of a Parquet file, a stretch of a text or a Zarr group, or a whole file;
neighbouring small ones go together. Opening looks at names of columns only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, overload

import numpy as np

from koopman_control.common import positive_float, refusing
from koopman_control.common.border import checked, require
from koopman_control.common.files import PathLike
from koopman_control.trajectories import pieces
from koopman_control.trajectories.logs import from_table, usual_step
from koopman_control.trajectories.pieces import Piece, Table, Whole, files_of, pieces_of
from koopman_control.trajectories.store import load_trajectories
from koopman_control.trajectories.table import Marker, looks_marked
from koopman_control.trajectories.trajectory import Trajectory

DRIFT = 0.01  # relative; sampling times of shards that differ by more are no jitter


@dataclass(frozen=True)
class Layout:
    """How rows become trajectories.

    Args:
        observations: Names of the observation columns.
        actions: Names of the action columns.
        time: Name of the column of times, or None.
        run: Name of the column that labels runs, or None.
        dt: Sampling time in seconds, or None.
        missing: Markers of missing values.
        known: Further fields of every trajectory.
        resampled: Whether rows of another rate are brought to `dt`, rather than refused.
    """

    observations: tuple[str, ...]
    actions: tuple[str, ...]
    time: str | None
    run: str | None
    dt: float | None
    missing: tuple[Marker, ...]
    known: tuple[tuple[str, Any], ...]
    resampled: bool

    @property
    def names(self) -> list[str]:
        """Columns to read."""
        further = [name for name in (self.time, self.run) if name is not None]
        return list(dict.fromkeys([*self.observations, *self.actions, *further]))

    def trajectories(self, table: Table) -> list[Trajectory]:
        """Make the rows of a shard trajectories: as they are where they can be, else cleaned."""
        plain = self._as_they_are(table)
        if plain is not None:
            return plain
        if self.time is not None and self.dt is not None and not self.resampled:
            usual = usual_step(table, self.observations, self.actions, self.time, self.run)
            if abs(usual - self.dt) > DRIFT * self.dt:
                raise ValueError(
                    f"is sampled every {usual:g} s and the first shard every {self.dt:g} s; "
                    "expected one rate: store others apart, or give dt to bring all to it"
                )
        found, _ = from_table(
            table,
            list(self.observations),
            list(self.actions),
            time=self.time,
            run=self.run,
            missing=self.missing,
            dt=self.dt,
            **dict(self.known),
        )
        return found

    def _as_they_are(self, table: Table) -> list[Trajectory] | None:
        """Return trajectories of regular rows of plain numbers, None where there is more to do."""
        numeric = [name for name in self.names if name != self.run]
        if self.missing or any(table[name].dtype.kind not in "fiu" for name in numeric):
            return None
        columns = {name: np.asarray(table[name], dtype=np.float64) for name in numeric}
        used = [*self.observations, *self.actions]
        if any(
            not np.isfinite(columns[name]).all() or looks_marked(columns[name]) for name in used
        ):
            return None
        n_rows = len(columns[used[0]])
        cuts = np.zeros(0, dtype=np.intp)
        if self.run is not None:
            labels = table[self.run]
            cuts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
        if self.time is not None:
            steps = np.diff(columns[self.time])
            steps[cuts - 1] = self.dt or 0.0
            if self.dt is None or not (np.abs(steps - self.dt) <= 1e-6 * self.dt).all():
                return None
        Y = np.column_stack([columns[name] for name in self.observations])
        U = np.column_stack([columns[name] for name in self.actions])
        return [
            Trajectory(
                Y[a:b],
                U[a : b - 1],
                dt=self.dt if self.dt is not None or self.time is not None else 1.0,
                observation_names=self.observations,
                action_names=self.actions,
                **dict(self.known),
            )
            for a, b in pairwise([0, *cuts.tolist(), n_rows])
            if b - a > 1
        ]


@dataclass(frozen=True)
class Shard:
    """Reads a shard when it is called, anywhere.

    Args:
        pieces: What it is made of; none continues the one before.
        layout: How rows become trajectories; None: the files hold trajectories.
    """

    pieces: tuple[Piece, ...]
    layout: Layout | None

    def __call__(self) -> list[Trajectory]:
        """Return its trajectories.

        Raises:
            ValueError: If rows cannot be read, or differ from those of the store.
        """
        found: list[Trajectory] = []
        for piece in self.pieces:
            try:
                if self.layout is None:
                    found += load_trajectories(piece.label)
                else:
                    found += self.layout.trajectories(piece.table(self.layout.names))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{piece.label}: {error}") from error
        return found

    @property
    def name(self) -> str:
        """What messages call it."""
        more = f" and {len(self.pieces) - 1} more" if len(self.pieces) > 1 else ""
        return f"{self.pieces[0].label}{more}"


class TrajectoryStore(Sequence[Shard]):
    """A sequence of readers; `EDMDc.fit`, `SampledRNN.fit` and `fit_shards` take it as data.

    Args:
        shards: The readers. Each returns the trajectories of its shard when it is called.

    Example:
        >>> store = open_store("logs/*.parquet", ["x"], ["u"], dt=0.01)  # doctest: +SKIP
        >>> len(store), store[0]()[0]  # doctest: +SKIP
        (100, Trajectory(99999 steps, 1 observations, 1 actions, dt=0.01))
    """

    @checked
    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = tuple(shards)

    @property
    def names(self) -> list[str]:
        """What messages call the shards."""
        return [shard.name for shard in self._shards]

    @property
    def n_rows(self) -> int:
        """Rows of all files; an estimate where these are texts or archives."""
        return sum(piece.n_rows for shard in self._shards for piece in shard.pieces)

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self._shards)

    @overload
    def __getitem__(self, i: int) -> Shard: ...
    @overload
    def __getitem__(self, i: slice) -> TrajectoryStore: ...
    def __getitem__(self, i: int | slice) -> Shard | TrajectoryStore:
        """Return a reader, or a store of some of the shards."""
        require("i", i, int | slice)
        if isinstance(i, int) and not -len(self) <= i < len(self):
            raise IndexError(f"i is {i}; expected the number of one of {len(self)} shards")
        return TrajectoryStore(self._shards[i]) if isinstance(i, slice) else self._shards[i]

    def __iter__(self) -> Iterator[Shard]:
        """Go through the readers."""
        return iter(self._shards)

    def __repr__(self) -> str:
        """Say how large it is."""
        return f"TrajectoryStore({len(self)} shards, about {self.n_rows:,} rows)"


@checked
def open_store(
    path: PathLike,
    observations: Sequence[str] = (),
    actions: Sequence[str] = (),
    *,
    time: str | None = None,
    dt: float | None = None,
    run: str | None = None,
    missing: Sequence[str | int | float] = (),
    **known: Any,
) -> TrajectoryStore:
    """Open log files as a store, of which only one shard at a time is read.

    Rows become trajectories as by `from_table`. A trajectory ends with its shard: no rows are lost
    where a file goes on in the next shard, which repeats the row between, but for those that a
    memory needs. What a shard looks like inside is checked when it is read.

    Args:
        path: A file, a folder, a pattern (`logs/*.parquet`) or a Zarr group. Files are `.parquet`,
            `.csv`, `.tsv`, `.txt` (also `.gz`), `.mat` or `.npz`, taken in the order of the numbers
            in their names. An array `y` (T, 2) of a Zarr, MATLAB or NumPy file gives columns `y[0]`
            and `y[1]`.
        observations: Names of the observation columns; none, where `.npz` files hold trajectories
            from `save_trajectories`.
        actions: Names of the action columns.
        time: Name of the column of times; None for rows that follow each other evenly.
        dt: Sampling time in seconds; None takes that of the first shard, which `time` shows, or 1.
        run: Name of a column that labels runs, if there is one.
        missing: Numbers or texts that stand for a missing value, as for `from_table`.
        **known: Further fields of every `Trajectory`: action_bounds, ...

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the package that reads such files is not installed.
        ValueError: If files lack a column (the message names both), or there is nothing in them.

    Example:
        >>> store = open_store("logs", ["angle"], ["torque"], dt=0.05)  # doctest: +SKIP
        >>> EDMDc(SampledFeatures(500)).fit(store).model_  # doctest: +SKIP
    """
    files = files_of(path)
    if not observations:
        other = [file.name for file in files if file.suffix != ".npz"]
        if other:
            raise ValueError(
                f"observations is empty, but {other[0]} holds columns; name those that were "
                "observed, and the actions"
            )
        whole = [Whole(str(file), ".npz") for file in files]
        return TrajectoryStore([Shard(group, None) for group in _grouped(whole)])
    if not actions:
        raise ValueError("actions is empty; expected at least one column")
    if dt is not None:
        dt = positive_float("dt", dt)
    further = tuple(missing), tuple(known.items()), dt is not None
    layout = Layout(tuple(observations), tuple(actions), time, run, dt, *further)
    every = [piece for file in files for piece in pieces_of(file, layout.names)]
    every = [piece for piece in every if piece.n_rows]
    if not every:
        raise ValueError(f"{path} has no rows in its {len(files)} files; expected some")
    if time is not None and dt is None:
        first = every[0]
        with _naming(first.label):
            table = first.table(layout.names)
            step = usual_step(table, layout.observations, layout.actions, time, run)
        layout = replace(layout, dt=step)
    return TrajectoryStore([Shard(group, layout) for group in _grouped(every)])


def _naming(label: str) -> Any:
    return refusing(f"{label} cannot be read")


def _grouped(parts: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Put neighbouring pieces together until a shard has enough rows."""
    groups: list[list[Any]] = []
    held = pieces.ROWS
    for piece in parts:
        if held >= pieces.ROWS or held + piece.n_rows > 2 * pieces.ROWS:
            groups.append([])
            held = 0
        groups[-1].append(piece)
        held += piece.n_rows
    return [tuple(group) for group in groups]
