"""Writing files so that a crash leaves the old one, and reading them without trust.

Results are kept as one .npz: arrays, and beside them the entry ``meta``, a JSON text with the kind
of content, the version of its format, a SHA-256 over the content and the settings. Nothing is ever
unpickled, so opening a stranger's file cannot run code.
"""

import hashlib
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

PathLike = str | os.PathLike[str]
AnyArray = NDArray[Any]

META = "meta"


class FileFormatError(ValueError):
    """The file is damaged, of another kind, or of a format this version cannot read."""


class FolderNotWritableError(OSError):
    """Results cannot be written to the folder."""


def write_atomically(path: PathLike, write: Callable[[BinaryIO], None]) -> None:
    """Let write fill a new file, then put it in place of path in one go.

    The new file is made in the same folder and reaches the disk before it is renamed. When write
    fails or is interrupted, what was at path before stays.

    Args:
        path: Where the file goes; its folder must exist.
        write: Called once with the open binary file.

    Raises:
        OSError: The folder cannot be written to.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_text_atomically(path: PathLike, text: str) -> None:
    """Write text as UTF-8; see :func:`write_atomically`."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: PathLike, data: bytes) -> None:
    """Write bytes as they are; see :func:`write_atomically`."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    write_atomically(path, write)


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
        arrays: Arrays of numbers, booleans or text, by name.
        settings: Anything JSON can hold; no NaN.

    Raises:
        TypeError: An array holds Python objects, or a setting is nothing JSON knows.
    """
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    if META in plain:
        raise ValueError(f"an array is named {META!r}, which is taken; rename it")
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; only plain data can be saved")
    settings_text = json.dumps(settings, sort_keys=True, allow_nan=False)
    meta = {
        "kind": kind,
        "format_version": format_version,
        "package_version": _package_version(),
        "sha256": _checksum(plain, settings_text),
        "settings": settings_text,
    }
    entries: dict[str, AnyArray] = {META: np.array(json.dumps(meta, sort_keys=True)), **plain}
    # Through a list of entries rather than savez(**entries): an array may be named "file".
    write_atomically(path, lambda file: _write_npz(file, entries))


def load_npz(
    path: PathLike, kind: str, format_version: int
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Read what :func:`save_npz` wrote.

    Returns:
        The arrays by name, and the settings.

    Raises:
        FileNotFoundError: There is no such file.
        FileFormatError: It is damaged, of another kind, or of a format version not known here.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {os.fspath(path)}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            entries = {name: archive[name] for name in archive.files}
        meta = json.loads(str(entries.pop(META)))
        found = (meta["kind"], meta["format_version"])
        checksum, settings_text = str(meta["sha256"]), str(meta["settings"])
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        EOFError,
        OSError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise FileFormatError(
            f"{os.fspath(path)} is no {kind} file of koopman-control, or it is damaged"
        ) from error
    if found[0] != kind:
        raise FileFormatError(f"{os.fspath(path)} holds {found[0]!r}; expected {kind!r}")
    if found[1] != format_version:
        raise FileFormatError(
            f"{os.fspath(path)} has format version {found[1]} of {kind!r}; this version of "
            f"koopman-control reads {format_version}"
        )
    if _checksum(entries, settings_text) != checksum:
        raise FileFormatError(f"{os.fspath(path)} is damaged: its checksum does not match")
    settings: dict[str, Any] = json.loads(settings_text)
    return entries, settings


def _checksum(arrays: Mapping[str, AnyArray], settings_text: str) -> str:
    digest = hashlib.sha256(settings_text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write_npz(file: BinaryIO, entries: Mapping[str, AnyArray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in entries.items():
            # A fixed date, so that equal content gives equal files.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def _package_version() -> str:
    try:
        return version("koopman-control")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
