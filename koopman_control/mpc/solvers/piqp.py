"""PIQP: a proximal interior-point method from an optional package; it does not start warm."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from koopman_control.common import optional_package
from koopman_control.mpc.solvers.base import (
    UNBOUNDED,
    DenseQP,
    Option,
    Solution,
    SolverBase,
    WithSlacks,
)


class PiqpSolver(SolverBase):
    """Proximal interior-point method for dense programs; it cannot limit its time.

    Raises:
        ImportError: If the package piqp is not installed.
    """

    name: ClassVar[str] = "piqp"
    package: ClassVar[str] = "piqp"
    keeps_time_limit: ClassVar[bool] = False
    accuracy: ClassVar[float] = 1e-8
    SETTINGS: ClassVar = dict.fromkeys(
        ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel"), 1e-13
    )
    STATUS: ClassVar = {
        "PIQP_PRIMAL_INFEASIBLE": "infeasible",
        "PIQP_DUAL_INFEASIBLE": "unbounded",
        "PIQP_MAX_ITER_REACHED": "iteration limit",
        "PIQP_NUMERICS": "numerical trouble",
    }

    def __init__(self, **options: Option) -> None:
        optional_package("piqp", "solvers")
        super().__init__(**options)

    @classmethod
    def options(cls) -> set[str]:
        """Name what PIQP can be told."""
        settings = optional_package("piqp", "solvers").DenseSolver().settings
        return {name for name in dir(settings) if not name.startswith("_")}

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve from scratch, however long it takes."""
        piqp = optional_package("piqp", "solvers")
        program = WithSlacks(qp)
        P, rows = (M.toarray() for M in program.matrices())
        q, lower, upper = program.vectors()
        equal = lower == upper
        bounded = ((lower > -UNBOUNDED) | (upper < UNBOUNDED)) & ~equal  # PIQP prints of others
        solver = piqp.DenseSolver()
        for name, value in self._settings.items():
            setattr(solver.settings, name, value)
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
