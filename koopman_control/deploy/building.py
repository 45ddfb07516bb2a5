"""Compiling exported controllers, and calling them through ctypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

OFTEN = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O3", "-ffp-contract=fast", "-fPIC", "-shared", "-x", "c", "-")
FASTER = ("-march=native",)  # where the compiler knows it

# What a library tells beside the controller itself: its size, and where fields of it lie. It
# includes the source to see all of it.
SHIM = """
#include "{name}.c"
unsigned long size_of_controller(void);
unsigned long size_of_controller(void) {{ return (unsigned long)sizeof({name}); }}
unsigned long place_of(int number);
unsigned long place_of(int number)
{{
    static const unsigned long places[] = {{ {places} }};
    return places[number];
}}
"""


class NoCompilerError(OSError):
    """There is no C compiler, or it failed."""


def compiler() -> str:
    """Return the path of a C compiler: that of the environment variable CC, or a usual one.

    Raises:
        NoCompilerError: If there is none.
    """
    for name in (os.environ.get("CC", ""), *OFTEN):
        path = shutil.which(name) if name else None
        if path is not None:
            return path
    raise NoCompilerError(
        f"no C compiler was found (CC in the environment, or {', '.join(OFTEN)}); install one, say "
        "`apt install gcc`"
    )


def library(
    sources: Mapping[str, str], name: str, fields: Sequence[str]
) -> tuple[ctypes.CDLL, dict[str, int]]:
    """Compile a controller's sources, texts by file name, and load it; once in a process.

    Returns:
        The library, and where these fields of a controller lie, in bytes.

    Raises:
        NoCompilerError: If that is not possible.
    """
    places = ", ".join(f"(unsigned long)offsetof({name}, {field})" for field in fields)
    loaded = _library(tuple(sorted(sources.items())), SHIM.format(name=name, places=places))
    return loaded, {field: int(loaded.place_of(i)) for i, field in enumerate(fields)}


@lru_cache(maxsize=32)
def _library(sources: Sequence[tuple[str, str]], shim: str) -> ctypes.CDLL:
    path, said = compiler(), ""
    with tempfile.TemporaryDirectory(prefix="koopman-control-") as folder:
        for file, text in sources:
            Path(folder, file).write_text(text, encoding="utf-8")
        made = Path(folder, "controller.so")
        for flags in (FASTER, ()):
            command = [path, *flags, *FLAGS, "-I", folder, "-o", str(made), "-lm"]
            done = subprocess.run(command, input=shim, text=True, capture_output=True, check=False)
            said = done.stderr
            if not done.returncode:
                return ctypes.CDLL(str(made))  # stays loaded when the file is gone
    raise NoCompilerError(f"{path} cannot compile the controller: {said.strip()[-400:]}")
