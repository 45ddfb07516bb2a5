"""Stores: many or large log files as a sequence of readers, each of a shard that fits into memory.

A shard is a row group of a Parquet file, a stretch of a text or a Zarr group, or a whole file;
neighbouring small ones go together. Opening looks at names of columns only.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import Array, optional_package, positive_float, refusing
from koopman_control.common.border import checked, require
from koopman_control.common.files import PathLike
from koopman_control.trajectories.log_files import read_columns, written_how
from koopman_control.trajectories.logs import from_table, usual_step
from koopman_control.trajectories.store import load_trajectories
from koopman_control.trajectories.table import Marker, looks_marked
from koopman_control.trajectories.trajectory import Trajectory

ROWS = 100_000  # at least in a shard, where a store has as many
BYTES = 16_000_000  # of text in a shard
PER_ROW = 50  # bytes of text or archive that count as a row
KINDS = (".parquet", ".csv", ".tsv", ".txt", ".mat", ".npz", ".zarr")
DRIFT = 0.01  # relative; sampling times of shards that differ by more are no jitter

Table = dict[str, NDArray[Any]]


class Piece(Protocol):
    """Part of a file: what it is called, how many rows it has, and the rows."""

    @property
    def label(self) -> str:
        """Return what messages call it."""

    @property
    def n_rows(self) -> int:
        """Return about how many rows it has."""

    def table(self, names: Sequence[str]) -> Table:
        """Read columns; a piece that others of its file follow ends with their first row."""


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
    files = _files(path)
    if not observations:
        other = [file.name for file in files if file.suffix != ".npz"]
        if other:
            raise ValueError(
                f"observations is empty, but {other[0]} holds columns; name those that were "
                "observed, and the actions"
            )
        pieces = [Whole(str(file), ".npz") for file in files]
        return TrajectoryStore([Shard(group, None) for group in _grouped(pieces)])
    if not actions:
        raise ValueError("actions is empty; expected at least one column")
    if dt is not None:
        dt = positive_float("dt", dt)
    further = tuple(missing), tuple(known.items()), dt is not None
    layout = Layout(tuple(observations), tuple(actions), time, run, dt, *further)
    every = [piece for file in files for piece in _pieces(file, layout.names)]
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


def _files(path: PathLike) -> list[Path]:
    """List the files of a store, in the order of the numbers in their names."""
    whole = Path(path)
    if whole.is_dir() and not _is_zarr(whole):
        found = [file for file in whole.rglob("*") if _is_zarr(file) or _kind(file) in KINDS[:-1]]
        found = [file for file in found if not any(_is_zarr(above) for above in file.parents)]
    elif whole.exists():
        found = [whole]
    else:
        found = [Path(file) for file in glob.glob(str(path), recursive=True)]
    if not found:
        raise FileNotFoundError(
            f"there is no file {path}; expected a file, a folder or a pattern of {', '.join(KINDS)}"
        )
    for file in found:
        if not _is_zarr(file) and _kind(file) not in KINDS[:-1]:
            raise ValueError(f"{file.name} is of no known kind; expected {', '.join(KINDS)}")
    return sorted(found, key=_in_order)


def _in_order(file: Path) -> list[Any]:
    parts = re.split(r"(\d+)", str(file))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _is_zarr(file: Path) -> bool:
    return any((file / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def _kind(file: Path) -> str:
    ends = [end.lower() for end in file.suffixes]
    return ends[-2] if len(ends) > 1 and ends[-1] == ".gz" else "".join(ends[-1:])


def _grouped(pieces: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Put neighbouring pieces together until a shard has enough rows."""
    groups: list[list[Any]] = []
    held = ROWS
    for piece in pieces:
        if held >= ROWS or held + piece.n_rows > 2 * ROWS:
            groups.append([])
            held = 0
        groups[-1].append(piece)
        held += piece.n_rows
    return [tuple(group) for group in groups]


def _pieces(file: Path, names: Sequence[str]) -> Sequence[Piece]:
    """List the pieces of a file, whose columns are checked."""
    if _is_zarr(file):
        return _zarr_pieces(file, names)
    kind = _kind(file)
    if kind == ".parquet":
        return _parquet_pieces(file, names)
    if kind in (".csv", ".tsv", ".txt") and file.suffix != ".gz":
        return _text_pieces(file, names)
    return [Whole(str(file), kind)]


def _require(file: Path, names: Sequence[str], there: Sequence[str]) -> None:
    lacking = [name for name in names if list(there).count(name) != 1]
    if lacking:
        has = ", ".join(map(repr, there[:20])) + (", ..." if len(there) > 20 else "")
        raise ValueError(
            f"{file} has no single column {lacking[0]!r}; expected the same columns in all files "
            f"of a store (it has {has})"
        )


