"""PIQP: a proximal interior-point method from an optional package; it does not start warm."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from koopman_control.common import Array, optional_package
from koopman_control.mpc.solvers.base import (
    UNBOUNDED,
    Answer,
    Option,
    Solution,
    SolverBase,
    WithSlacks,
    solved_far_or_near,
)
from koopman_control.mpc.solvers.program import DenseQP


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
        "PIQP_SOLVED": "optimal",
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
        return solved_far_or_near(WithSlacks(qp), self._answer)

    def _answer(self, P: Any, rows: Any, q: Array, lower: Array, upper: Array) -> Answer:
        piqp = optional_package("piqp", "solvers")
        P, rows = P.toarray(), rows.toarray()
        equal = lower == upper
        bounded = ((lower > -UNBOUNDED) | (upper < UNBOUNDED)) & ~equal  # PIQP prints of others
        solver = piqp.DenseSolver()
        for name, value in self._settings.items():
            setattr(solver.settings, name, value)
        P = np.triu(P) + np.triu(P, 1).T
        solver.setup(P, q, rows[equal], upper[equal], rows[bounded], lower[bounded], upper[bounded])
        word = str(solver.solve().name)
        found, y = solver.result, np.zeros(len(lower))
        y[equal] = found.y
        y[bounded] = np.asarray(found.z_u) - np.asarray(found.z_l)
        return Answer(np.array(found.x), y, self.STATUS.get(word, word), int(found.info.iter))
