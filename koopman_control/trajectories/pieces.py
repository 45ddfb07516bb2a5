"""Pieces of log files, as stores are made of them: row groups, stretches of text, whole files."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import Array, optional_package, refusing
from koopman_control.common.files import PathLike
from koopman_control.trajectories.log_files import ending_of, read_columns, written_how

ROWS = 100_000  # at least in a shard, where a store has as many
BYTES = 16_000_000  # of text in a shard
PER_ROW = 50  # bytes of text or archive that count as a row
KINDS = (".parquet", ".csv", ".tsv", ".txt", ".mat", ".npz", ".zarr")

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


def files_of(path: PathLike) -> list[Path]:
    """List the files of a store, in the order of the numbers in their names."""
    whole = Path(path)
    if whole.is_dir() and not _is_zarr(whole):
        found = [
            file for file in whole.rglob("*") if _is_zarr(file) or ending_of(file) in KINDS[:-1]
        ]
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
        if not _is_zarr(file) and ending_of(file) not in KINDS[:-1]:
            raise ValueError(f"{file.name} is of no known kind; expected {', '.join(KINDS)}")
    return sorted(found, key=_in_order)


def _in_order(file: Path) -> list[Any]:
    parts = re.split(r"(\d+)", str(file))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _is_zarr(file: Path) -> bool:
    return any((file / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def pieces_of(file: Path, names: Sequence[str]) -> Sequence[Piece]:
    """List the pieces of a file, whose columns are checked."""
    if _is_zarr(file):
        return _zarr_pieces(file, names)
    kind = ending_of(file)
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
