"""What all solvers have in common."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from koopman_control.common.arrays import Array, positive_float
from koopman_control.mpc.compilation.dense import DenseQP

UNBOUNDED = 1e30


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

    def solve(self, qp: DenseQP, matrices_changed: bool) -> Solution:
        """Solve; `matrices_changed` says whether H or A differ from the previous call's."""

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


def checked_limit(time_limit: float | None) -> float:
    """Check a time limit in seconds; None means there is none."""
    return math.inf if time_limit is None else positive_float("time_limit", time_limit)
