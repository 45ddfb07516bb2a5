"""The file of results: a header, then one JSON line per run, on the disk before the next begins."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from koopman_control.benchmark.execution import Record
from koopman_control.benchmark.plan import Key
from koopman_control.common.files import FileFormatError
from koopman_control.evaluation import package_versions
from koopman_control.evaluation.metrics import plain

FORMAT = 1


class RunFile:
    """Results that grow by whole lines, and from which an interrupted benchmark goes on.

    A line that was cut off in the middle is dropped. Of two records of the same run the later one
    counts. The file is bound to the package versions and to the evaluation seeds.

    Args:
        path: The file; made with its first line if it is not there.
        settings: What all runs share; a file that was begun with other settings is refused.

    Raises:
        ValueError: It was begun with other settings or other package versions.
        FileFormatError: It is no such file.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._records: dict[Key, Record] = {}
        header = {
            "format": FORMAT,
            "settings": settings,
            "versions": package_versions(),
            "machine": machine(),
        }
        lines = _whole_lines(path) if path.exists() else []
        if not lines:
            self.header = header
            self._append([header])
            return
        self.header = lines[0]
        _require_same(path, lines[0], header)
        for record in lines[1:]:
            self._records[_key(record)] = record

    def records(self) -> dict[Key, Record]:
        """Return what is known, in the order of the keys."""
        return dict(sorted(self._records.items()))

    def add(self, records: Iterable[Record]) -> None:
        """Append records in one write and wait until they are on the disk."""
        lines = [plain(record) for record in records]
        self._append(lines)
        self._records |= {_key(line): line for line in lines}

    def _append(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        with open(self._path, "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


def machine() -> dict[str, Any]:
    """Describe what step times depend on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():  # where platform.processor() is empty
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Read the lines that are complete, and cut off the rest."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines and lines[0]["format"] != FORMAT:
            raise ValueError("another format")
        [_key(line) for line in lines[1:]]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{path} is no file of benchmark results, or it is damaged; choose another folder"
        ) from error
    return lines


def _require_same(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    for part in ("settings", "versions"):
        if old[part] != new[part]:
            names = sorted({*old[part], *new[part]})
            changed = [
                f"{name} {old[part].get(name)} (now {new[part].get(name)})"
                for name in names
                if old[part].get(name) != new[part].get(name)
            ]
            raise ValueError(
                f"{path} was begun with {', '.join(changed)}; results of both cannot be mixed: "
                "choose another folder, or restore what it was begun with"
            )


def _key(record: Record) -> Key:
    return Key(record["task"], record["subject"], record["condition"], int(record["seed"]))
