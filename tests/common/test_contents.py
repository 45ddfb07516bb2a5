import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from koopman_control.common import FileFormatError, check_contents, list_contents

MADE_BY = {"task": "Pendulum-v1", "seed": 0, "horizon": None, "Q": [1.0, 0.1]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text("page")
    (tmp_path / "figure.png").write_bytes(bytes(range(256)))
    (tmp_path / "checkpoint").mkdir()
    list_contents(tmp_path, MADE_BY)
    return tmp_path


def test_what_is_as_it_was_written_gives_the_settings_that_made_it(folder: Path) -> None:
    assert check_contents(folder) == MADE_BY
    list_contents(folder, MADE_BY)  # the list itself is not listed
    assert check_contents(folder) == MADE_BY


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 255), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_file_is_noticed(folder: Path, position: int, bit: int) -> None:
    whole = (folder / "figure.png").read_bytes()
    changed = bytearray(whole)
    changed[position] ^= 1 << bit
    (folder / "figure.png").write_bytes(changed)
    with pytest.raises(FileFormatError, match=r"figure.png is not as it was written: run it again"):
        check_contents(folder)
    (folder / "figure.png").write_bytes(whole)


def test_a_flipped_bit_in_the_list_is_noticed_or_harmless(folder: Path) -> None:
    path = folder / "contents.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            assert check_contents(folder) == MADE_BY
        except FileFormatError as error:
            assert "run it again" in str(error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "page.html").unlink(), r"page.html is missing"),
        (lambda f: (f / "page.html").write_text("pag"), r"page.html is not as it was written"),
        (lambda f: (f / "contents.json").write_text("[" * 100_000), "no list of results"),
        (lambda f: (f / "contents.json").write_text("{}"), "no list of results"),
        (lambda f: (f / "contents.json").write_bytes(b"\xff"), "no list of results"),
        (lambda f: os.truncate(f / "contents.json", 2**25), "more than"),
    ],
)
def test_other_damage_is_named(change: Callable[[Path], object], says: str, folder: Path) -> None:
    change(folder)
    with pytest.raises(FileFormatError, match=says):
        check_contents(folder)


def test_a_list_of_another_format_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koopman_control.common.files.FORMAT_VERSION", 99)
    with pytest.raises(FileFormatError, match="format version is"):
        check_contents(folder)


def test_a_list_never_leads_out_of_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koopman_control.common.files._signature", lambda contents: "signed")
    listed = json.loads((folder / "contents.json").read_text("utf-8")) | {"sha256": "signed"}
    listed["contents"]["files"] = {"../secret": {"size": 0, "sha256": ""}}
    (folder / "contents.json").write_text(json.dumps(listed))
    with pytest.raises(FileFormatError, match="which is not in the folder"):
        check_contents(folder)


def test_a_folder_without_a_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no list"):
        check_contents(tmp_path)
