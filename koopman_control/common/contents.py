"""The list of what a folder of results holds, so that a damaged or exchanged file is noticed.

Pages, pictures and tables carry no checksum of their own. ``contents.json`` beside them lists size
and SHA-256 of every file, the settings that made them, and a checksum of the list itself.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koopman_control.common.archive import json_text, package_version, refusing
from koopman_control.common.border import checked
from koopman_control.common.files import FileFormatError, PathLike, write_text_atomically

NAME = "contents.json"
FORMAT_VERSION = 1
LONGEST = 2**24  # bytes of a list


@checked
def list_contents(folder: PathLike, settings: Mapping[str, Any]) -> None:
    """Write contents.json for the files that lie in a folder.

    Args:
        folder: The folder; folders in it are left out.
        settings: What made the files, as JSON can hold it; no NaN.

    Raises:
        FileNotFoundError: There is no such folder.
        FileNotWritableError: The list cannot be written.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    own = (NAME, ".")  # names beginning with a dot are files that a kill left half written
    files = sorted(path for path in Path(folder).iterdir() if not path.name.startswith(own))
    contents = {
        "format_version": FORMAT_VERSION,
        "package_version": package_version(),
        "settings": settings,
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": _digest(path)}
            for path in files
            if path.is_file()
        },
    }
    listed = {"contents": contents, "sha256": _signature(contents)}
    write_text_atomically(Path(folder) / NAME, json_text(listed, indent=1) + "\n")


@checked
def check_contents(folder: PathLike) -> dict[str, Any]:
    """Check that every file of a folder of results is as it was written.

    Args:
        folder: A folder that `koopman-control run`, `forecast` or `Evaluation.report` has made.

    Returns:
        The settings that made it.

    Raises:
        FileNotFoundError: There is no contents.json in the folder.
        FileFormatError: The list or a file is damaged, or a file is missing; the message names it.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise FileNotFoundError(f"there is no list {path} of what the folder holds")
    with refusing(f"{path} is no list of results, or it is damaged: run it again"):
        if path.stat().st_size > LONGEST:
            raise ValueError(f"it has more than {LONGEST} bytes")
        listed = json.loads(path.read_text("utf-8"))
        contents = listed["contents"]
        if listed["sha256"] != _signature(contents):
            raise ValueError("its checksum does not match")
        if contents["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format version is {contents['format_version']}")
        for name, facts in contents["files"].items():
            _check(Path(folder), name, facts)
        settings: dict[str, Any] = contents["settings"]
        return settings


def _check(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    if Path(name).name != name:
        raise ValueError(f"it lists {name!r}, which is not in the folder")
    path = folder / name
    if not path.is_file():
        raise FileFormatError(f"{path} is missing: run it again")
    if path.stat().st_size != facts["size"] or _digest(path) != facts["sha256"]:
        raise FileFormatError(f"{path} is not as it was written: run it again")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signature(contents: Any) -> str:
    return hashlib.sha256(json_text(contents, sort_keys=True).encode()).hexdigest()
