"""A full disk or a folder that cannot be written to: nothing is lost, and one sentence says so."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common import (
    FileNotWritableError,
    load_npz,
    save_npz,
    write_bytes_atomically,
    write_text_atomically,
)
from koopman_control.trajectories import collect, load_trajectories

BIG = b"x" * 1_000_000


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a quota would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "result"
    write_bytes_atomically(path, b"old")
    with (
        files_of_at_most(500_000),
        pytest.raises(FileNotWritableError, match=r"cannot write .*result: File too large, after"),
    ):
        write_bytes_atomically(path, BIG)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3)}, {})
    with files_of_at_most(500_000), pytest.raises(FileNotWritableError, match="make room"):
        save_npz(path, "model", 1, {"x": np.zeros(100_000)}, {})
    np.testing.assert_array_equal(load_npz(path, "model", 1)[0]["x"], np.arange(3))
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_only_when_the_file_is_brought_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "result"
    write_text_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileNotWritableError, match="No space left on device, after 1 MB; what was"):
        write_bytes_atomically(path, BIG)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/result", "file/result", "folder"])
def test_places_that_cannot_be_written_to_are_named(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotWritableError, match=rf"cannot write .*{place}: .*another folder"):
        write_text_atomically(tmp_path / place, "new")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_collection_whose_checkpoint_is_full_keeps_what_it_had(tmp_path: Path) -> None:
    def fill(steps: int) -> None:
        if steps == 250:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))

    with files_of_at_most(10_000_000), pytest.raises(FileNotWritableError, match="episode-000001"):
        collect("Pendulum-v1", n_steps=600, on_step=fill, checkpoint=tmp_path)
    (kept,) = tmp_path.iterdir()
    assert len(load_trajectories(kept)[0]) == 200
    found = collect("Pendulum-v1", n_steps=600, checkpoint=tmp_path)
    for run, expected in zip(found, collect("Pendulum-v1", n_steps=600), strict=True):
        np.testing.assert_array_equal(run.observations, expected.observations)


SCRIPT = """
import sys
from pathlib import Path
from koopman_control.common import FileNotWritableError, write_bytes_atomically
path = Path(sys.argv[1]) / "result"
write_bytes_atomically(path, b"old")
try:
    write_bytes_atomically(path, b"x" * 1_000_000)
except FileNotWritableError as error:
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
    print(error)
"""


def in_small_disk(folder: Path, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run Python where folder is a file system of its own, in a name space of its own."""
    command = f'mount -t tmpfs -o {options} none "$0" && exec "$1" -c "$2" "$0"'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, str(folder), sys.executable, script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


needs_mounting = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    ).returncode
    != 0,
    reason="file systems cannot be mounted here",
)


@needs_mounting
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    result = in_small_disk(tmp_path, "size=64k", SCRIPT)
    assert result.returncode == 0, result.stderr
    assert "cannot write" in result.stdout
    assert "No space left on device" in result.stdout


READ_ONLY = """
import sys
from koopman_control.common import FolderNotWritableError, ensure_writable_folder
from koopman_control.common import FileNotWritableError, write_text_atomically
for attempt in (ensure_writable_folder, lambda f: write_text_atomically(f + "/result", "new")):
    try:
        attempt(sys.argv[1])
    except (FolderNotWritableError, FileNotWritableError) as error:
        print(error)
"""


@needs_mounting
def test_a_disk_that_is_read_only(tmp_path: Path) -> None:
    result = in_small_disk(tmp_path, "size=64k,ro", READ_ONLY)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.startswith(f"cannot write to the folder {tmp_path}: Read-only file system; choose")
    assert second.startswith(f"cannot write {tmp_path}/result: Read-only file system, after 0 MB")
