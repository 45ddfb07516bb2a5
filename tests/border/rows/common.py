"""What every room uses: checks, files, contents."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

import koopman_control.common as common
from tests.border.rows.row import Row, fields


def write(file: BinaryIO) -> None:
    file.write(b"text")


def file_made() -> str:
    common.save_npz("kept.npz", "numbers", 1, {"x": np.ones(2)}, {})
    return "kept.npz"


def folder_made() -> str:
    common.ensure_writable_folder("folder")
    common.list_contents("folder", {"a": 1})
    return "folder"


ROWS = [
    Row("refusing", common.refusing, fields(sentence="it is damaged")),
    Row(
        "save_npz",
        common.save_npz,
        lambda: dict(
            path="new.npz", kind="numbers", format_version=1, arrays={"x": np.ones(2)}, settings={}
        ),
    ),
    Row(
        "load_npz",
        common.load_npz,
        lambda: dict(path=file_made(), kind="numbers", format_version=1),
    ),
    Row(
        "list_contents", common.list_contents, lambda: dict(folder=folder_made(), settings={"a": 1})
    ),
    Row("check_contents", common.check_contents, lambda: dict(folder=folder_made())),
    Row("ensure_writable_folder", common.ensure_writable_folder, fields(path=Path("folder"))),
    Row("write_atomically", common.write_atomically, fields(path="file", write=write)),
    Row("write_bytes_atomically", common.write_bytes_atomically, fields(path="file", data=b"text")),
    Row("write_text_atomically", common.write_text_atomically, fields(path="file", text="text")),
    Row("optional_package", common.optional_package, fields(name="numpy", extra="test")),
]
