import os
import stat
from pathlib import Path
from typing import BinaryIO

import pytest

from koopman_control.common import (
    FolderNotWritableError,
    ensure_writable_folder,
    write_atomically,
    write_text_atomically,
)


def fail_halfway(file: BinaryIO) -> None:
    file.write(b"half")
    raise RuntimeError("power cut")


def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text_atomically(path, "old")
    with pytest.raises(RuntimeError, match="power cut"):
        write_atomically(path, fail_halfway)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_utf8_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text_atomically(path, "old")
    write_text_atomically(path, "µs")
    assert path.read_bytes() == "µs".encode()


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "ours", "")
    (tmp_path / "usual").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "usual")]
    assert modes[0] == modes[1]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    os.symlink(tmp_path / "target", tmp_path / "link")
    write_text_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = ensure_writable_folder(tmp_path / "runs" / "first")
    assert folder.is_dir()
    assert not list(folder.iterdir())


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotWritableError, match="choose another folder"):
        ensure_writable_folder(tmp_path / "file" / "runs")
