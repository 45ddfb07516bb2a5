"""Units of work that other processes are sent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FATAL = 3


def doubled(number: int) -> int:
    return 2 * number


def refused(number: int) -> int:
    raise LookupError(f"not {number}")


def full_disk(number: int) -> int:
    raise OSError(28, "No space left on device")


def killed_by_three(number: int) -> int:
    """Double a number, but one ends the process, as the system does where memory runs out."""
    if number == FATAL:
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(number)


def killed_at_first(unit: tuple[int, str]) -> int:
    """Double a number; who is the first to have its file ends with its process."""
    number, file = unit
    try:
        Path(file).touch(exist_ok=False)
    except FileExistsError:
        return doubled(number)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


ROOT = Path(__file__).parents[2]


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a Dask scheduler; gives its address and its process."""
    file = folder / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    process = _started("dask_scheduler", folder, *options, "--scheduler-file", str(file))
    try:
        while not file.exists() or not file.read_text():
            assert process.poll() is None
            time.sleep(0.05)
        yield f"tcp://127.0.0.1:{_port(file)}", process
    finally:
        process.kill()
        process.wait()


@contextmanager
def worker(folder: Path, address: str, threads: int = 1, **environment: str) -> Iterator[None]:
    """Run a Dask worker of a scheduler."""
    options = ["--nthreads", str(threads), "--no-dashboard", "--local-directory", str(folder)]
    process = _started("dask_worker", folder, address, *options, "--no-nanny", **environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _started(
    module: str, folder: Path, *arguments: str, **environment: str
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
    quiet = subprocess.DEVNULL
    where = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.Popen(command, cwd=folder, env=where, stdout=quiet, stderr=quiet)


def _port(file: Path) -> str:
    import json

    address: str = json.loads(file.read_text())["address"]
    return address.rpartition(":")[2]
