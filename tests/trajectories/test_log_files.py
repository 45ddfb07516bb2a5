"""Log files of all kinds become columns, or one sentence says what is wrong."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from koopman_control.trajectories import from_table, log_files, read_columns

pytest.importorskip("pandas", reason="needs pip install pandas")

T = np.arange(5.0)
U, Y = np.array([1.0, 0.5, -1.0, 2.0, 0.0]), np.array([0.0, 1.5, 2.25, 3.0, -4.5])


def check(path: Path) -> None:
    found = read_columns(path, ["u", "y"])
    np.testing.assert_array_equal(found.columns["u"], U)
    np.testing.assert_array_equal(found.columns["y"], Y)
    assert list(found.columns) == ["u", "y"]


TEXTS = {
    "comma.csv": ("t,u,y", ",", "."),
    "semicolon.csv": ("t;u;y", ";", ","),
    "tab.tsv": ("t\tu\ty", "\t", "."),
    "comma_in_tabs.txt": ("t\tu\ty", "\t", ","),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_texts_of_all_habits_are_read(tmp_path: Path, name: str, mark: str, end: str) -> None:
    header, separator, decimal = TEXTS[name]
    rows = [
        separator.join(f"{v}".replace(".", decimal) for v in row)
        for row in zip(T, U, Y, strict=True)
    ]
    (tmp_path / name).write_bytes((mark + end.join([header, *rows]) + end).encode())
    check(tmp_path / name)


def test_arrays_of_matlab_and_numpy_are_columns(tmp_path: Path) -> None:
    savemat(tmp_path / "log.mat", {"u": U[:, None], "y": Y, "z": np.column_stack([U, Y])})
    np.savez(tmp_path / "log.npz", u=U, y=Y, z=np.column_stack([U, Y]))
    for name in ("log.mat", "log.npz"):
        check(tmp_path / name)
        pair = read_columns(tmp_path / name, ["z[1]"]).columns["z[1]"]
        np.testing.assert_array_equal(pair, Y)


def test_new_matlab_files_and_parquet_are_read(tmp_path: Path) -> None:
    h5py, pyarrow = pytest.importorskip("h5py"), pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    with h5py.File(tmp_path / "log.mat", "w", userblock_size=512) as file:
        file["u"], file["y"] = U[None, :], Y[None, :]
    with (tmp_path / "log.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    check(tmp_path / "log.mat")
    parquet.write_table(pyarrow.table({"t": T, "u": U, "y": Y}), tmp_path / "log.parquet")
    check(tmp_path / "log.parquet")


def test_new_matlab_files_without_h5py_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"koopman-control\[logs\]"):
        read_columns(tmp_path / "log.mat", ["u"])


def write(path: Path, text: str) -> Any:
    path.write_text(text)
    return path


def test_a_missing_column_is_named_beside_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "time,pressure,level\n0,1,2\n")
    with pytest.raises(ValueError, match="has no column 'presure'; did you mean 'pressure'"):
        read_columns(path, ["presure"])


def test_a_repeated_header_is_refused_if_it_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "u,y,y\n0,1,2\n1,2,3\n")
    np.testing.assert_array_equal(read_columns(path, ["u"]).columns["u"], [0, 1])
    with pytest.raises(ValueError, match="has 2 columns 'y'"):
        read_columns(path, ["y"])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("log.csv", "", "cannot be read as a table"),
        ("log.csv", "u,y\n", "nothing below it"),
        ("log.xls", "u,y\n1,2\n", "no known kind"),
        ("log.mat", "no such thing", "cannot be read as a MATLAB file"),
        ("log.npz", "no such thing", "cannot be read as a NumPy archive"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        read_columns(write(tmp_path / name, content), ["u"])


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_columns(tmp_path / "none.csv", ["u"])


def test_huge_files_keep_stretches_at_even_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "PIECE", 10)
    rows = "\n".join(f"{i},{2 * i}" for i in range(200))
    path, seen = write(tmp_path / "log.csv", "u,y\n" + rows), list[int]()
    found = read_columns(path, ["u", "y"], seen.append, most_cells=80)
    assert seen[-1] == 200
    kept = found.columns["u"]
    assert len(kept) <= 40
    pieces = np.split(kept, np.flatnonzero(np.diff(found.columns[log_files.PIECES])) + 1)
    firsts = np.array([int(piece[0]) for piece in pieces])
    assert len(set(np.diff(firsts))) == 1
    assert (firsts % 10 == 0).all()
    assert all((np.diff(piece) == 1).all() for piece in pieces)
    assert "of 200 rows" in found.notes[0]


def test_rows_without_times_follow_each_other() -> None:
    data, _ = from_table({"u": U, "y": Y}, ["y"], ["u"], dt=0.5)
    assert data[0].dt == 0.5
    np.testing.assert_array_equal(data[0].observations[:, 0], Y)
    np.testing.assert_array_equal(data[0].actions[:, 0], U[:-1])
