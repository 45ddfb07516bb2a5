"""What the controller carries from step to step, and what it falls back on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc.planning.plan import KnownOutcome, Plan
from koopman_control.mpc.state import Rung, fallback_inputs, reachable_from
from koopman_control.mpc.weights import Weights


class LoopState:
    """What the controller carries from step to step.

    Args:
        weights: Weights and bounds; the bounds hold whatever happens.
        safe: Input applied where there is no plan, shape (m,), within the bounds.

    Attributes:
        plan: Plan of the step before, shape (N, m), or None.
        previous: Input applied last, shape (m,). One that acted beyond the reach of the input box
            counts as the nearest within, so that the box is where the next one is.
        step: Steps since the start.
        rungs: How often each rung of the ladder was used.
    """

    def __init__(self, weights: Weights, safe: Array) -> None:
        self._weights, self._safe = weights, safe
        reach = weights.rate_bounds, *weights.input_bounds[:, 0]
        self._reach = np.stack(reach, axis=1).tolist()  # rate, low and high of each input
        self.restart()

    def restart(self, previous: Array | None = None) -> None:
        """Begin an episode, after an input (m,), by default the safe one."""
        self.plan: Array | None = None
        self.previous = self._safe.copy()
        self.step, self.rungs = 0, Counter[Rung]()
        if previous is not None:
            self.note(previous)

    def note(self, applied: Array) -> None:
        """Take an input (m,) as the one applied last."""
        self.previous = reachable_from(applied, self._weights)

    @property
    def progress(self) -> tuple[Any, ...]:
        """All that changes from step to step."""
        return self.plan, self.previous, self.step, dict(self.rungs)

    @progress.setter
    def progress(self, before: tuple[Any, ...]) -> None:
        self.plan, self.previous, self.step, rungs = before
        self.rungs = Counter(rungs)

    def fall_back(self, trouble: str) -> tuple[Rung, Plan]:
        """Continue the previous plan, or go to the safe input; within the bounds in any case."""
        rung, U = fallback_inputs(self.plan, self.previous, self._safe, self._weights)
        nowhere = KnownOutcome(np.full_like(self._weights.linear_output, np.nan), np.nan)
        return rung, Plan(U, nowhere, trouble, 0)

    def apply(self, rung: Rung, plan: Plan) -> None:
        """Go on by one step: remember the plan and its first input, within all bounds."""
        self.plan = None if rung == "safe" else plan.U
        # One by one, which takes a fraction of numpy's time for so few.
        each = zip(plan.U[0].tolist(), self.previous.tolist(), self._reach, strict=True)
        self.previous = np.array(
            [
                min(max(min(max(value, before - rate), before + rate), low), high)
                for value, before, (rate, low, high) in each
            ]
        )
        self.step += 1
        self.rungs[rung] += 1
