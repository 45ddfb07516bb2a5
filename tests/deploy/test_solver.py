"""The solver that is exported gives DAQP's answers."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.deploy import export_c
from koopman_control.deploy.programs import INFINITE, _metric, _prices
from koopman_control.mpc.solvers import DaqpSolver, DenseQP
from tests.deploy.compilers import gcc, needs_gcc
from tests.deploy.kinds import KINDS

# A program of any size up to that of the controller, from outside.
DRIVER = """
#include "koopman_mpc.c"

int most_active(void);
int most_active(void) { return (int)(sizeof(((kc *)0)->active) / sizeof(ordinal)) - 1; }

int solve_one(kc *k, int n, int rows, const double *G, const double *value, const double *low,
    const double *high, const double *price, const double *softness, double *at, int anew);
int solve_one(kc *k, int n, int rows, const double *G, const double *value, const double *low,
    const double *high, const double *price, const double *softness, double *at, int anew)
{
    program p = programs[0];
    int i, found;
    p.n = n;
    p.rows = rows;
    p.G = G;
    p.price = price;
    p.softness = softness;
    if (anew)
        koopman_mpc_reset(k, 0);
    k->iterations = 0;
    for (i = 0; i < rows; i++)
        k->value[i] = value[i];
    found = solve(k, &p, 1, low, high);
    for (i = 0; i < rows; i++)
        at[i] = k->room.work.at[i];
    return found ? k->iterations : -1;
}
"""


class Exported:
    """The solver of an exported controller."""

    def __init__(self, folder: Path) -> None:
        export_c(KINDS["priced by units"](), folder)
        (folder / "driver.c").write_text(DRIVER)
        gcc(folder, "-O2", "-fPIC", "-shared", "driver.c", "-o", "driver.so", "-lm")
        self._library = ctypes.CDLL(str(folder / "driver.so"))
        self._library.solve_one.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_int,
            *[ctypes.c_void_p] * 7,
            ctypes.c_int,
        ]
        self._memory = np.zeros(200_000)
        self.most_rows = int(self._library.most_active())

    def solve(self, qp: DenseQP, anew: bool) -> tuple[Array | None, int]:
        """Return the solution, or None, and the iterations."""
        n, r = len(qp.f), len(qp.f) + len(qp.A)
        to_slope, G = _metric(qp.H, qp.A, n)
        length = np.sqrt(np.square(G).sum(axis=1))
        price, softness = _prices((qp.linear_weight, qp.quadratic_weight), n, length)
        at = np.zeros(r)
        given = [
            np.ascontiguousarray((G / length[:, None]).T),
            -G @ to_slope(qp.f) / length,
            np.clip(qp.lower / length, -INFINITE, INFINITE),
            np.clip(qp.upper / length, -INFINITE, INFINITE),
            price,
            softness,
            at,
        ]
        places = [array.ctypes.data for array in given]
        count = self._library.solve_one(self._memory.ctypes.data, n, r, *places, int(anew))
        return (at[:n] * length[:n] if count >= 0 else None), count


def random_program(rng: np.random.Generator, most_rows: int) -> DenseQP:
    """With bounds and rows, hard, soft and none, that may contradict each other."""
    n = int(rng.integers(1, 13))
    r = int(rng.integers(0, min(most_rows - n, 3 * n) + 1))
    root = rng.normal(size=(n, n)) * 10.0 ** rng.uniform(-1.0, 1.0, n)
    H = root @ root.T + 10.0 ** rng.uniform(-3.0, 0.0) * np.eye(n)
    A = rng.normal(size=(r, n)) * (rng.random((r, n)) < rng.uniform(0.3, 1.0))
    A[~A.any(axis=1)] = 1.0
    soft = rng.random(r) < rng.choice([0.0, 0.5, 1.0])
    linear = np.where(soft, 10.0 ** rng.uniform(-2.0, 2.0, r), np.inf)
    quadratic = np.where(soft, 10.0 ** rng.uniform(-2.0, 2.0, r), np.inf)
    width = 10.0 ** rng.uniform(-1.0, 1.0)
    middle = rng.normal(size=n + r) * rng.choice([0.0, 0.3])
    lower, upper = middle - width * rng.random(n + r), middle + width * rng.random(n + r)
    lower[rng.random(n + r) < 0.2], upper[rng.random(n + r) < 0.2] = -np.inf, np.inf
    return DenseQP(H, _slope(rng, n), A, lower, upper, linear, quadratic)


def _slope(rng: np.random.Generator, n: int) -> Array:
    return np.asarray(10.0 ** rng.uniform(-1.0, 2.0) * rng.normal(size=n))


def compare(folder: Path, programs: int, seed: int) -> dict[str, int]:
    """Solve programs, each for four slopes from the working set before; count what happened."""
    exported, rng = Exported(folder), np.random.default_rng(seed)
    counts = dict.fromkeys(("solved", "infeasible", "ours", "daqp"), 0)
    for _ in range(programs):
        qp, daqp = random_program(rng, exported.most_rows), DaqpSolver()
        for step in range(4):
            ours, iterations = exported.solve(qp, anew=step == 0)
            theirs = daqp.solve(qp, matrices_changed=False)
            if theirs.v is None and step:  # its working set may have been at fault
                theirs = DaqpSolver().solve(qp, matrices_changed=True)
            assert (ours is None) == (theirs.v is None), (seed, theirs.status, qp)
            if ours is None or theirs.v is None:
                counts["infeasible"] += 1
            else:
                size = max(1.0, float(np.abs(theirs.v).max()))
                np.testing.assert_allclose(ours, theirs.v, atol=1e-7 * size)
                assert qp.cost(ours) <= qp.cost(theirs.v) + 1e-8 * max(1.0, abs(qp.cost(ours)))
                counts["solved"] += 1
                counts["ours"] += iterations
                counts["daqp"] += theirs.iterations
            qp = qp._replace(f=qp.f + 0.1 * _slope(rng, len(qp.f)))
    return counts


@needs_gcc
def test_random_programs_are_solved_as_by_daqp(tmp_path: Path) -> None:
    counts = compare(tmp_path, 150, seed=0)
    assert counts["solved"] > 300 and counts["infeasible"] > 20
    assert counts["ours"] < 1.5 * counts["daqp"]


@needs_gcc
@pytest.mark.slow
def test_many_random_programs_are_solved_as_by_daqp(tmp_path: Path) -> None:
    assert compare(tmp_path, 25_000, seed=1)["solved"] > 50_000
