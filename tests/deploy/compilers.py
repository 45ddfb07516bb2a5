"""What the tests of exported code compile with."""

import shutil
import subprocess
from pathlib import Path

import pytest

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="gcc is not installed")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def gcc(folder: Path, *arguments: str) -> None:
    """Compile in a folder, where every warning is an error."""
    done = subprocess.run(
        [str(GCC), *STRICT, *arguments], cwd=folder, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def run(program: Path, *arguments: str) -> str:
    """Run a program that has to succeed; return what it prints."""
    done = subprocess.run(
        [str(program), *arguments], text=True, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
