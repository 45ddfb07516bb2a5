"""The choice of a solver, call by call."""

from __future__ import annotations

import math
import time
from importlib.util import find_spec

from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.solvers.base import TIME_LIMIT, Solution, Solver
from koopman_control.mpc.solvers.daqp_solver import DaqpSolver
from koopman_control.mpc.solvers.interior_point import ClarabelSolver, PiqpSolver

LARGEST = 250  # variables that DAQP is given
FINAL = ("optimal", "infeasible", "unbounded", TIME_LIMIT)  # words of DAQP that settle it


class AutoSolver:
    """DAQP for up to 250 variables; an interior-point method beyond, or where DAQP gives up.

    That is PIQP if it is installed and there is no time limit, else Clarabel.
    """

    def __init__(self) -> None:
        self._daqp = DaqpSolver()

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve, from DAQP's previous working set if there is one."""
        start = time.perf_counter()
        if len(qp.f) <= LARGEST:
            answer = self._daqp.solve(qp, matrices_changed, seconds)
            if answer.status in FINAL:
                return answer
        left = seconds - (time.perf_counter() - start)
        return _second(left).solve(qp, True, left) if left > 0.0 else answer

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


def _second(seconds: float) -> Solver:
    return PiqpSolver() if math.isinf(seconds) and find_spec("piqp") else ClarabelSolver()
