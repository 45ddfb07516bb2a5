"""Files that are safe to share: written in one go or not at all, checked, never executed.

Arrays and settings go into one `.npz` with a format version and a SHA-256; a folder of results gets
a list of its contents, so that a damaged or exchanged file is noticed.
"""

import hashlib
import json
import math
import operator
import os
import re
import secrets
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.border import checked

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PathLike = str | os.PathLike[str]
LOCKED = 1 << 30  # the byte that stands for a file where only bytes can be locked: beyond its end


class FileFormatError(ValueError):
    """The file is damaged, of another kind, or of a format this version cannot read."""


class FileNotWritableError(OSError):
    """A file cannot be written: the disk is full, say, or its folder is read-only."""


class FolderNotWritableError(OSError):
    """Results cannot be written to the folder."""


@checked
def write_atomically(path: PathLike, write: Callable[[BinaryIO], None]) -> None:
    """Let write fill a new file, then put it in place of path in one go.

    The new file is made in the same folder and reaches the disk before it is renamed. When write
    fails or is interrupted, what was at path before stays.

    Args:
        path: Where the file goes; its folder must exist.
        write: Called once with the open binary file.

    Raises:
        FileNotWritableError: The folder cannot be written to, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    written = 0
    try:
        with open(temporary, "xb") as file:
            try:
                write(file)
                file.flush()
            finally:
                written = file.tell()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        _remove(temporary)
        raise FileNotWritableError(
            f"cannot write {os.fspath(path)}: {error.strerror or error}, after {written / 1e6:.3g} "
            "MB; what was there before is untouched: make room, or choose another folder"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Bring the new name itself to the disk, on systems that let a folder be opened for that."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@checked
def write_text_atomically(path: PathLike, text: str) -> None:
    """Write text as UTF-8; see :func:`write_atomically`."""
    write_bytes_atomically(path, text.encode("utf-8"))


@checked
def write_bytes_atomically(path: PathLike, data: bytes) -> None:
    """Write bytes as they are; see :func:`write_atomically`."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    write_atomically(path, write)


@checked
def ensure_writable_folder(path: PathLike) -> Path:
    """Make the folder if need be, and find out now rather than later that it can be written to.

    Raises:
        FolderNotWritableError: It cannot be made, or no file can be made in it.
    """
    folder = Path(path)
    probe = folder / f".probe-{secrets.token_hex(6)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise FolderNotWritableError(
            f"cannot write to the folder {folder}: {reason}; choose another folder"
        ) from error
    return folder


@checked
def fresh_folder(path: PathLike) -> Path:
    """Make a folder that nobody has yet: `path`, or `path-2`, `path-3`, ... if it is taken.

    Of two processes that ask at the same time, each gets its own.

    Raises:
        FolderNotWritableError: It cannot be made, or no file can be made in it.
    """
    wanted = Path(path)
    ensure_writable_folder(wanted.parent)
    numbers = count(2)
    folder = wanted
    while True:
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            folder = wanted.with_name(f"{wanted.name}-{next(numbers)}")
        except OSError as error:
            raise FolderNotWritableError(
                f"cannot make the folder {folder}: {error.strerror or error}; choose another one"
            ) from error


class Claim:
    """Something that one process at a time has, and that a file stands for.

    The operating system takes it back when the process ends, however it ends.

    Args:
        path: The file; it is there while somebody has the claim, or if a holder was killed.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._held: int | None = None

    def take(self) -> bool:
        """Try to get hold of it; returns at once whether that worked.

        Raises:
            FileNotWritableError: The folder cannot be written to, or knows no locks.
        """
        while True:
            try:
                opened = os.open(self.path, os.O_RDWR | os.O_CREAT)
                if not _locked(opened, wait=False):
                    os.close(opened)
                    return False
            except OSError as error:
                raise FileNotWritableError(
                    f"cannot lock {self.path}: {error.strerror or error}; choose another folder"
                ) from error
            # Whoever had it may have removed the file after it was opened here.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(opened), os.stat(self.path)):
                    self._held = opened
                    return True
            os.close(opened)

    def release(self) -> None:
        """Let go of it, if it is held."""
        if self._held is None:
            return
        opened, self._held = self._held, None
        with suppress(OSError):  # not while it is open, on some systems
            self.path.unlink()
        os.close(opened)
        if sys.platform == "win32":
            with suppress(OSError):
                self.path.unlink()


@contextmanager
def shared(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file to read and append, made if need be, while no other process does that."""
    with open(path, "a+b") as file:
        while not _locked(file.fileno(), wait=True):
            time.sleep(0.01)
        yield file
        file.flush()


