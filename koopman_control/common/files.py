"""Writing files so that a crash, a full disk or Ctrl-C leaves the old one whole."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from koopman_control.common.border import checked

PathLike = str | os.PathLike[str]


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
