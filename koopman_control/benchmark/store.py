"""The file of results: a header, then one JSON line per run, on the disk before the next begins."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from koopman_control.benchmark.execution import Record
from koopman_control.benchmark.plan import Key
from koopman_control.common.border import checked
from koopman_control.common.files import FileFormatError, FileNotWritableError, PathLike
from koopman_control.evaluation import package_versions
from koopman_control.evaluation.report import plain

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
        FileNotWritableError: It cannot be written.
    """

    @checked
    def __init__(self, path: PathLike, settings: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self._records: dict[Key, Record] = {}
        header = {
            "format": FORMAT,
            "settings": dict(settings),
            "versions": package_versions(),
            "machine": machine(),
        }
        lines = _whole_lines(self._path) if self._path.is_file() else []
        if not lines:
            self.header = header
            self._append([header])
            return
        self.header = lines[0]
        _require_same(self._path, lines[0], header)
        for record in lines[1:]:
            self._records[_key(record)] = record

    def records(self) -> dict[Key, Record]:
        """Return what is known, in the order of the keys."""
        return dict(sorted(self._records.items()))

    @checked
    def add(self, records: Iterable[Record]) -> None:
        """Append records in one write and wait until they are on the disk.

        Raises:
            ValueError: A record does not say which run it is of.
        """
        lines = [plain(record) for record in records]
        try:
            keys = [_key(line) for line in lines]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"records holds one without a right {error}; expected task, subject, condition and "
                "seed in each"
            ) from None
        self._append(lines)
        self._records |= dict(zip(keys, lines, strict=True))

    def _append(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        try:
            with open(self._path, "ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileNotWritableError(
                f"cannot write {self._path}: {error.strerror or error}; make room, or choose "
                "another folder"
            ) from error


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
