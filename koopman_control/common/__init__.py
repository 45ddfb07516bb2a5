"""What every room uses: argument checks, files, and the controller protocol."""

from koopman_control.common.arrays import (
    Array,
    bounds_array,
    finite_array,
    positive_float,
    positive_int,
    read_only,
    real_array,
)
from koopman_control.common.border import optional_package
from koopman_control.common.files import (
    FileFormatError,
    FileNotWritableError,
    FolderNotWritableError,
    PathLike,
    check_contents,
    ensure_writable_folder,
    list_contents,
    load_npz,
    refusing,
    save_npz,
    write_atomically,
    write_bytes_atomically,
    write_text_atomically,
)
from koopman_control.common.protocols import Controller, begin_episode

__all__ = [
    "Array",
    "Controller",
    "FileFormatError",
    "FileNotWritableError",
    "FolderNotWritableError",
    "PathLike",
    "begin_episode",
    "bounds_array",
    "check_contents",
    "ensure_writable_folder",
    "finite_array",
    "list_contents",
    "load_npz",
    "optional_package",
    "positive_float",
    "positive_int",
    "read_only",
    "real_array",
    "refusing",
    "save_npz",
    "write_atomically",
    "write_bytes_atomically",
    "write_text_atomically",
]
