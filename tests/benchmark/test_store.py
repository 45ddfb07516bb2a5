from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from koopman_control.benchmark import Key, RunFile
from koopman_control.benchmark.run import machine
from koopman_control.common.files import FileFormatError

SETTINGS = {"episodes": 3}


def record(seed: int, **more: Any) -> dict[str, Any]:
    return {"task": "T", "subject": "s", "condition": "c", "seed": seed, **more}


def test_records_are_read_back_in_the_order_of_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    RunFile(path, SETTINGS).add([record(1, returns=[0.1]), record(0, returns=[0.2])])
    found = RunFile(path, SETTINGS).records()
    assert list(found) == [Key("T", "s", "c", 0), Key("T", "s", "c", 1)]
    assert found[Key("T", "s", "c", 1)]["returns"] == [0.1]


def test_the_later_of_two_records_counts(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    runs = RunFile(path, SETTINGS)
    runs.add([record(0, error="first")])
    runs.add([record(0, returns=[1.0])])
    for known in (runs, RunFile(path, SETTINGS)):
        assert known.records() == {Key("T", "s", "c", 0): record(0, returns=[1.0])}


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_line_cut_off_anywhere_is_dropped_and_the_rest_stays(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "runs.jsonl"
    RunFile(path, SETTINGS).add([record(0), record(1)])
    path.write_bytes(path.read_bytes()[:-cut])
    runs = RunFile(path, SETTINGS)
    assert list(runs.records()) == [Key("T", "s", "c", 0)]
    runs.add([record(1)])
    assert len(RunFile(path, SETTINGS).records()) == 2


def test_a_header_cut_off_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"format"')
    assert RunFile(path, SETTINGS).records() == {}
    assert json.loads(path.read_text())["settings"] == SETTINGS


def test_a_processor_that_the_system_does_not_describe_is_what_python_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr("koopman_control.benchmark.run.Path", lambda _: told)
    assert machine()["processor"] == platform.processor()
    told.write_text("processor : 0\n")
    assert machine()["processor"] == platform.processor()
    told.write_text("processor : 0\nmodel name : Some CPU\n")
    assert machine()["processor"] == "Some CPU"


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    RunFile(path, SETTINGS)
    with pytest.raises(ValueError, match=r"episodes 3 \(now 4\)"):
        RunFile(path, {"episodes": 4})


def test_other_package_versions_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.jsonl"
    module = "koopman_control.benchmark.run.package_versions"
    monkeypatch.setattr(module, lambda: {"numpy": "1.0"})
    RunFile(path, SETTINGS)
    monkeypatch.setattr(module, lambda: {"numpy": "2.0"})
    with pytest.raises(ValueError, match=r"numpy 1\.0 \(now 2\.0\)"):
        RunFile(path, SETTINGS)


@pytest.mark.parametrize(
    "text", ['{"format": 7}\n', "no json\n", '{"format": 1}\n', '{"format": 2}\n{"task": "T"}\n']
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(text)
    with pytest.raises(FileFormatError, match="choose another folder"):
        RunFile(path, SETTINGS)
    assert path.read_text() == text
