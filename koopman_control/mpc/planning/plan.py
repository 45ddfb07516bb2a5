"""What planners are given and what they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from koopman_control.common.arrays import Array
from koopman_control.mpc.state import Start

NOT_FINITE = "prediction or plan not finite"


class Situation(NamedTuple):
    """Where prediction starts, targets (N, d) and (N, m), and parameters of the problem."""

    start: Start
    reference: Array
    input_reference: Array
    theta: Array


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
class Predicted:
    """An outcome that is known."""

    Y: Array
    cost: float


class Plan(NamedTuple):
    """Planned inputs U (N, m), what they lead to, what the solver said, and how long it took.

    `cut` tells that the search ended at the deadline.
    """

    U: Array
    outcome: Outcome
    status: str
    iterations: int
    times: Times = NO_TIME
    cut: bool = False
