"""The choice of a solver, call by call."""

from __future__ import annotations

import time
from importlib.util import find_spec

from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.solvers.base import Solution, Solver, checked_limit
from koopman_control.mpc.solvers.daqp_solver import DaqpSolver
from koopman_control.mpc.solvers.interior_point import ClarabelSolver, PiqpSolver

LARGEST = 250  # variables that DAQP is given
FINAL = ("optimal", "infeasible", "unbounded", "time limit")  # words of DAQP that settle it


class AutoSolver:
    """DAQP for up to 250 variables; an interior-point method beyond, or where DAQP gives up.

    That is PIQP if it is installed and no time limit is set, else Clarabel.

    Args:
        time_limit: Most seconds per call; None for no limit.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self._limit, self._time_limit = checked_limit(time_limit), time_limit
        self._daqp = DaqpSolver(time_limit)

    def solve(self, qp: DenseQP, matrices_changed: bool) -> Solution:
        """Solve, from DAQP's previous working set if there is one."""
        start = time.perf_counter()
        if len(qp.f) <= LARGEST:
            answer = self._daqp.solve(qp, matrices_changed)
            if answer.status in FINAL:
                return answer
        left = self._limit - (time.perf_counter() - start)
        return self._second(left).solve(qp, True) if left > 0.0 else answer

    def prepare(self, qp: DenseQP) -> None:
        """Set DAQP up where it will be used."""
        if len(qp.f) <= LARGEST:
            self._daqp.prepare(qp)

    def forget(self) -> None:
        """Drop the working set."""
        self._daqp.forget()

    def __reduce__(self) -> tuple[type[AutoSolver], tuple[float | None]]:
        """Copy to other processes without the solver's memory."""
        return AutoSolver, (self._time_limit,)

    def _second(self, left: float) -> Solver:
        if self._time_limit is not None:
            return ClarabelSolver(left)
        return PiqpSolver() if find_spec("piqp") else ClarabelSolver()
