"""OSQP: operator splitting, warm-started by the iterate before."""

from __future__ import annotations

import math
import signal
from typing import Any, ClassVar

import numpy as np
import osqp
import scipy.sparse as sp

from koopman_control.mpc.solvers.base import (
    TIME_LIMIT,
    UNBOUNDED,
    Solution,
    SolverBase,
    WithSlacks,
)
from koopman_control.mpc.solvers.program import DenseQP

INTERRUPTED = "interrupted"


class OsqpSolver(SolverBase):
    """Operator-splitting method; accurate to about 1e-5, for comparison and large programs.

    OSQP prints a remark where it has no active row to polish with, however silent it is to be. So
    it gets a last variable, alone in a last row that holds it at zero against its price.
    """

    name: ClassVar[str] = "osqp"
    starts_warm: ClassVar[bool] = True
    accuracy: ClassVar[float] = 1e-5
    SETTINGS: ClassVar = {
        "eps_abs": 1e-6,
        "eps_rel": 1e-6,
        "adaptive_rho_interval": 1000,  # adapted sooner, active soft rows can stall it
        "max_iter": 20000,
        "verbose": False,
        "polishing": True,
    }

    STATUS: ClassVar = {
        "primal infeasible": "infeasible",
        "dual infeasible": "unbounded",
        "maximum iterations reached": "iteration limit",
        "run time limit reached": TIME_LIMIT,
    }

    _solver: Any = None

    @classmethod
    def options(cls) -> set[str]:
        """Name what OSQP can be told."""
        probe, one = osqp.OSQP(), sp.csc_matrix([[1.0]])
        probe.setup(one, np.ones(1), one, -np.ones(1), np.ones(1), verbose=False)
        return {name for name in dir(probe.settings) if not name.startswith("_")}

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve, from the previous iterate if there is one."""
        program = WithSlacks(qp, patterned=True)
        q, lower, upper = program.vectors()
        if np.any(lower > upper):  # OSQP would raise
            return Solution(None, "infeasible", 0)
        q = np.append(q, max(1.0, float(np.abs(q).max(initial=0.0))))  # beyond its tolerances
        lower, upper = np.append(lower, 0.0), np.append(upper, 0.0)
        if self._solver is None:
            P, A = self._matrices(program)
            self._solver = osqp.OSQP()
            self._solver.setup(P, q, A, lower, upper, **self._settings)
        elif matrices_changed:
            P, A = self._matrices(program)
            self._solver.update(Px=P.data, Ax=A.data, q=q, l=lower, u=upper)
        else:
            self._solver.update(q=q, l=lower, u=upper)
        self._solver.update_settings(time_limit=min(self.limit(seconds), UNBOUNDED))
        result = self._solver.solve(raise_error=False)
        status, iterations = str(result.info.status), int(result.info.iter)
        if status == INTERRUPTED:  # OSQP took the signal; it belongs to whoever handles it
            self.forget()
            signal.raise_signal(signal.SIGINT)
            return Solution(None, status, iterations)
        if status != "solved" or not np.isfinite(result.x).all():
            self.forget()
            return Solution(None, self.STATUS.get(status, status), iterations)
        multipliers = program.multipliers(np.asarray(result.y[:-1]))
        return Solution(np.asarray(result.x[: len(qp.f)]), "optimal", iterations, multipliers)

    @staticmethod
    def _matrices(program: WithSlacks) -> tuple[Any, Any]:
        P, A = program.matrices()
        free, alone = sp.csc_matrix((1, 1)), sp.identity(1)
        return sp.block_diag([P, free], format="csc"), sp.block_diag([A, alone], format="csc")

    def forget(self) -> None:
        """Drop the iterate."""
        self._solver = None
