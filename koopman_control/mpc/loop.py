"""What a controller carries from step to step of an episode, and what it falls back to."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import guesses
from koopman_control.mpc.history import History
from koopman_control.mpc.plan import Plan, Predicted
from koopman_control.mpc.step import Rung
from koopman_control.mpc.weights import Weights


class Loop:
    """An episode as the controller sees it.

    Args:
        model: The model.
        weights: The settings; its bounds hold whatever happens.
        safe: Input applied where there is no plan, shape (m,), within the bounds.

    Attributes:
        plan: Plan of the step before, shape (N, m), or None.
        previous: Input applied last, shape (m,).
        history: What was observed and applied.
        step: Steps since the start.
        rungs: How often each rung was used.
    """

    def __init__(self, model: LiftedModel, weights: Weights, safe: Array) -> None:
        self._model, self._weights, self._safe = model, weights, safe
        self.history = History(model)
        self.restart()

    def restart(self) -> None:
        """Begin an episode."""
        self.plan: Array | None = None
        self.previous = self._safe.copy()
        self.history.restart(self._safe)
        self.step, self.rungs = 0, Counter[Rung]()

    def read(self, observation: Any) -> tuple[Array | None, str]:
        """Convert an observation, or say what is wrong with it.

        Raises:
            ValueError: In an episode's first step, if it is no array of the right shape.
        """
        expected = (self._model.coordinates.n_observations,)
        try:
            y = np.asarray(observation, dtype=np.float64)
        except (TypeError, ValueError):
            trouble = f"observation is {observation!r}; expected {expected[0]} numbers"
        else:
            if y.shape == expected:
                return (y, "") if np.isfinite(y).all() else (None, "observation not finite")
            trouble = f"observation has shape {y.shape}; expected {expected}"
        if not self.step:
            raise ValueError(trouble)
        return None, trouble

    def fall_back(self, trouble: str) -> tuple[Rung, Plan]:
        """Continue the previous plan, or go to the safe input; within the bounds in any case."""
        box, rate = self._weights.input_bounds, self._weights.rate_bounds
        N = box.shape[1]
        rung: Rung = "safe" if self.plan is None else "shifted"
        U = np.tile(self._safe, (N, 1)) if self.plan is None else guesses.shifted(self.plan)
        U = guesses.within_bounds(U[None], box, rate, self.previous)[0]
        nowhere = Predicted(np.full((N, self._model.n_states), np.nan), np.nan)
        return rung, Plan(U, nowhere, trouble, 0)

    def apply(self, y: Array | None, rung: Rung, plan: Plan) -> None:
        """Go on by one step: remember what was observed, the plan and its first input."""
        self.plan = None if rung == "safe" else plan.U
        self.previous = self._within_reach(plan.U[0])
        self.history.record(y, self.previous)
        self.step += 1
        self.rungs[rung] += 1

    def _within_reach(self, u: Array) -> Array:
        """Clip an input to what rate bounds allow after the previous one, and to the box."""
        rate, (low, high) = self._weights.rate_bounds, self._weights.input_bounds[:, 0]
        # np.clip costs several times as much on arrays this small.
        u = np.minimum(np.maximum(u, self.previous - rate), self.previous + rate)
        return np.asarray(np.minimum(np.maximum(u, low), high))
