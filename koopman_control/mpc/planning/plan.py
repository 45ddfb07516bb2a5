"""What planners have in common: how they are called, and what they return."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from koopman_control.common.arrays import Array
from koopman_control.mpc.planning.condense import ProgramSize
from koopman_control.mpc.state import Situation, Start

NOT_FINITE = "prediction or plan not finite"


class Times(NamedTuple):
    """Seconds that a step spent predicting, filling in the program, and solving it."""

    prediction: float = 0.0
    update: float = 0.0
    solve: float = 0.0


NO_TIME = Times()


class Outcome(Protocol):
    """What a plan leads to: predicted states Y, shape (N, d), and their cost."""

    @property
    def Y(self) -> Array:
        """Predicted states, shape (N, d)."""

    @property
    def cost(self) -> float:
        """Predicted cost."""


@dataclass(frozen=True)
class KnownOutcome:
    """An outcome that was computed with the plan."""

    Y: Array
    cost: float


class Plan(NamedTuple):
    """Planned inputs and how they were found.

    Args:
        U: Inputs, shape (N, m).
        outcome: What they lead to.
        status: What the solver said.
        iterations: The solver's.
        times: How long it took.
        cut: Whether the search ended at the deadline.
        softened: Whether hard bounds on outputs were relaxed, since nothing keeps them.
    """

    U: Array
    outcome: Outcome
    status: str
    iterations: int
    times: Times = NO_TIME
    cut: bool = False
    softened: bool = False


class Planner(Protocol):
    """Plans step after step, warm-started by the one before.

    Where hard bounds on outputs leave no solution, it plans with these relaxed.
    """

    def plan(self, at: Situation, before: Array | None, until: float = math.inf) -> Plan:
        """Plan for a situation.

        Args:
            at: What the plan depends on.
            before: Plan of the step before, shape (N, m), or None in an episode's first step.
            until: Time of `time.perf_counter` at which to return the best found so far.
        """

    def reset(self) -> None:
        """Begin an episode, or recover from an error."""

    def warm_up(self) -> None:
        """Run through what the first step of an episode needs."""

    def size(self, start: Start) -> ProgramSize | None:
        """Measure the program about a start; None where CVXPY makes its own."""


RESETS = 3


def recover(planner: Planner) -> None:
    """Set solvers up anew, whatever state they are in, even while signals go on coming."""
    for _ in range(RESETS):
        try:
            planner.reset()
        except Exception:  # one that is out of order may not even forget
            continue
        return
