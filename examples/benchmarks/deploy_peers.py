"""The linear problem of `deploy` as CVXPYgen writes it in C, with each solver that is installed.

    OMP_NUM_THREADS=1 python -m examples.benchmarks.deploy_peers --python venv/bin/python

CVXPYgen stays in an environment of its own (`pip install cvxpygen`), whose interpreter is given.
Ours closes the loop of `deploy`; its programs, predictions without inputs put in, are then solved
by both in the same order: ours from observation to input, theirs from the prediction to the input,
so without lift, prediction and fallbacks, warm-started where the solver can. Both are timed in C,
by the processor, each step by the least of five runs, and compiled by gcc -O3 -march=native.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from threadpoolctl import threadpool_limits

REPEATS = 5
SIZES = ((50, 1, 3, 10), (200, 1, 3, 30))
SOLVERS = "OSQP,QOCO,ECOS"  # Clarabel also needs Rust and Eigen
DRIVER = """
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "cpg_workspace.h"
#include "cpg_solve.h"

int main(int count, char **words)
{{
    const int steps = atoi(words[2]);
    FILE *file = fopen(words[1], "rb");
    int step, i;
    (void)count;
    for (step = 0; step < steps; step++) {{
        double read[{size}];
        struct timespec before, after;
        if (!fread(read, sizeof(read), 1, file))
            return 1;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        for (i = 0; i < {n_free}; i++)
            cpg_update_free(i, read[i]);
        for (i = 0; i < {n_reference}; i++)
            cpg_update_reference(i, read[{n_free} + i]);
        cpg_update_previous({previous});
        cpg_solve();
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        printf("%.17g %d %.17g\\n", (double)(after.tv_sec - before.tv_sec)
                + 1e-9 * (double)(after.tv_nsec - before.tv_nsec),
            (int)CPG_Info.iter, (double)CPG_Result.prim->u[0]);
    }}
    return 0;
}}
"""


def written(folder: Path) -> None:
    """Close the loops and write what the peers need; in an environment with this toolkit."""
    from examples.benchmarks.deploy import Plant, in_c

    for number, size in enumerate(SIZES):
        plant = Plant(*size, 1000)
        mpc = plant.controller()
        seen = Seen(mpc)
        observations, inputs, *_ = plant.run(mpc, seen.act)
        rows, _, _ = in_c(mpc, "-O3 -march=native", observations)
        np.savez(
            folder / f"problem_{number}.npz",
            size=size,
            Gamma=mpc._response.Gamma,
            bound=0.9 * np.abs(plant.targets).max(axis=0),
            given=np.array(seen.given),
            inputs=inputs,
            seconds=rows[:, 0],
            iterations=rows[:, 1],
        )


class Seen:
    """Remembers what the programs of a controller were given."""

    def __init__(self, mpc: Any) -> None:
        self._mpc, self.given = mpc, []  # type: ignore[var-annotated]

    def act(self, y: Any) -> Any:
        """Act, and note the prediction without inputs, the reference and the input before."""
        free, before = self._mpc._response.Phi @ self._mpc.model.lift(y), self._mpc.previous_input
        u = self._mpc.act(y)
        reference = self._mpc.last.situation.reference
        self.given.append(np.concatenate([free, reference.ravel(), before]))
        return u


def compared(folder: Path, solvers: str) -> None:
    """Let CVXPYgen write, compile and run the problems; in its environment."""
    names = ("cvxpygen", "cvxpy", "osqp", "qocogen", "ecos")
    lines = [", ".join(f"{name} {_version(name)}" for name in names)]
    head = "controller | p50 us | p99 us | max us | iterations p50/max | input off by"
    for path in sorted(folder.glob("problem_*.npz")):
        data = np.load(path)
        size = tuple(data["size"].tolist())
        lines += [f"\n(n, m, p, N) = {size}, {len(data['given'])} steps\n", f"| {head} |"]
        lines += ["|---" * 6 + "|"]
        lines.append(_line("ours, from observation to input", data["seconds"], data["iterations"]))
        for solver in solvers.split(","):
            name = f"CVXPYgen, {solver}, without lift"
            try:
                rows = _solved(folder / f"{path.stem}_{solver}", data, solver)
            except Exception as error:  # whatever a peer fails by is told
                told = " ".join(str(error).split())
                lines.append(f"| {name} | {type(error).__name__}: {told[:150]} |")
                continue
            off = float(np.abs(rows[:, 2] - data["inputs"][:, 0]).max())
            lines.append(_line(name, rows[:, 0], rows[:, 1], off))
    print("\n".join(lines))  # behind what the peers print


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _line(name: str, seconds: Any, iterations: Any, off: float = 0.0) -> str:
    us = " | ".join(f"{1e6 * np.percentile(seconds, q):.1f}" for q in (50, 99, 100))
    return f"| {name} | {us} | {np.median(iterations):.0f}/{iterations.max():.0f} | {off:.0e} |"


def _solved(folder: Path, data: Any, solver: str) -> Any:
    """Write a problem for a solver, and run its programs; rows of [seconds, iterations, input]."""
    cp, cpg = import_module("cvxpy"), import_module("cvxpygen.cpg")
    _, _, p, N = data["size"].tolist()
    u, y, slack = cp.Variable(N, name="u"), cp.Variable(N * p), cp.Variable(N * p, nonneg=True)
    free, reference = cp.Parameter(N * p, name="free"), cp.Parameter(N * p, name="reference")
    previous = cp.Parameter(name="previous")
    changes = cp.hstack([u[0] - previous, cp.diff(u)])
    bound = np.tile(data["bound"], N)
    cost = cp.sum_squares(y - reference) + 0.01 * cp.sum_squares(u) + 0.1 * cp.sum_squares(changes)
    cost += 10.0 * cp.sum(slack) + 5.0 * cp.sum_squares(slack)
    rows = [y == free + data["Gamma"] @ u, u <= 1.0, u >= -1.0, changes <= 0.3, changes >= -0.3]
    rows += [y <= bound + slack, y >= -bound - slack]
    cpg.generate_code(
        cp.Problem(cp.Minimize(cost), rows), code_dir=str(folder), solver=solver, wrapper=False
    )
    given = data["given"]
    told = {"size": given.shape[1], "n_free": N * p, "n_reference": N * p}
    text = DRIVER.format(**told, previous=f"read[{2 * N * p}]")
    (folder / "c" / "src" / "cpg_example.c").write_text(text)
    build = folder / "c" / "build"
    build.mkdir(exist_ok=True)
    flags = "-O3 -march=native"
    kind = ["-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_C_FLAGS_RELEASE={flags}"]
    for command in (["cmake", "..", *kind], ["cmake", "--build", ".", "--target", "cpg_example"]):
        done = subprocess.run(command, cwd=build, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr or done.stdout)[-600:])
    given.tofile(folder / "given")
    program = next(path for path in folder.rglob("cpg_example") if path.is_file())
    runs = []
    for _ in range(REPEATS):
        words = [str(program), str(folder / "given"), str(len(given))]
        lines = subprocess.check_output(words, text=True).splitlines()
        runs.append([[float(word) for word in line.split()] for line in lines])
    rows_of = np.array(runs)
    return np.column_stack([rows_of[:, :, 0].min(axis=0), rows_of[0, :, 1:]])


def main(
    python: Annotated[str, typer.Option(help="Interpreter that has CVXPYgen.")] = sys.executable,
    solvers: Annotated[str, typer.Option(help="CVXPYgen's, separated by commas.")] = SOLVERS,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print the tables."""
    if folder is not None:
        compared(folder, solvers)
        return
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        written(Path(name))
        words = json.dumps(["--folder", name, "--solvers", solvers])
        script = f"import runpy, sys; sys.argv[1:] = {words};"
        run = f"{script} runpy.run_path({str(Path(__file__))!r}, run_name='__main__')"
        subprocess.run([python, "-c", run], check=True)


if __name__ == "__main__":
    typer.run(main)
