"""Interior-point methods: Clarabel, and PIQP, an optional package. Neither starts warm.

Their effort hardly depends on how many rows are active, so large programs take them least time.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import clarabel
import numpy as np
import scipy.sparse as sp

from koopman_control.common import optional_package
from koopman_control.mpc.solvers.base import (
    TIME_LIMIT,
    UNBOUNDED,
    ColdSolver,
    DenseQP,
    Solution,
    WithSlacks,
)


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
        self._settings.time_limit = seconds
        program = WithSlacks(qp)
        P, rows = program.matrices()
        q, lower, upper = program.vectors()
        equal = lower == upper
        above, below = np.isfinite(upper) & ~equal, np.isfinite(lower) & ~equal
        stacked = sp.csc_matrix(sp.vstack([rows[equal], rows[above], -rows[below]]))
        sides = np.concatenate([upper[equal], upper[above], -lower[below]])
        cones: list[Any] = [clarabel.ZeroConeT(int(equal.sum()))]
        cones.append(clarabel.NonnegativeConeT(len(sides) - int(equal.sum())))
        answer = clarabel.DefaultSolver(P, q, stacked, sides, cones, self._settings).solve()
        word = str(answer.status)
        status, iterations = self.STATUS.get(word, word), int(answer.iterations)
        if status != "optimal":
            return Solution(None, status, iterations)
        parts = np.split(np.asarray(answer.z), np.cumsum([equal.sum(), above.sum()]))
        y = np.zeros(len(lower))
        y[equal] = parts[0]
        y[above] += parts[1]
        y[below] -= parts[2]
        v = np.asarray(answer.x)[: len(qp.f)]
        return Solution(v, status, iterations, program.multipliers(y))

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
    }

    def __init__(self) -> None:
        optional_package("piqp", "solvers")

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve from scratch, however long it takes."""
        piqp = optional_package("piqp", "solvers")
        program = WithSlacks(qp)
        P, rows = (M.toarray() for M in program.matrices())
        q, lower, upper = program.vectors()
        equal = lower == upper
        bounded = ((lower > -UNBOUNDED) | (upper < UNBOUNDED)) & ~equal  # PIQP prints of others
        solver = piqp.DenseSolver()
        for tolerance in self.TOLERANCES:
            setattr(solver.settings, tolerance, 1e-13)
        P = np.triu(P) + np.triu(P, 1).T
        solver.setup(P, q, rows[equal], upper[equal], rows[bounded], lower[bounded], upper[bounded])
        word = str(solver.solve().name)
        answer = solver.result
        if word != "PIQP_SOLVED":
            return Solution(None, self.STATUS.get(word, word), int(answer.info.iter))
        y = np.zeros(len(lower))
        y[equal] = answer.y
        y[bounded] = np.asarray(answer.z_u) - np.asarray(answer.z_l)
        v = np.asarray(answer.x)[: len(qp.f)]
        return Solution(v, "optimal", int(answer.info.iter), program.multipliers(y))
