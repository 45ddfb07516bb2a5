"""What a controller reports about its latest step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.planning.plan import Plan, Situation, Times
from koopman_control.mpc.solvers import TIME_LIMIT
from koopman_control.mpc.statement.weights import Weights

Rung = Literal["solved", "softened", "shifted", "safe"]


@dataclass(slots=True)  # frozen ones take four times as long to make
class Step:
    """What the controller did in its latest step.

    Args:
        rung: "solved"; "softened" if hard bounds on outputs could not be kept and were broken as
            little as possible; "shifted" if the previous plan was continued instead, or time was
            too short to improve on the best guess; "safe" if there was none, and the safe input
            was applied.
        plan: The plan.
        situation: What the plan starts from, or None where the observation was of no use.
        weights: Weights and bounds that it was made with.
        seconds: Duration of the whole step.
        model: What predicted; the first of several.
    """

    rung: Rung
    plan: Plan
    situation: Situation | None
    weights: Weights
    seconds: float
    model: LiftedModel

    @property
    def status(self) -> str:
        """The solver's word, or why there was nothing to solve."""
        return self.plan.status

    @property
    def cut(self) -> bool:
        """Whether the search for a plan ended at the deadline, with the best found by then."""
        return self.plan.cut or self.status == TIME_LIMIT

    @property
    def inputs(self) -> Array:
        """Planned inputs, shape (N, m)."""
        return self.plan.U

    @property
    def outputs(self) -> Array:
        """Predicted states after each of them, shape (N, d); NaN without a solution."""
        return self.plan.outcome.Y

    @property
    def objective(self) -> float:
        """Predicted cost of the plan."""
        return self.plan.outcome.cost

    @property
    def iterations(self) -> int:
        """Solver iterations, all programs of the step together."""
        return self.plan.iterations

    @property
    def times(self) -> Times:
        """Seconds spent predicting, filling in programs and solving them."""
        return self.plan.times

    @property
    def fallback(self) -> bool:
        """Whether the action came from a fallback."""
        return self.rung != "solved"

    @property
    def planned(self) -> bool:
        """Whether there is a prediction, from a program that was solved in this step."""
        return self.rung in ("solved", "softened")

    @property
    def trust(self) -> float:
        """How far the prediction can be trusted, in [0, 1].

        1 as long as the state and the predicted ones stay within the model's training data, or
        where these are not known; 1 / k if they go k times as far; 0 without a prediction.
        """
        if self.situation is None or not np.isfinite(self.outputs).all():
            return 0.0
        x = self.situation.start.x
        predicted = self.outputs.reshape(len(self.outputs), -1, len(x))
        states = np.concatenate([x[None], predicted.reshape(-1, len(x))])
        with np.errstate(all="ignore"):
            return float(1.0 / np.maximum(1.0, self.model.distance(states)).max())

    @property
    def slack(self) -> Array:
        """Predicted violation of each output bound, zero within it; shape (N, d)."""
        low, high = self.weights.output_bounds
        return np.asarray(np.maximum(0.0, np.maximum(self.outputs - high, low - self.outputs)))
