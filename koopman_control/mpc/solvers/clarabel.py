"""Clarabel: an interior-point method that comes with CVXPY; it does not start warm.

The effort of such methods hardly depends on how many rows are active, so large programs take them
least time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import clarabel
import numpy as np
import scipy.sparse as sp

from koopman_control.common import Array
from koopman_control.mpc.solvers.base import (
    TIME_LIMIT,
    Answer,
    Option,
    Solution,
    SolverBase,
    WithSlacks,
    solved_far_or_near,
)
from koopman_control.mpc.solvers.program import DenseQP

STUCK = ("InsufficientProgress", "NumericalError")
TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
COARSE = 1e-9  # where the fine ones cannot be reached


class ClarabelSolver(SolverBase):
    """Homogeneous-embedding interior-point method."""

    name: ClassVar[str] = "clarabel"
    accuracy: ClassVar[float] = 1e-8

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

    def __init__(self, **options: Option) -> None:
        super().__init__(**options)
        self._told = _told(self._settings)

    @classmethod
    def options(cls) -> set[str]:
        """Name what Clarabel can be told."""
        return {name for name in dir(clarabel.DefaultSettings()) if not name.startswith("_")}

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve from scratch."""
        until = time.perf_counter() + seconds

        told = self._told

        def answer(P: Any, rows: Any, q: Array, lower: Array, upper: Array) -> Answer:
            told.time_limit = self.limit(until - time.perf_counter())
            equal = lower == upper
            above, below = np.isfinite(upper) & ~equal, np.isfinite(lower) & ~equal
            stacked = sp.csc_matrix(sp.vstack([rows[equal], rows[above], -rows[below]]))
            sides = np.concatenate([upper[equal], upper[above], -lower[below]])
            cones: list[Any] = [clarabel.ZeroConeT(int(equal.sum()))]
            cones.append(clarabel.NonnegativeConeT(len(sides) - int(equal.sum())))
            found = clarabel.DefaultSolver(P, q, stacked, sides, cones, told).solve()
            word = str(found.status)
            parts = np.split(np.asarray(found.z), np.cumsum([equal.sum(), above.sum()]))
            y = np.zeros(len(lower))
            y[equal] = parts[0]
            y[above] += parts[1]
            y[below] -= parts[2]
            x = np.asarray(found.x)
            return Answer(x, y, self.STATUS.get(word, word), int(found.iterations))

        program = WithSlacks(qp)
        solution = solved_far_or_near(program, answer)
        if solution.status in STUCK and not self._options:
            told = _told({**self._settings, **dict.fromkeys(TOLERANCES, COARSE)})
            solution = solved_far_or_near(program, answer)
        return solution


def _told(settings: Mapping[str, Option]) -> Any:
    """Return settings as Clarabel takes them."""
    told = clarabel.DefaultSettings()
    for name, value in settings.items():
        setattr(told, name, value)
    return told