def _locked(opened: int, wait: bool) -> bool:
    """Lock an open file until it is closed; returns whether that worked."""
    try:
        if sys.platform == "win32":
            os.lseek(opened, LOCKED, os.SEEK_SET)
            msvcrt.locking(opened, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    return True


AnyArray = NDArray[Any]
Order = Literal["C", "F"]

HEADER, CHECKSUM = "header.json", "sha256"
OLD_HEADER = "meta.npy"  # of files saved before there was a header.json
LARGEST = 2**34  # bytes of a file, 16 GiB
# Booleans, integers, floats, complex numbers and text, in either byte order.
_TYPES = re.compile(r"[<>|](b1|[iu][1248]|f[248]|c8|c16|U[1-9]\d{0,5})")


@checked
def save_npz(
    path: PathLike,
    kind: str,
    format_version: int,
    arrays: Mapping[str, AnyArray],
    settings: Mapping[str, Any],
) -> None:
    """Write arrays and settings as one checked .npz; :func:`load_npz` reads it.

    Args:
        path: Where the file goes.
        kind: What it holds, such as "trajectories"; refused by readers of other kinds.
        format_version: Version of that kind's layout.
        arrays: Arrays of numbers, booleans or text, by name; no NaN.
        settings: Anything JSON can hold; no NaN.

    Raises:
        TypeError: An array holds Python objects, or a setting is nothing JSON knows.
        ValueError: An array holds NaN.
        FileNotWritableError: The file cannot be written; what was there stays.
    """
    plain = {name: _ordered(np.asarray(array)) for name, array in arrays.items()}
    for name, array in plain.items():
        if not _TYPES.fullmatch(array.dtype.str):
            raise TypeError(
                f"array {name!r} holds {array.dtype}; only numbers, booleans and text can be saved"
            )
        if trouble := _nan_in(name, array):
            raise ValueError(f"{trouble}: such a file would not be read again")
    facts = {
        "kind": kind,
        "format_version": format_version,
        "package_version": package_version(),
        "arrays": {
            name: {"type": a.dtype.str, "shape": a.shape, "order": _order(a)}
            for name, a in plain.items()
        },
        "settings": settings,
    }
    header = json_text(facts, sort_keys=True).encode()
    digest = _checksum(header, (plain[name].ravel("K").view(np.uint8) for name in sorted(plain)))
    write_atomically(path, lambda file: _write(file, header, digest, plain))


@checked
def load_npz(
    path: PathLike, kind: str, format_version: int
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Read what :func:`save_npz` wrote; the memory used is in proportion to the file's size.

    Returns:
        The arrays by name, read-only, and the settings.

    Raises:
        FileNotFoundError: There is no such file.
        FileFormatError: It is damaged, of another kind, or of a format version not known here.
    """
    name, what = os.fspath(path), f"no {kind} file of koopman-control"
    size = _checked_size(path, what)
    with open(path, "rb") as file, refusing(f"{name} is {what}, or it is damaged: make it again"):
        with zipfile.ZipFile(file) as archive:
            members = _members(name, archive, size)
            header = archive.read(members.pop(HEADER))
            facts = json.loads(header, parse_constant=_no_number)
            _check_kind(name, facts, kind, format_version)
            expected = archive.read(members.pop(CHECKSUM)).decode("ascii")
            raw = {key: archive.read(members.pop(f"{key}.npy")) for key in sorted(facts["arrays"])}
        if members:
            raise FileFormatError(f"{name} is damaged: it holds {min(members)!r} as well")
        arrays = {key: _array(raw[key], size, **form) for key, form in facts["arrays"].items()}
        ends = (memoryview(data)[len(data) - arrays[key].nbytes :] for key, data in raw.items())
        if _checksum(header, ends) != expected:
            raise FileFormatError(f"{name} is damaged: its checksum does not match; make it again")
        for key, array in arrays.items():
            if trouble := _nan_in(key, array):
                raise FileFormatError(f"{name} is damaged: {trouble}; make it again")
        settings: dict[str, Any] = facts["settings"]
        return arrays, settings


def json_text(content: Any, **form: Any) -> str:
    """Write content that holds somebody's settings as strict JSON.

    Raises:
        TypeError | ValueError: A setting is nothing that JSON can hold.
    """
    try:
        return json.dumps(content, allow_nan=False, **form)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"settings cannot be written as JSON: {error}; expected texts, finite numbers, True, "
            "False and None, and lists and dicts of them"
        ) from None


@contextmanager
@checked
def refusing(sentence: str) -> Iterator[None]:
    """Turn whatever a stranger's content makes go wrong into a FileFormatError with a sentence."""
    try:
        yield
    except (FileFormatError, MemoryError):
        raise
    except Exception as error:  # zipfile, json and numpy raise a dozen different ones
        detail = str(error).partition("\n")[0][:200] or type(error).__name__
        raise FileFormatError(f"{sentence} ({detail})") from error


def _checked_size(path: PathLike, what: str) -> int:
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"there is no file {os.fspath(path)}")
    if not file.is_file():
        raise FileFormatError(f"{os.fspath(path)} is {what}: it is a folder or a device")
    size = file.stat().st_size
    if size > LARGEST:
        raise FileFormatError(
            f"{os.fspath(path)} has {size / 2**30:.1f} GiB; expected at most {LARGEST >> 30} GiB: "
            "split it"
        )
    return size


def _members(name: str, archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, once their sizes are known to be those of bytes in the file."""
    listed = archive.infolist()
    members = {info.filename: info for info in listed}
    if OLD_HEADER in members and HEADER not in members:
        raise FileFormatError(f"{name} is from an older version of koopman-control; make it again")
    as_they_are = all(
        info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
        for info in listed
    )
    total = sum(info.file_size for info in listed)
    if len(members) < len(listed) or not as_they_are or total > size:
        raise ValueError("members are listed twice, compressed, or larger than the file")
    return members


def _check_kind(name: str, facts: Mapping[str, Any], kind: str, format_version: int) -> None:
    if facts["kind"] != kind:
        raise FileFormatError(f"{name} holds {facts['kind']!r}; expected {kind!r}")
    if facts["format_version"] != format_version:
        raise FileFormatError(
            f"{name} has format version {facts['format_version']} of {kind!r}; this version of "
            f"koopman-control reads {format_version}: make it again, or install the other version"
        )


def _no_number(word: str) -> float:
    raise ValueError(f"its settings hold {word}, which is no number")


def _nan_in(name: str, array: AnyArray) -> str:
    """Say where an array holds NaN, which no checksum tells; else return nothing.

    Infinity may be a bound; whoever reads an array knows whether it is one.
    """
    if array.dtype.kind not in "fc" or not np.isnan(array).any():
        return ""
    where = [int(i) for i in np.argwhere(np.isnan(array))[0]]
    return f"array {name!r} holds NaN at {where}; expected numbers only"


def _array(raw: bytes, size: int, type: str, shape: list[int], order: Order) -> AnyArray:
    """View the end of a .npy member as the array its header announces."""
    if not _TYPES.fullmatch(type) or order not in ("C", "F"):
        raise ValueError(f"no array has type {type!r} and order {order!r}")
    # Empty arrays may be long in their other dimensions, but not longer than the file.
    if math.prod(max(operator.index(n), 1) for n in shape) > size:
        raise ValueError(f"an array of shape {shape!r} is larger than the file")
    dtype = np.dtype(type)
    start = len(raw) - math.prod(shape) * dtype.itemsize  # what is before is for other programs
    if start < 0:  # numpy itself would read before the buffer
        raise ValueError(
            f"{len(raw)} bytes cannot hold an array of shape {shape!r} and type {type}"
        )
    return np.ndarray(tuple(shape), dtype, raw, start, order=order)


def _checksum(header: bytes, parts: Iterator[Any]) -> str:
    digest = hashlib.sha256(header)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _write(file: BinaryIO, header: bytes, digest: str, arrays: Mapping[str, AnyArray]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in ((HEADER, header), (CHECKSUM, digest.encode())):
            archive.writestr(_entry(name), data)
        for name, array in sorted(arrays.items()):  # equal content gives equal files
            with archive.open(_entry(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def _entry(name: str) -> zipfile.ZipInfo:
    # A fixed date, so that it does not tell when it was written.
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


def _order(array: AnyArray) -> Order:
    return "C" if array.flags.c_contiguous else "F"


def _ordered(array: AnyArray) -> AnyArray:
    """Return the array itself if its numbers lie one after another, else such a copy."""
    return array if array.flags.forc else array.copy("C")


def package_version() -> str:
    """Return the version of this package, or "unknown"."""
    try:
        return version("koopman-control")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


NAME = "contents.json"
FORMAT_VERSION = 1
LONGEST = 2**24  # bytes of a list


@checked
def list_contents(folder: PathLike, settings: Mapping[str, Any]) -> None:
    """Write contents.json for the files that lie in a folder.

    Args:
        folder: The folder; folders in it are left out.
        settings: What made the files, as JSON can hold it; no NaN.

    Raises:
        FileNotFoundError: There is no such folder.
        FileNotWritableError: The list cannot be written.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    own = (NAME, ".")  # names beginning with a dot are files that a kill left half written
    files = sorted(path for path in Path(folder).iterdir() if not path.name.startswith(own))
    contents = {
        "format_version": FORMAT_VERSION,
        "package_version": package_version(),
        "settings": settings,
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": _digest(path)}
            for path in files
            if path.is_file()
        },
    }
    listed = {"contents": contents, "sha256": _signature(contents)}
    write_text_atomically(Path(folder) / NAME, json_text(listed, indent=1) + "\n")


@checked
def check_contents(folder: PathLike) -> dict[str, Any]:
    """Check that every file of a folder of results is as it was written.

    Args:
        folder: A folder that `koopman-control run`, `forecast` or `Evaluation.report` has made.

    Returns:
        The settings that made it.

    Raises:
        FileNotFoundError: There is no contents.json in the folder.
        FileFormatError: The list or a file is damaged, or a file is missing; the message names it.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise FileNotFoundError(f"there is no list {path} of what the folder holds")
    with refusing(f"{path} is no list of results, or it is damaged: run it again"):
        if path.stat().st_size > LONGEST:
            raise ValueError(f"it has more than {LONGEST} bytes")
        listed = json.loads(path.read_text("utf-8"))
        contents = listed["contents"]
        if listed["sha256"] != _signature(contents):
            raise ValueError("its checksum does not match")
        if contents["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format version is {contents['format_version']}")
        for name, facts in contents["files"].items():
            _check(Path(folder), name, facts)
        settings: dict[str, Any] = contents["settings"]
        return settings


def _check(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    if Path(name).name != name:
        raise ValueError(f"it lists {name!r}, which is not in the folder")
    path = folder / name
    if not path.is_file():
        raise FileFormatError(f"{path} is missing: run it again")
    if path.stat().st_size != facts["size"] or _digest(path) != facts["sha256"]:
        raise FileFormatError(f"{path} is not as it was written: run it again")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signature(contents: Any) -> str:
    return hashlib.sha256(json_text(contents, sort_keys=True).encode()).hexdigest()
