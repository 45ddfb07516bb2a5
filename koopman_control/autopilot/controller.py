"""The controller that acts: a global search proposes, and something always acts."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from koopman_control.autopilot.search import PlanSearch
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel


@dataclass(frozen=True)
class PilotStep:
    """What happened in a step.

    Args:
        plan: Planned inputs, shape (N, m).
        worth: What the plan is worth on the model.
        seconds: Duration.
        fallback: Whether there was no plan, and the one before was continued.
    """

    plan: Array
    worth: float
    seconds: float
    fallback: bool


class PilotController:
    """Acts on plans found by searching the learned model.

    Args:
        model: The learned model.
        search: Finds plans on it.
        box: Lowest and highest inputs, shape (2, m).
    """

    def __init__(self, model: LiftedModel, search: PlanSearch, box: Array) -> None:
        self.model, self._search, self._box = model, search, box
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self._search.restart()
        self.last: PilotStep | None = None

    def act(self, observation: Array) -> Array:
        """Return the action (m,) for an observation (p,)."""
        start = perf_counter()
        x = self.model.state(observation)
        plan, worth = self._search.plan(x)
        fallback = not np.isfinite(plan).all() or worth < -1e29
        if fallback and self.last is not None:
            plan = np.concatenate([self.last.plan[1:], self.last.plan[-1:]])
        self.last = PilotStep(plan, worth, perf_counter() - start, fallback)
        return np.clip(plan[0], *self._box)
