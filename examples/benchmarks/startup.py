"""How long imports and small commands take, beside the packages that they must not wait for.

python -m examples.benchmarks.startup           # each in new processes, in turn; medians
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

PROGRAMS = {
    "python alone": "pass",
    "import koopman_control": "import koopman_control",
    "koopman-control --help": "from koopman_control.cli import app; app(['--help'])",
    "koopman-control tasks": "from koopman_control.cli import app; app(['tasks'])",
    "from koopman_control import EDMDc": "from koopman_control import EDMDc",
    "from koopman_control import KoopmanMPC": "from koopman_control import KoopmanMPC",
    "import numpy": "import numpy",
    "import gymnasium": "import gymnasium",
    "import sklearn.base": "import sklearn.base",
    "import cvxpy": "import cvxpy",
}


def main(
    repeats: Annotated[int, typer.Option(help="Processes a row, in turn with the others.")] = 7,
) -> None:
    """Print medians of wall and CPU seconds."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in track(range(repeats), "Starting processes"):
        for name, program in PROGRAMS.items():
            seconds[name].append(_measured(program))
    packages = ("numpy", "scipy", "gymnasium", "scikit-learn", "cvxpy")
    title = ", ".join(f"{package} {version(package)}" for package in packages)
    table = Table("what", "wall, s", "CPU, s", title=title, caption=f"{repeats} processes each")
    for name, rows in seconds.items():
        wall, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        table.add_row(name, f"{wall:.2f}", f"{cpu:.2f}")
    Console().print(table)


def _measured(program: str) -> tuple[float, float]:
    """Run a program; seconds on the clock and on the processor."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user - before.children_user
    return wall, cpu + after.children_system - before.children_system


if __name__ == "__main__":
    typer.run(main)