@dataclass(frozen=True)
class Whole:
    """A file that is read at once."""

    label: str
    kind: str

    @property
    def n_rows(self) -> int:
        """About how many rows it has."""
        return max(1, Path(self.label).stat().st_size // PER_ROW)

    def table(self, names: Sequence[str]) -> Table:
        """Read columns."""
        found = read_columns(self.label, names)
        if found.notes:
            raise ValueError("is too large to be read at once; unpack it, or write it as Parquet")
        return found.columns


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file."""

    file: str
    number: int
    n_rows: int
    last: bool

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.file}, row group {self.number}"

    def table(self, names: Sequence[str]) -> Table:
        """Read columns, and the row that follows."""
        parquet = optional_package("pyarrow.parquet", "logs")
        with refusing(f"{self.file} cannot be read as a Parquet file"), open(self.file, "rb") as f:
            opened = parquet.ParquetFile(f)
            own = opened.read_row_group(self.number, columns=list(names), use_threads=False)
            found = {name: own[name].to_numpy() for name in names}
            if self.last:
                return found
            batches = opened.iter_batches(
                1, row_groups=[self.number + 1], columns=list(names), use_threads=False
            )
            more = next(iter(batches))
            return {
                name: np.append(found[name], more[name].to_numpy(zero_copy_only=False))
                for name in names
            }


def _parquet_pieces(file: Path, names: Sequence[str]) -> list[RowGroup]:
    parquet = optional_package("pyarrow.parquet", "logs")
    with refusing(f"{file} cannot be read as a Parquet file"):
        about = parquet.read_metadata(file)
        sizes = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        there = list(about.schema.to_arrow_schema().names)
    _require(file, names, there)
    return [RowGroup(str(file), i, n, i == len(sizes) - 1) for i, n in enumerate(sizes)]


@dataclass(frozen=True)
class TextLines:
    """Lines of a text, from one byte up to another."""

    file: str
    start: int
    stop: int
    last: bool
    separator: str
    decimal: str
    places: tuple[tuple[str, int], ...]

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.file}, bytes {self.start} to {self.stop}"

    @property
    def n_rows(self) -> int:
        """About how many rows it has."""
        return -(-(self.stop - self.start) // PER_ROW)

    def table(self, names: Sequence[str]) -> Table:
        """Read columns, and the row that follows."""
        pandas = optional_package("pandas", "logs")
        place = dict(self.places)
        with refusing(f"{self.file} cannot be read as a table"), open(self.file, "rb") as f:
            f.seek(self.start)
            lines = f.read(self.stop - self.start) + (b"" if self.last else f.readline())
            frame = pandas.read_csv(
                BytesIO(lines), sep=self.separator, decimal=self.decimal, header=None,
                usecols=sorted(set(place.values())), skipinitialspace=True, low_memory=False,
                encoding="utf-8",
            )  # fmt: skip
            return {name: frame[place[name]].to_numpy() for name in names}


def _text_pieces(file: Path, names: Sequence[str]) -> list[TextLines]:
    pandas = optional_package("pandas", "logs")
    with refusing(f"{file} cannot be read as a table; expected text in UTF-8 with a row of names"):
        separator, decimal, header = written_how(file, pandas)
    _require(file, names, header)
    places = tuple((name, header.index(name)) for name in names)
    size = file.stat().st_size
    with open(file, "rb") as f:
        while not f.readline().strip().strip(b"\xef\xbb\xbf"):  # up to the row of names
            pass
        edges = [f.tell()]
        while edges[-1] + BYTES < size:
            f.seek(edges[-1] + BYTES)
            f.readline()
            edges.append(f.tell())
    edges = [*[edge for edge in edges if edge < size], size] if edges[0] < size else []
    return [
        TextLines(str(file), a, b, b == size, separator, decimal, places)
        for a, b in pairwise(edges)
    ]


@dataclass(frozen=True)
class ZarrRows:
    """Rows of the arrays of a Zarr group."""

    file: str
    start: int
    stop: int
    last: bool

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.file}, rows {self.start} to {self.stop}"

    @property
    def n_rows(self) -> int:
        """How many rows it has."""
        return self.stop - self.start

    def table(self, names: Sequence[str]) -> Table:
        """Read columns, and the row that follows."""
        rows = slice(self.start, self.stop if self.last else self.stop + 1)
        with refusing(f"{self.file} cannot be read as a Zarr group"):
            group = optional_package("zarr", "cluster").open_group(self.file, mode="r")
            read: dict[str, Array] = {}
            found = {}
            for name in names:
                array, column = _zarr_column(name)
                if array not in read:
                    read[array] = np.asarray(group[array][rows])
                found[name] = read[array] if column is None else read[array][:, column]
            return found


def _zarr_column(name: str) -> tuple[str, int | None]:
    """Return the array and the column of it that a name means."""
    inside = re.fullmatch(r"(.+)\[(\d+)\]", name)
    return (name, None) if inside is None else (inside[1], int(inside[2]))


def _zarr_pieces(file: Path, names: Sequence[str]) -> list[ZarrRows]:
    zarr = optional_package("zarr", "cluster")
    with refusing(f"{file} cannot be read as a Zarr group"):
        arrays = dict(zarr.open_group(str(file), mode="r").arrays())
        there = [
            column
            for name, array in arrays.items()
            for column in (
                [name]
                if len(array.shape) == 1
                else [f"{name}[{j}]" for j in range(array.shape[-1])]
            )
        ]
    _require(file, names, there)
    used = [arrays[_zarr_column(name)[0]] for name in names]
    lengths = {int(array.shape[0]) for array in used}
    if len(lengths) > 1:
        raise ValueError(
            f"{file} has columns of {' and '.join(map(str, sorted(lengths)))} rows; expected one "
            "length"
        )
    (size,), chunk = lengths, int(used[0].chunks[0])
    step = chunk * max(1, -(-ROWS // chunk))
    edges = [*range(0, size, step), size]
    return [ZarrRows(str(file), a, b, b == size) for a, b in pairwise(edges)]
