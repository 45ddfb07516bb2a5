"""What all solvers have in common."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from koopman_control.common.arrays import Array
from koopman_control.mpc.compilation.dense import DenseQP

UNBOUNDED = 1e30
TIME_LIMIT = "time limit"  # the status
SHORTEST = 1e-9  # seconds; to solvers, zero means no limit


class Solution(NamedTuple):
    """Answer of a solver.

    Args:
        v: The point, shape (n,), or None if there is none that can be relied on.
        status: "optimal", "infeasible", "unbounded", "iteration limit", "time limit", or the
            solver's own word.
        iterations: Iterations taken.
        multipliers: Of the bounds and rows, shape (n + r,), positive where the upper side holds:
            H v + f + [I A'] multipliers = 0.
    """

    v: Array | None
    status: str
    iterations: int
    multipliers: Array | None = None


class Solver(Protocol):
    """Solves a sequence of programs of one shape, warm-started by the one before."""

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve; what is reached by the time limit is not returned.

        Args:
            qp: The program.
            matrices_changed: Whether H or A differ from the previous call's.
            seconds: Time limit.
        """

    def prepare(self, qp: DenseQP) -> None:
        """Drop the warm start, and set up what the first solution of a program like this needs."""

    def forget(self) -> None:
        """Drop the warm start, so that the next solution depends on its program alone."""


class ColdSolver:
    """A solver that remembers nothing from call to call."""

    def prepare(self, qp: DenseQP) -> None:
        """There is nothing to set up ahead."""

    def forget(self) -> None:
        """There is nothing to drop."""
