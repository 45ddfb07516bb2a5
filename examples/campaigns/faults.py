"""What can go wrong at a step of the loop, on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.planning.sequential import SequentialPlanner
from koopman_control.mpc.solvers import DenseQP, Solution, Solver, SolverBase

SENSOR: dict[str, Callable[[Array, Array, np.random.Generator], Any]] = {
    "NaN": lambda y, before, rng: np.where(rng.random(len(y)) < 0.5, np.nan, y),
    "infinite": lambda y, before, rng: np.where(rng.random(len(y)) < 0.5, -np.inf, y),
    "huge": lambda y, before, rng: y * 10.0 ** rng.uniform(3.0, 300.0),
    "missing": lambda y, before, rng: None,
    "wrong length": lambda y, before, rng: y[:-1],
    "no numbers": lambda y, before, rng: "sensor gone",
    "one step late": lambda y, before, rng: before,
    "last entry jumps": lambda y, before, rng: np.append(y[:-1], 10.0 * rng.normal()),
}
SOLVER = ("solver raises", "solver times out", "solver finds nothing", "solver returns NaN")
FAULTS = (*SENSOR, *SOLVER)


class Unreliable(SolverBase):
    """A solver that fails when told to.

    Args:
        solver: The one that works.

    Attributes:
        fault: One of SOLVER, or "" to work.
    """

    name: ClassVar[str] = "unreliable"

    def __init__(self, solver: Solver) -> None:
        super().__init__()
        self._solver, self.fault = solver, ""

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve, or fail."""
        if self.fault == "solver raises":
            raise RuntimeError(self.fault)
        if self.fault:
            v = np.full(len(qp.f), np.nan) if self.fault == "solver returns NaN" else None
            word = "time limit" if self.fault == "solver times out" else "infeasible"
            return Solution(v, "optimal" if v is not None else word, 1)
        return self._solver.solve(qp, matrices_changed, seconds)

    def prepare(self, qp: DenseQP) -> None:
        """Pass it on."""
        self._solver.prepare(qp)

    def forget(self) -> None:
        """Pass it on."""
        self._solver.forget()


def made_unreliable(mpc: KoopmanMPC) -> list[Unreliable]:
    """Put a solver that can fail into each program of a controller."""
    planner, solvers = mpc._planner, list[Unreliable]()
    assert isinstance(planner, LinearPlanner | SequentialPlanner)
    for one in (planner, planner._softened):
        if one is not None:
            solvers.append(Unreliable(one._solver))
            one._solver = solvers[-1]
    return solvers
