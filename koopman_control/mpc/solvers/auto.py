"""The choice of a solver, call by call."""

from __future__ import annotations

import math
import time
from functools import cached_property
from importlib.util import find_spec

import numpy as np

from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.solvers.base import TIME_LIMIT, Solution, Solver
from koopman_control.mpc.solvers.daqp_solver import DaqpSolver
from koopman_control.mpc.solvers.interior_point import ClarabelSolver, PiqpSolver
from koopman_control.mpc.solvers.residuals import residuals

LARGEST = 250  # variables that DAQP is given
INEXACT = 1e-6  # residuals of a solution relative to the size of its numbers
FINAL = ("optimal", "infeasible", "unbounded", TIME_LIMIT)  # words that settle it


class AutoSolver:
    """DAQP for up to 250 variables; interior-point methods beyond, or where DAQP is not sure.

    First PIQP, if it is installed and there is no time limit; Clarabel else, or where PIQP fails.
    """

    def __init__(self) -> None:
        self._daqp = DaqpSolver()

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve, from DAQP's previous working set if there is one."""
        until = time.perf_counter() + seconds
        answer = doubted = Solution(None, TIME_LIMIT, 0)
        if len(qp.f) <= LARGEST:
            doubted = self._daqp.solve(qp, matrices_changed, seconds)
            if doubted.status in FINAL and not (self._daqp.is_proximal and _doubtful(qp, doubted)):
                return doubted
        slower = self._interior_point if math.isinf(seconds) else self._interior_point[-1:]
        for solver in slower:
            left = until - time.perf_counter()
            if left <= 0.0:
                break
            answer = solver.solve(qp, True, left)
            if answer.status in FINAL:
                break
        return doubted if answer.v is None and doubted.v is not None else answer

    @cached_property
    def _interior_point(self) -> list[Solver]:
        """Methods to try in turn; the last of them keeps time limits."""
        return [PiqpSolver(), ClarabelSolver()] if find_spec("piqp") else [ClarabelSolver()]

    def prepare(self, qp: DenseQP) -> None:
        """Set DAQP up where it will be used."""
        if len(qp.f) <= LARGEST:
            self._daqp.prepare(qp)

    def forget(self) -> None:
        """Drop the working set."""
        self._daqp.forget()

    def __reduce__(self) -> tuple[type[AutoSolver], tuple[()]]:
        """Copy to other processes without the solver's memory."""
        return AutoSolver, ()


def _doubtful(qp: DenseQP, answer: Solution) -> bool:
    """Whether a program is said to be infeasible, or to be solved by what is no solution."""
    if answer.v is None or answer.multipliers is None:
        return answer.status == "infeasible"
    left = residuals(qp, answer.v, answer.multipliers)
    size = 1.0 + max(np.abs(answer.v).max(), np.abs(answer.multipliers).max())
    return bool(max(left.stationarity, left.primal, left.complementarity) > INEXACT * size)
