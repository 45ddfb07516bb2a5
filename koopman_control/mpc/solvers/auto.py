"""The choice of a solver, call by call."""

from __future__ import annotations

import math
import time
from functools import cached_property
from importlib.util import find_spec

from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.solvers.base import TIME_LIMIT, Solution, Solver
from koopman_control.mpc.solvers.daqp_solver import DaqpSolver
from koopman_control.mpc.solvers.interior_point import ClarabelSolver, PiqpSolver

LARGEST = 250  # variables that DAQP is given
FINAL = ("optimal", "infeasible", "unbounded", TIME_LIMIT)  # words that settle it


class AutoSolver:
    """DAQP for up to 250 variables; interior-point methods beyond, or where DAQP gives up.

    First PIQP, if it is installed and there is no time limit; Clarabel else, or where PIQP fails.
    """

    def __init__(self) -> None:
        self._daqp = DaqpSolver()

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve, from DAQP's previous working set if there is one."""
        until = time.perf_counter() + seconds
        if len(qp.f) <= LARGEST:
            answer = self._daqp.solve(qp, matrices_changed, seconds)
            doubtful = answer.status == "infeasible" and self._daqp.is_proximal
            if answer.status in FINAL and not doubtful:
                return answer
        slower = self._interior_point if math.isinf(seconds) else self._interior_point[-1:]
        for solver in slower:
            left = until - time.perf_counter()
            if left <= 0.0:
                return Solution(None, TIME_LIMIT, 0)
            answer = solver.solve(qp, True, left)
            if answer.status in FINAL:
                break
        return answer

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
