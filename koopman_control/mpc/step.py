"""What a controller reports about its latest step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopman_control.common.arrays import Array

Rung = Literal["solved", "softened", "shifted", "safe"]
RUNGS: tuple[Rung, ...] = ("solved", "softened", "shifted", "safe")


@dataclass(frozen=True)
class Step:
    """What the controller did in its latest step.

    Args:
        rung: "solved"; "softened" if hard bounds on outputs could not be kept and were broken as
            little as possible; "shifted" if the previous plan was continued instead; "safe" if
            there was none, and the safe input was applied.
        status: The solver's word, or why there was nothing to solve.
        inputs: Planned inputs, shape (N, m).
        outputs: Predicted states after each of them, shape (N, d); NaN in fallbacks without a
            prediction.
        output_bounds: Lows and highs of the outputs, shape (2, N, d).
        objective: Predicted cost of the plan.
        iterations: Solver iterations, all programs of the step together.
        seconds: Duration of the whole step.
    """

    rung: Rung
    status: str
    inputs: Array
    outputs: Array
    output_bounds: Array
    objective: float
    iterations: int
    seconds: float

    @property
    def fallback(self) -> bool:
        """Whether the action came from a fallback."""
        return self.rung != "solved"

    @property
    def slack(self) -> Array:
        """Predicted violation of each output bound, zero within it; shape (N, d)."""
        low, high = self.output_bounds
        return np.asarray(np.maximum(0.0, np.maximum(self.outputs - high, low - self.outputs)))
