import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common import FileFormatError, load_npz, save_npz


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


def rewritten(path: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Change the members of a file; sums of the zip format then match, ours does not."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update({"x.npy": npy([0.0, 1.0, 2.5])}), "checksum"),
        (lambda m: m.update({"header.json": m["header.json"].replace(b'"a"', b'"b"')}), "checksum"),
        (lambda m: m.update({"header.json": m["header.json"].replace(b"[3]", b"[2]")}), "checksum"),
        (lambda m: m.update({"header.json": b"[" * 100_000}), "no model file"),
        (lambda m: m.update({"header.json": b"{}"}), "no model file"),
        (lambda m: m.update({"sha256": b"0" * 64}), "checksum"),
        (lambda m: m.pop("sha256"), "no model file"),
        (lambda m: m.pop("x.npy"), "no model file"),
        (lambda m: m.update({"y.npy": npy(1)}), r"holds 'y\.npy' as well"),
    ],
)
def test_changed_members_are_noticed(
    change: Callable[[dict[str, bytes]], object], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3.0)}, {"a": 1})
    rewritten(path, change)
    with pytest.raises(FileFormatError, match=says):
        load_npz(path, "model", 1)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ([10**12], "<f8"), ([20], "<f8"), ([3], "<U100000"), ([3, 10**9], "<f8"),
        ([0, 10**12], "<f8"), ([-1], "<f8"),
        ([1.5], "<f8"), ([3], "|O8"), ([3], "<U0"), ([3], "<f8,<f8"), (["3"], "<f8"), (3, "<f8"),
    ],
)  # fmt: skip
def test_a_shape_or_type_that_the_bytes_cannot_hold_is_refused_before_memory_is_asked_for(
    shape: object, dtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3.0)}, {})

    def claim(members: dict[str, bytes]) -> None:
        facts = json.loads(members["header.json"])
        facts["arrays"]["x"] |= {"shape": shape, "type": dtype}
        members["header.json"] = json.dumps(facts).encode()

    rewritten(path, claim)
    with pytest.raises(FileFormatError, match="no model file"):
        load_npz(path, "model", 1)


def test_compressed_and_repeated_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b"0" * 10_000_000)
    with pytest.raises(FileFormatError, match="compressed"):
        load_npz(path, "model", 1)
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, about what is meant here
        archive.writestr("header.json", b"{}")
        archive.writestr("header.json", b"{}")
    with pytest.raises(FileFormatError, match="listed twice"):
        load_npz(path, "model", 1)


def test_a_file_that_no_memory_could_hold_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    path.touch()
    os.truncate(path, 2**34 + 1)  # a hole: takes no space
    with pytest.raises(FileFormatError, match="expected at most 16 GiB"):
        load_npz(path, "model", 1)


def test_a_file_of_an_older_version_says_so(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "m.npz", meta=np.array("{}"), A=np.eye(2))
    with pytest.raises(FileFormatError, match="older version of koopman-control; make it again"):
        load_npz(tmp_path / "m.npz", "model", 1)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="it is a folder"):
        load_npz(tmp_path, "model", 1)


def test_other_programs_can_read_it_and_the_order_in_memory_is_kept(tmp_path: Path) -> None:
    arrays = {"f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "meta": np.arange(10)[::3]}
    save_npz(tmp_path / "m.npz", "model", 1, arrays, {})
    loaded, _ = load_npz(tmp_path / "m.npz", "model", 1)
    assert loaded["f"].flags.f_contiguous
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)
            np.testing.assert_array_equal(archive[name], array)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3.0)}, {})
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="no model file"):
            load_npz(path, "model", 1)


def test_a_flipped_bit_in_any_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_npz(path, "model", 1, {"x": np.arange(3.0)}, {"a": 1})
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
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
    with pytest.raises(TypeError, match="only numbers, booleans and text"):
        save_npz(tmp_path / "m.npz", "model", 1, {"x": np.array([{}], dtype=object)}, {})
    np.savez(tmp_path / "m.npz", x=np.array([{}], dtype=object))
    with pytest.raises(FileFormatError, match="no model file"):
        load_npz(tmp_path / "m.npz", "model", 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*m\.npz"):
        load_npz(tmp_path / "m.npz", "model", 1)


def test_without_an_installed_package_the_version_that_made_a_file_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("koopman_control.common.files.version", missing)
    save_npz(tmp_path / "m.npz", "model", 1, {}, {})
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        assert any(b'"unknown"' in archive.read(name) for name in archive.namelist())
    assert load_npz(tmp_path / "m.npz", "model", 1) == ({}, {})


def test_settings_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_npz(tmp_path / "m.npz", "model", 1, {}, {"x": object()})
    with pytest.raises(ValueError, match="JSON"):
        save_npz(tmp_path / "m.npz", "model", 1, {}, {"x": float("nan")})
    assert not list(tmp_path.iterdir())
