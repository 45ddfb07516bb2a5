"""Log files as columns: CSV, TSV, Parquet, MATLAB, NumPy; only what is asked for is kept.

Text is read in pieces, so that a file may be far larger than the memory. From more rows than
`most_cells` allow, whole pieces are kept at even distances, each a run of its own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import optional_package, positive_int, refusing
from koopman_control.common.border import checked
from koopman_control.common.files import FileFormatError, PathLike

PIECE = 50_000  # rows read at a time
MOST_CELLS = 20_000_000  # numbers kept, 160 MB
SEEN = 20  # records that tell how a text is written
SNIFFED = 65_536  # characters that show how a text is written
PIECES = "piece of the file"  # column that labels rows read together
TEXTS = (".csv", ".tsv", ".txt")
NO_TABLE = "{} cannot be read as a table; expected text in UTF-8 with a row of names"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Columns:
    """Columns of a log file.

    Args:
        columns: Name to values, all of one length.
        notes: What was made of the file, in words.
    """

    columns: dict[str, NDArray[Any]]
    notes: tuple[str, ...] = field(default=())


@checked
def read_columns(
    path: PathLike,
    names: Sequence[str],
    progress: Progress | None = None,
    most_cells: int = MOST_CELLS,
) -> Columns:
    """Read columns of a log file by name.

    CSV and TSV may have commas, semicolons or tabs between columns, decimal commas, a byte-order
    mark and any line ends. A two-dimensional array `y` of a MATLAB or NumPy file gives columns
    `y[0]`, `y[1]`, ...

    Args:
        path: A file named `.csv`, `.tsv`, `.txt`, `.parquet`, `.mat` or `.npz`, texts also `.gz`.
        names: Columns to read.
        progress: Called with the number of rows read so far.
        most_cells: Numbers of a text that are kept; of more, stretches at even distances.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the package that reads such files is not installed.
        ValueError: If it cannot be read, a column is missing (the message names those most alike)
            or there twice.
    """
    file, kind = _kind_of(path)
    if kind in TEXTS:
        return _read_text(file, names, progress, positive_int("most_cells", most_cells))
    table = READERS[kind](file, names)
    for name in names:
        _require(file, name, list(table))
    return Columns({name: table[name] for name in names})


@checked
def column_names(path: PathLike) -> list[str]:
    """Return the names of the columns that `read_columns` finds in a file, in their order.

    Raises:
        FileNotFoundError | ModuleNotFoundError | ValueError: As `read_columns`.
    """
    file, kind = _kind_of(path)
    if kind not in TEXTS:
        return list(READERS[kind](file, ()))
    pandas = optional_package("pandas", "forecast")
    with refusing(NO_TABLE.format(file.name)):
        return written_how(file, pandas)[2]


def _kind_of(path: PathLike) -> tuple[Path, str]:
    """Tell a file's kind by its name."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    kind = ending_of(file)
    if kind not in TEXTS and kind not in READERS:
        raise ValueError(
            f"{file.name} is of no known kind; expected a name that ends in .csv, .tsv, .txt, "
            ".parquet, .mat or .npz"
        )
    return file, kind


def ending_of(file: Path) -> str:
    """Return the end of a file's name that tells what is in it, in small letters."""
    ends = [end.lower() for end in file.suffixes]
    return ends[-2] if len(ends) > 1 and ends[-1] == ".gz" else "".join(ends[-1:])


def _require(file: Path, name: str, there: Sequence[str]) -> None:
    if there.count(name) > 1:
        raise ValueError(
            f"{file.name} has {there.count(name)} columns {name!r}; rename all but one"
        )
    if name in there:
        return
    alike = get_close_matches(name, there, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, alike))}?" if alike else ""
    shown = ", ".join(map(repr, there[:20])) + (", ..." if len(there) > 20 else "")
    raise ValueError(f"{file.name} has no column {name!r}{hint} (it has {shown})")


