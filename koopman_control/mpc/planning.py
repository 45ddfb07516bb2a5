"""From a moment of the loop to a plan: the stated problem, or else its softened twin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import guesses
from koopman_control.mpc.condense import Condenser
from koopman_control.mpc.maps import Index
from koopman_control.mpc.planners import LinearPlanner, Plan, SequentialPlanner, Situation
from koopman_control.mpc.presolve import ParametricQP
from koopman_control.mpc.search import Search
from koopman_control.mpc.softening import softened
from koopman_control.mpc.solvers import SOLVERS, Solver
from koopman_control.mpc.start import Start


@dataclass(frozen=True)
class Moment:
    """What is known when a plan is wanted.

    Args:
        start: What predictions start from.
        reference: Targets of the states, shape (N, d).
        input_reference: Targets of the inputs, shape (N, m).
        previous: Input applied last, shape (m,).
        theta: Values of the problem's parameters.
    """

    start: Start
    reference: Array
    input_reference: Array
    previous: Array
    theta: Array


class Planning(Protocol):
    """Plans moment after moment, warm-started by the one before."""

    def plan(self, now: Moment, before: Array | None) -> tuple[Literal["solved", "softened"], Plan]:
        """Plan; `before` is the plan of the step before, shape (N, m), if there was one."""

    def forget(self) -> None:
        """Begin an episode."""

    def recover(self) -> None:
        """Drop whatever an error may have spoilt."""


@dataclass(frozen=True)
class Level:
    """One way to state the problem, and who solves it."""

    condenser: Condenser
    solver: Solver
    planner: LinearPlanner | SequentialPlanner

    def situation(self, now: Moment) -> Situation:
        """Evaluate the problem at a moment."""
        instance = self.condenser.instance(now.theta)
        return Situation(now.start, now.reference, now.input_reference, instance)


class QuadraticPlanning:
    """Plans through the compiled quadratic program.

    Where hard rows on outputs leave no solution, the same program with these rows relaxed is
    solved; it is set up beforehand.

    Args:
        model: The model.
        rollout: How it is rolled out.
        horizon: Number of steps N.
        qp: The compiled problem.
        solver: Name of the solver.
        search: Where nonlinear roll-outs start from.
        prices: What a violation costs in the relaxed program, per unit and per unit squared.
        controlled: The model's inputs that are planned, shape (c,).

    Attributes:
        levels: The problem as stated and, if it has hard rows on outputs, with these relaxed.
    """

    def __init__(
        self,
        model: LiftedModel,
        rollout: Rollout,
        horizon: int,
        qp: ParametricQP,
        solver: str,
        search: Search,
        prices: tuple[float, float],
        controlled: Index,
    ) -> None:
        self._rollout, self._shape, self._search = rollout, (horizon, len(controlled)), search
        twin = softened(qp, *prices)
        self.levels: list[Level] = []
        for program in [qp] if twin is None else [qp, twin]:
            condenser, own = Condenser(program), SOLVERS[solver]()
            planner = (
                LinearPlanner(model, horizon, condenser, own, controlled)
                if rollout == "linear"
                else SequentialPlanner(model, rollout, condenser, own)
            )
            self.levels.append(Level(condenser, own, planner))

    def plan(self, now: Moment, before: Array | None) -> tuple[Literal["solved", "softened"], Plan]:
        """Plan for a moment."""
        stated, *relaxed = self.levels
        at = stated.situation(now)
        start = self._start(at, before, now.previous)
        plan = stated.planner.plan(at, *start)
        if plan.status == "optimal" or not relaxed:
            return "solved", plan
        return "softened", relaxed[0].planner.plan(relaxed[0].situation(now), *start)

    def _start(self, at: Situation, before: Array | None, previous: Array) -> tuple[Any, ...]:
        """What the planners start from, besides the situation."""
        if self._rollout != "linear":
            return self._search.start(at, before, previous)
        return (np.zeros(self._shape) if before is None else guesses.shifted(before),)

    def forget(self) -> None:
        """Begin an episode: drop warm starts and draw the same guesses again."""
        self._search.restart()
        self.recover()

    def recover(self) -> None:
        """Drop the warm starts."""
        for level in self.levels:
            level.solver.forget()
