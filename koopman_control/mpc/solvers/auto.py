"""The choice of a solver, call by call."""

from __future__ import annotations

import math
import time
from functools import cached_property, partial
from typing import ClassVar

import numpy as np

from koopman_control.mpc.solvers.base import (
    TIME_LIMIT,
    UNBOUNDED,
    Solution,
    SolverBase,
    installed,
    residuals,
)
from koopman_control.mpc.solvers.clarabel import ClarabelSolver
from koopman_control.mpc.solvers.daqp import DaqpSolver
from koopman_control.mpc.solvers.piqp import PiqpSolver
from koopman_control.mpc.solvers.program import DenseQP

DELICATE = 1e7  # condition number of H from which on answers are checked
FLAT, KEPT = 1e-6, 1e-8  # residuals tolerated, of slopes relative to f, and of rows to their sides
WRONG = 1e5  # times what is tolerated; then an answer is worthless
ENOUGH = 2  # solvers that say the same of a program without a solution
FINAL = ("optimal", "infeasible", "unbounded", TIME_LIMIT)  # words that settle it


class AutoSolver(SolverBase):
    """DAQP for up to 250 variables; interior-point methods beyond, or where DAQP is not sure.

    First PIQP, if it is installed and there is no time limit; Clarabel else, or where PIQP fails.
    It takes no options.
    """

    name: ClassVar[str] = "auto"
    starts_warm: ClassVar[bool] = True
    takes_soft_rows: ClassVar[bool] = True
    accuracy: ClassVar[float] = 1e-8

    def __init__(self) -> None:
        self._daqp = DaqpSolver()
        self._small = DaqpSolver.most_variables or 0
        super().__init__()

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve, from DAQP's previous working set if there is one."""
        until = time.perf_counter() + seconds
        answers = []
        if len(qp.f) <= self._small:
            warm = self._daqp.warm
            answers.append(self._daqp.solve(qp, matrices_changed, seconds))
            if warm and answers[0].status == "infeasible":  # it may be the working set's fault
                left = until - time.perf_counter()
                if left > 0.0:
                    answers[0] = self._daqp.solve(qp, True, left)
            if not self._doubted(qp, answers[0]):
                return answers[0]
        for solver in self._interior_point:
            if not (solver.keeps_time_limit or math.isinf(seconds)):
                continue
            left = until - time.perf_counter()
            if left <= 0.0:
                answers.append(Solution(None, TIME_LIMIT, 0))
                break
            answers.append(solver.solve(qp, True, left))
            said, word = [answer.status for answer in answers], answers[-1].status
            if answers[-1].v is not None or (word in FINAL and said.count(word) == ENOUGH):
                break
        return _most_credible(qp, answers)

    def _doubted(self, qp: DenseQP, answer: Solution) -> bool:
        """Whether DAQP gave up, or may be wrong by what H and A are like."""
        if answer.status not in FINAL:
            return True
        doubtful = self._daqp.condition > DELICATE or self._daqp.overlooks
        return doubtful and answer.status != TIME_LIMIT and not _error(qp, answer) <= 1.0

    @cached_property
    def _interior_point(self) -> list[PiqpSolver | ClarabelSolver]:
        """Methods to try in turn."""
        return [kind() for kind in (PiqpSolver, ClarabelSolver) if installed(kind)]

    def prepare(self, qp: DenseQP) -> None:
        """Set DAQP up where it will be used."""
        if len(qp.f) <= self._small:
            self._daqp.prepare(qp)

    def forget(self) -> None:
        """Drop the working set."""
        self._daqp.forget()


def _most_credible(qp: DenseQP, answers: list[Solution]) -> Solution:
    """Choose the point nearest to optimal, or the last word, that there is none."""
    points = [answer for answer in answers if answer.v is not None]
    if not points:
        words = [answer for answer in answers if answer.status in FINAL]
        return (words or answers)[-1]
    best, last = min(points, key=partial(_error, qp)), answers[-1]
    if last.status == "unbounded":
        return last
    wrong = last.v is None and last.status in FINAL and _error(qp, best) > WRONG
    return last if wrong else best


def _error(qp: DenseQP, answer: Solution) -> float:
    """Largest residual relative to what is tolerated; infinite for what is no point."""
    if answer.v is None or answer.multipliers is None:
        return math.inf
    left = residuals(qp, answer.v, answer.multipliers)
    sides = np.abs([qp.lower, qp.upper])
    slope = FLAT * (1.0 + np.abs(qp.f).max())
    width = KEPT * (1.0 + sides[sides < UNBOUNDED].max(initial=0.0))
    return float(max(left.stationarity / slope, max(left.primal, left.complementarity) / width))
