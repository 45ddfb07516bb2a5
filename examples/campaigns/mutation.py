"""How many small errors in the QP compiler or the regression engine the tests notice.

    pip install cosmic-ray
    python -m examples.campaigns.mutation compiler runs/mutation --mutants 150 --seed 0
    python -m examples.campaigns.mutation regression runs/mutation --mutants 150 --seed 0

Draws mutants of the part's source (an operator replaced by another, a number changed by 1, a
condition negated, ...) at random among all that Cosmic Ray knows, runs the part's tests on each in
a copy of the repository, and prints the score and every mutant that the tests let pass. Type
annotations are left out: nothing evaluates them.
"""

from __future__ import annotations

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

ROOT = Path(__file__).parents[2]
PARTS = {  # source and tests
    "compiler": ("koopman_control/mpc/compilation", "tests/mpc/compilation"),
    "regression": (
        "koopman_control/identification/least_squares",
        "tests/identification/least_squares",
    ),
}
CONFIG = """[cosmic-ray]
module-path = "{source}"
timeout = {timeout}
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""
KILLED = "SELECT count(*) FROM work_results WHERE test_outcome = 'KILLED'"
SURVIVED = "SELECT diff FROM work_results WHERE test_outcome = 'SURVIVED' ORDER BY diff"


def main(
    part: Annotated[Literal["compiler", "regression"], typer.Argument()],
    out: Annotated[
        Path, typer.Argument(help="A new folder for the copy and Cosmic Ray's session.")
    ],
    mutants: Annotated[int, typer.Option(help="How many to draw.")] = 150,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    timeout: Annotated[
        float, typer.Option(help="Seconds per mutant; longer counts as killed.")
    ] = 120,
) -> None:
    """Draw mutants, test them, and print what happened to them."""
    source, tests = PARTS[part]
    copy = (out / f"{part}-{seed}").resolve()
    for name in ("koopman_control", "envs", "tests", "pyproject.toml"):
        _copied(ROOT / name, copy / name)
    config = CONFIG.format(source=source, tests=tests, timeout=timeout, python=sys.executable)
    (copy / "config.toml").write_text(config, "utf-8")
    _run(copy, "cosmic_ray.cli", "init", "config.toml", "session.sqlite")
    with closing(sqlite3.connect(copy / "session.sqlite")) as session:
        n_all = _thinned(session, copy, mutants, seed)
    _run(copy, "pytest", "-q", tests)  # they must pass; it leaves compiled files, too
    _run(copy, "cosmic_ray.cli", "exec", "config.toml", "session.sqlite")
    with closing(sqlite3.connect(copy / "session.sqlite")) as session:
        survivors = [diff for (diff,) in session.execute(SURVIVED)]
        (killed,) = session.execute(KILLED).fetchone()
    print(*survivors, sep="\n\n")
    n = killed + len(survivors)
    print(f"{part}, seed {seed}: {killed} of {n} killed ({killed / n:.1%}), drawn from {n_all}")


def _copied(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _run(copy: Path, *module: str) -> None:
    """Run a module on the copy, with one thread for the BLAS and no pytest plugins to load."""
    own = {
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'envs'}",
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-m", *module]
    subprocess.run(command, cwd=copy, env={**os.environ, **own}, check=True)


def _thinned(session: sqlite3.Connection, copy: Path, mutants: int, seed: int) -> int:
    """Leave so many mutants outside annotations in a session; say how many there were."""
    places = "SELECT job_id, module_path, start_pos_row, start_pos_col FROM mutation_specs"
    order = " ORDER BY module_path, operator_name, occurrence"
    found = session.execute(places + order).fetchall()
    annotated = {module: _annotated(copy / module) for module in {row[1] for row in found}}
    real = [job for job, module, *place in found if tuple(place) not in annotated[module]]
    drawn = set(np.random.default_rng(seed).permutation(real)[:mutants].tolist())
    unused = [(job,) for job, *_ in found if job not in drawn]
    for table in ("mutation_specs", "work_items"):
        session.executemany(f"DELETE FROM {table} WHERE job_id = ?", unused)
    session.commit()
    return len(real)


def _annotated(module: Path) -> set[tuple[int, int]]:
    """Lines and columns of type annotations."""
    places = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        for note in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(note, ast.expr):
                columns = range(note.col_offset, note.end_col_offset or 0)
                places |= {(note.lineno, column) for column in columns}
    return places


if __name__ == "__main__":
    typer.run(main)