def _read_text(
    file: Path, names: Sequence[str], progress: Progress | None, most_cells: int
) -> Columns:
    pandas = optional_package("pandas", "forecast")
    complaint = NO_TABLE.format(file.name)
    with refusing(complaint):
        separator, decimal, header = written_how(file, pandas)
    for name in names:
        _require(file, name, header)
    places = [header.index(name) for name in names]
    budget = max(PIECE, most_cells // max(1, len(names)))
    pieces: list[list[NDArray[Any]]] = []
    stride, kept, n_rows = 1, 0, 0
    with refusing(complaint):
        reader = pandas.read_csv(
            file, sep=separator, decimal=decimal, encoding="utf-8-sig", chunksize=PIECE,
            usecols=places, header=0, names=list(range(len(header))), skipinitialspace=True,
            low_memory=False,
        )  # fmt: skip
        for i, frame in enumerate(reader):
            n_rows += len(frame)
            if i % stride == 0:
                pieces.append([frame[place].to_numpy() for place in places])
                kept += len(frame)
            if kept > budget and len(pieces) > 1:
                pieces, stride = pieces[::2], 2 * stride
                kept = sum(len(piece[0]) for piece in pieces)
            if progress is not None:
                progress(n_rows)
    if not n_rows:
        raise ValueError(f"{file.name} has a row of names and nothing below it")
    columns = {name: np.concatenate([piece[j] for piece in pieces]) for j, name in enumerate(names)}
    if stride == 1:
        return Columns(columns)
    columns[PIECES] = np.repeat(np.arange(len(pieces)), [len(piece[0]) for piece in pieces])
    note = f"kept {kept} of {n_rows} rows: {len(pieces)} stretches at even distances"
    return Columns(columns, (note,))


def written_how(file: Path, pandas: Any) -> tuple[str, str, list[str]]:
    """Find the separator, the decimal mark and the names of columns of a text."""
    opened = pandas.io.common.get_handle(file, "r", encoding="utf-8-sig", compression="infer")
    with opened as handles:
        sample = handles.handle.read(SNIFFED)
    if not sample.strip():
        raise ValueError("it is empty")
    separator = max("\t;,", key=lambda mark: _cells(_records(sample, mark)))
    names, *rows = _records(sample, separator)
    header, decimal = [name.strip(" ") for name in names], "."
    if separator != ",":
        cells = [cell for row in rows for cell in row]
        if any("," in cell and "." not in cell for cell in cells):
            decimal = ","
    return separator, decimal, header


def _records(sample: str, separator: str) -> list[list[str]]:
    """Read the first records of a text; its last one may have been cut."""
    told = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    records = list(islice((record for record in told if record), SEEN))
    cut = len(sample) == SNIFFED and 1 < len(records) < SEEN
    return records[:-1] if cut else records


def _cells(records: Sequence[Sequence[str]]) -> tuple[bool, int]:
    """Whether all records have as many cells, and how many the first one has."""
    return len({len(record) for record in records}) == 1, len(records[0])


def _read_parquet(file: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    parquet = optional_package("pyarrow.parquet", "logs")
    with refusing(f"{file.name} cannot be read as a Parquet file"):
        there = list(parquet.read_schema(file).names)
        wanted = [name for name in names if name in there]
        table = parquet.read_table(file, columns=wanted)
        found = {name: table[name].to_numpy() for name in wanted}
    return {name: found.get(name, np.empty(0)) for name in there}


def _read_numpy(file: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    with refusing(f"{file.name} cannot be read as a NumPy archive"), np.load(file) as archive:
        return _as_columns({name: archive[name] for name in archive.files})


def _read_matlab(file: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat

    complaint = f"{file.name} cannot be read as a MATLAB file"
    try:
        with refusing(complaint):
            found = loadmat(file)
    except FileFormatError as error:
        if not isinstance(error.__cause__, NotImplementedError):
            raise
        h5py = optional_package("h5py", "logs")  # version 7.3 is HDF5
        with refusing(complaint), h5py.File(file) as archive:
            found = {
                name: np.asarray(item).T
                for name, item in archive.items()
                if isinstance(item, h5py.Dataset)
            }
    return _as_columns({name: v for name, v in found.items() if not name.startswith("__")})


def _as_columns(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Name vectors by themselves and columns of matrices by place."""
    columns: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.ndim > 2:
            continue
        if array.ndim == 2 and min(array.shape) == 1:
            array = array.ravel()
        if array.ndim == 1:
            columns[name] = array
        elif array.ndim == 2:
            columns |= {f"{name}[{j}]": column for j, column in enumerate(array.T)}
    return columns


READERS: dict[str, Callable[[Path, Sequence[str]], dict[str, NDArray[Any]]]] = {
    ".parquet": _read_parquet,
    ".mat": _read_matlab,
    ".npz": _read_numpy,
}
