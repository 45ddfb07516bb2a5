"""What a controller carries from step to step of an episode, and what it falls back to."""

from __future__ import annotations

from collections import Counter

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc.planning.guesses import shifted, within_bounds
from koopman_control.mpc.planning.plan import Plan, Predicted
from koopman_control.mpc.statement.weights import Weights
from koopman_control.mpc.step import Rung


class Loop:
    """An episode as the controller sees it.

    Args:
        weights: The settings; its bounds hold whatever happens.
        safe: Input applied where there is no plan, shape (m,), within the bounds.

    Attributes:
        plan: Plan of the step before, shape (N, m), or None.
        previous: Input applied last, shape (m,).
        step: Steps since the start.
        rungs: How often each rung was used.
    """

    def __init__(self, weights: Weights, safe: Array) -> None:
        self._weights, self._safe = weights, safe
        reach = weights.rate_bounds, *weights.input_bounds[:, 0]
        self._reach = np.stack(reach, axis=1).tolist()  # rate, low and high of each input
        self.restart()

    def restart(self) -> None:
        """Begin an episode."""
        self.plan: Array | None = None
        self.previous = self._safe.copy()
        self.step, self.rungs = 0, Counter[Rung]()

    def fall_back(self, trouble: str, drop_plan: bool = False) -> tuple[Rung, Plan]:
        """Continue the previous plan, or go to the safe input; within the bounds in any case."""
        if drop_plan:
            self.plan = None
        box, rate = self._weights.input_bounds, self._weights.rate_bounds
        N = box.shape[1]
        rung: Rung = "safe" if self.plan is None else "shifted"
        U = np.tile(self._safe, (N, 1)) if self.plan is None else shifted(self.plan)
        U = within_bounds(U[None], box, rate, self.previous)[0]
        nowhere = Predicted(np.full_like(self._weights.linear_output, np.nan), np.nan)
        return rung, Plan(U, nowhere, trouble, 0)

    def apply(self, rung: Rung, plan: Plan) -> None:
        """Go on by one step: remember the plan and its first input."""
        self.plan = None if rung == "safe" else plan.U
        self.previous = self._within_reach(plan.U[0])
        self.step += 1
        self.rungs[rung] += 1

    def _within_reach(self, u: Array) -> Array:
        """Clip an input to what rate bounds allow after the previous one, and to the box."""
        # One by one, which takes a fraction of numpy's time for so few.
        each = zip(u.tolist(), self.previous.tolist(), self._reach, strict=True)
        return np.array(
            [
                min(max(min(max(value, before - rate), before + rate), low), high)
                for value, before, (rate, low, high) in each
            ]
        )
