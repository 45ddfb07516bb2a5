import io
import os
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from koopman_control.common import (
    FileFormatError,
    FolderNotWritableError,
    ensure_writable_folder,
    load_npz,
    save_npz,
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


def test_arrays_and_settings_come_back_to_the_last_bit(tmp_path: Path) -> None:
    arrays = {
        "x": np.random.default_rng(0).normal(size=(5, 3)),
        "file": np.array(["a", "µ"]),
        "count": np.array(7),
        "empty": np.zeros((0, 2)),
        "flags": np.array([True, False]),
    }
    save_npz(tmp_path / "m.npz", "model", 2, arrays, {"name": "µ", "list": [1, None]})
    loaded, settings = load_npz(tmp_path / "m.npz", "model", 2)
    assert settings == {"name": "µ", "list": [1, None]}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_equal_content_gives_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_npz(tmp_path / name, "model", 1, {"x": np.arange(3)}, {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_kind_or_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    save_npz(tmp_path / "m.npz", "model", 1, {"x": np.arange(3)}, {})
    with pytest.raises(FileFormatError, match="holds 'model'; expected 'trajectories'"):
        load_npz(tmp_path / "m.npz", "trajectories", 1)
    with pytest.raises(FileFormatError, match=r"version 1 of 'model'.*reads 2"):
        load_npz(tmp_path / "m.npz", "model", 2)


def test_changed_numbers_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3.0)}, {})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    np.save(buffer, np.array([0.0, 1.0, 2.5]))
    entries["x.npy"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(FileFormatError, match="checksum"):
        load_npz(path, "model", 1)


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3.0)}, {})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="damaged"):
            load_npz(path, "model", 1)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_every_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3.0)}, {"a": 1})
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(bytes(damaged))
        try:
            arrays, settings = load_npz(path, "model", 1)
        except FileFormatError:
            continue
        np.testing.assert_array_equal(arrays["x"], np.arange(3.0))
        assert settings == {"a": 1}


def test_a_single_array_file_and_plain_text_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "b.npz").write_text("hello")
    for name in ("a.npy", "b.npz"):
        with pytest.raises(FileFormatError, match="no model file"):
            load_npz(tmp_path / name, "model", 1)


def test_pickled_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Python objects"):
        save_npz(tmp_path / "m.npz", "model", 1, {"x": np.array([{}], dtype=object)}, {})
    np.savez(tmp_path / "m.npz", meta=np.array([{}], dtype=object))
    with pytest.raises(FileFormatError, match="no model file"):
        load_npz(tmp_path / "m.npz", "model", 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*m\.npz"):
        load_npz(tmp_path / "m.npz", "model", 1)


def test_settings_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_npz(tmp_path / "m.npz", "model", 1, {}, {"x": object()})
    with pytest.raises(ValueError, match="JSON"):
        save_npz(tmp_path / "m.npz", "model", 1, {}, {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = ensure_writable_folder(tmp_path / "runs" / "first")
    assert folder.is_dir()
    assert not list(folder.iterdir())


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotWritableError, match="choose another folder"):
        ensure_writable_folder(tmp_path / "file" / "runs")
