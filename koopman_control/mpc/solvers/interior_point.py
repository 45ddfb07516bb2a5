"""Interior-point methods: Clarabel, and PIQP, an optional package. Neither starts warm.

Their effort hardly depends on how many rows are active, so large programs take them least time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import clarabel
import numpy as np
import scipy.sparse as sp

from koopman_control.common import Array, optional_package
from koopman_control.mpc.solvers.base import (
    SHORTEST,
    TIME_LIMIT,
    UNBOUNDED,
    ColdSolver,
    Solution,
    WithSlacks,
)
from koopman_control.mpc.solvers.program import DenseQP

FAR = 1e6  # times the size of what is near; sides beyond are left out where a method fails


class _Answer(NamedTuple):
    """What a method says of a program with slacks: point, multipliers of its rows, a word."""

    x: Array
    y: Array
    status: str
    iterations: int


class ClarabelSolver(ColdSolver):
    """Homogeneous-embedding interior-point method; comes with CVXPY."""

    SETTINGS: ClassVar = {
        "verbose": False,
        "max_threads": 1,
        "tol_gap_abs": 1e-13,
        "tol_gap_rel": 1e-13,
        "tol_feas": 1e-13,
        "reduced_tol_gap_abs": 1e-7,
        "reduced_tol_gap_rel": 1e-7,
        "reduced_tol_feas": 1e-7,
    }
    STATUS: ClassVar = {
        "Solved": "optimal",
        "AlmostSolved": "optimal",  # to the reduced tolerances
        "PrimalInfeasible": "infeasible",
        "AlmostPrimalInfeasible": "infeasible",
        "DualInfeasible": "unbounded",
        "AlmostDualInfeasible": "unbounded",
        "MaxIterations": "iteration limit",
        "MaxTime": TIME_LIMIT,
    }

    def __init__(self) -> None:
        self._settings = clarabel.DefaultSettings()
        for name, value in self.SETTINGS.items():
            setattr(self._settings, name, value)

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve from scratch."""
        until = time.perf_counter() + seconds

        def answer(P: Any, rows: Any, q: Array, lower: Array, upper: Array) -> _Answer:
            self._settings.time_limit = max(until - time.perf_counter(), SHORTEST)
            equal = lower == upper
            above, below = np.isfinite(upper) & ~equal, np.isfinite(lower) & ~equal
            stacked = sp.csc_matrix(sp.vstack([rows[equal], rows[above], -rows[below]]))
            sides = np.concatenate([upper[equal], upper[above], -lower[below]])
            cones: list[Any] = [clarabel.ZeroConeT(int(equal.sum()))]
            cones.append(clarabel.NonnegativeConeT(len(sides) - int(equal.sum())))
            found = clarabel.DefaultSolver(P, q, stacked, sides, cones, self._settings).solve()
            word = str(found.status)
            parts = np.split(np.asarray(found.z), np.cumsum([equal.sum(), above.sum()]))
            y = np.zeros(len(lower))
            y[equal] = parts[0]
            y[above] += parts[1]
            y[below] -= parts[2]
            x = np.asarray(found.x)
            return _Answer(x, y, self.STATUS.get(word, word), int(found.iterations))

        return _solved(WithSlacks(qp), answer)

    def __reduce__(self) -> tuple[type[ClarabelSolver], tuple[()]]:
        """Copy to other processes; the settings themselves cannot be copied."""
        return ClarabelSolver, ()


class PiqpSolver(ColdSolver):
    """Proximal interior-point method for dense programs; it cannot limit its time.

    Raises:
        ImportError: If the package piqp is not installed.
    """

    TOLERANCES = ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel")
    STATUS: ClassVar = {
        "PIQP_PRIMAL_INFEASIBLE": "infeasible",
        "PIQP_DUAL_INFEASIBLE": "unbounded",
        "PIQP_MAX_ITER_REACHED": "iteration limit",
        "PIQP_NUMERICS": "numerical trouble",
        "PIQP_SOLVED": "optimal",
    }

    def __init__(self) -> None:
        optional_package("piqp", "solvers")

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve from scratch, however long it takes."""
        return _solved(WithSlacks(qp), self._answer)

    def _answer(self, P: Any, rows: Any, q: Array, lower: Array, upper: Array) -> _Answer:
        piqp = optional_package("piqp", "solvers")
        P, rows = P.toarray(), rows.toarray()
        equal = lower == upper
        bounded = ((lower > -UNBOUNDED) | (upper < UNBOUNDED)) & ~equal  # PIQP prints of others
        solver = piqp.DenseSolver()
        for tolerance in self.TOLERANCES:
            setattr(solver.settings, tolerance, 1e-13)
        P = np.triu(P) + np.triu(P, 1).T
        solver.setup(P, q, rows[equal], upper[equal], rows[bounded], lower[bounded], upper[bounded])
        word = str(solver.solve().name)
        found, y = solver.result, np.zeros(len(lower))
        y[equal] = found.y
        y[bounded] = np.asarray(found.z_u) - np.asarray(found.z_l)
        return _Answer(np.array(found.x), y, self.STATUS.get(word, word), int(found.info.iter))


def _solved(
    program: WithSlacks, answer_to: Callable[[Any, Any, Array, Array, Array], _Answer]
) -> Solution:
    """Solve a program, if need be without sides that are far off.

    Such sides can keep an interior-point method from ending, since their rounding hides a duality
    gap of zero. Where it fails they are left out; what is then found is the solution if it obeys
    them.
    """
    P, rows = program.matrices()
    q, lower, upper = program.vectors()
    answer = answer_to(P, rows, q, lower, upper)
    if answer.status not in ("optimal", TIME_LIMIT):
        far = _far(P, rows, q, lower, upper)
        low, high = np.where(lower < -far, -np.inf, lower), np.where(upper > far, np.inf, upper)
        if np.any(low != lower) or np.any(high != upper):
            nearer = answer_to(P, rows, q, low, high)
            if nearer.status == "optimal" and np.abs(rows @ nearer.x).max() <= far:
                answer = nearer
    if answer.status != "optimal":
        return Solution(None, answer.status, answer.iterations)
    v = answer.x[: len(program.qp.f)]
    return Solution(v, "optimal", answer.iterations, program.multipliers(answer.y))


def _far(P: Any, rows: Any, q: Array, lower: Array, upper: Array) -> float:
    """From where on sides count as far: from what cost and rows lead to, or the nearest side."""
    half = P.toarray()
    by_cost = np.linalg.lstsq(half + np.triu(half, 1).T, -q, rcond=None)[0]
    asked = np.maximum(lower, -upper).max(initial=0.0)  # zero does not give that
    led = max(float(np.abs(rows @ by_cost).max()), float(asked))
    sides = np.concatenate([lower, upper])
    sizes = np.abs(sides[np.isfinite(sides) & (sides != 0.0)])
    return FAR * (led or float(sizes.min(initial=np.inf)))
