"""The controller that acts: a global search proposes, and something always acts."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from koopman_control.autopilot.refinement import Refinement
from koopman_control.autopilot.search import NOTHING, PlanSearch
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC, Step


@dataclass(frozen=True, eq=False)
class PilotStep:
    """What happened when a plan was made.

    Args:
        plan: Planned inputs, one row per decision, shape (N, m).
        worth: What the plan is worth on the model.
        seconds: Duration.
        fallback: Whether there was no plan, and the one before was continued.
        trouble: Why.
    """

    plan: Array
    worth: float
    seconds: float
    fallback: bool
    trouble: str = ""


class PilotController:
    """Acts on plans found by searching the learned model.

    Args:
        model: The learned model, whose steps are decisions.
        search: Finds plans on it.
        box: Lowest and highest inputs, shape (2, m).
        hold: Steps of the environment that a decision lasts.
        refinement: Improves them by convex programs; None leaves them as they are.

    Attributes:
        last: What happened when the latest plan was made, or None before the first.
    """

    def __init__(
        self,
        model: LiftedModel,
        search: PlanSearch,
        box: Array,
        hold: int = 1,
        refinement: Refinement | None = None,
    ) -> None:
        self.model, self.hold = model, hold
        self._search, self._box, self._refinement = search, box, refinement
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self._search.restart()
        if self._refinement is not None:
            self._refinement.restart()
        self._step = 0
        self.last: PilotStep | None = None

    def act(self, observation: Array) -> Array:
        """Return the action (m,) for an observation (p,).

        Whatever goes wrong, the plan before is continued, or else the middle of the box applied;
        `last` tells.
        """
        if self._step % self.hold == 0 or self.last is None:
            self.last = self._planned(observation)
        self._step += 1
        return np.asarray(np.clip(self.last.plan[0], self._box[0], self._box[1]))

    def _planned(self, observation: Array) -> PilotStep:
        start, trouble = perf_counter(), ""
        try:
            plan, worth = self._found(self.model.state(observation))
            if not np.isfinite(plan).all() or worth <= NOTHING:
                trouble = "every plan drives the model out of its range"
        except Exception as error:  # whatever it is, the loop must go on
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            worth, plan = float("nan"), 0.5 * (self._box[0] + self._box[1])[None]
            if self.last is not None:
                plan = np.concatenate([self.last.plan[1:], self.last.plan[-1:]])
            self._search.restart()
        return PilotStep(plan, worth, perf_counter() - start, bool(trouble), trouble)

    def _found(self, x: Array) -> tuple[Array, float]:
        plan, worth = self._search.plan(x)
        if self._refinement is not None:
            plan, worth = self._refinement.improved(x, plan, worth)
            self._search.follow(plan)
        return plan, worth

    def planned(self, x: Array) -> Array:
        """Return the plan (N, m) from a state (d,), in the order that states are met."""
        return self._found(x)[0]


class Held:
    """A controller that acts every few steps of the environment.

    Args:
        controller: The controller, whose steps are those of the model.
        hold: Steps of the environment that each of its inputs is held for.
    """

    def __init__(self, controller: KoopmanMPC, hold: int) -> None:
        self.controller, self.hold = controller, hold
        self.reset()

    @property
    def last(self) -> Step | None:
        """What happened in the latest step of the controller."""
        return self.controller.last

    def reset(self) -> None:
        """Forget the episode."""
        self.controller.reset()
        self._step, self._input = 0, np.zeros(0)

    def act(self, observation: Array) -> Array:
        """Return the action (m,) for an observation (p,)."""
        if self._step % self.hold == 0:
            self._input = self.controller.act(observation)
        self._step += 1
        return self._input.copy()
