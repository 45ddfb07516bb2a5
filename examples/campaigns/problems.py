"""Random controllers, compared with a second statement of their problems."""

from __future__ import annotations

import numpy as np

from examples.campaigns.kinds import Kind, Numbers
from examples.campaigns.twin import Twin
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC

COST = 1e-6  # largest difference in cost, relative to 1 + |cost|
KEPT = 1e-6  # a bound broken by less is kept
AGREED, BOTH_INFEASIBLE, UNDECIDED = "agreed", "both infeasible", "undecided"


class Subject:
    """One random controller, its twin in CVXPY, and as many situations as are asked for.

    Args:
        kind: What it is like.
    """

    def __init__(self, kind: Kind) -> None:
        self._rng = np.random.default_rng(kind.seed)
        self._kind, self._numbers = kind, Numbers.of(kind, self._rng)
        w = self._numbers
        self._reference = np.zeros((kind.N, kind.d))
        self._input_reference = np.zeros((kind.N, kind.m))
        model = LiftedModel.from_arrays(w.A, w.B, w.C, self._lifted)
        self.mpc = KoopmanMPC(
            model,
            kind.N,
            w.Q,
            w.R,
            w.S,
            terminal=w.terminal,
            reference=lambda y: self._reference,
            input_reference=lambda y: self._input_reference,
            linear_output=w.linear_output,
            linear_input=w.linear_input,
            input_bounds=w.input_bounds,
            rate_bounds=w.rate,
            output_bounds=None if kind.soft is None else w.output_bounds,
            soft=bool(kind.soft),
            slack_weight=w.price,
        )
        self._twin = Twin(kind, w)

    def _lifted(self, X: Array) -> Array:
        return np.tanh(X @ self._numbers.lift.T)

    def verdicts(self, n: int) -> list[str]:
        """Compare n steps with the twin: AGREED, BOTH_INFEASIBLE, UNDECIDED, or what differs."""
        kind, rng = self._kind, self._rng
        size, found = 10.0**kind.wide, []
        previous = np.clip(np.zeros(kind.m), *self._numbers.input_bounds)
        for _ in range(n):
            self._reference = size * rng.normal(size=(kind.N, kind.d))
            self._input_reference = rng.normal(size=(kind.N, kind.m))
            x = size * rng.normal(size=kind.d)
            targets = self._reference, self._input_reference
            answer = self._twin.solve(self._lifted(x[None])[0], *targets, previous)
            previous = self.mpc.act(x)
            difference = self._difference(answer.cost)
            known = AGREED if np.isfinite(answer.cost) else BOTH_INFEASIBLE
            found.append((difference if answer.sure else UNDECIDED) if difference else known)
        return found

    def _difference(self, cost: float) -> str:
        """What differs from a cost that is infinite where nothing is allowed; "" for nothing."""
        last = self.mpc.last
        assert last is not None
        if np.isinf(cost):
            return "" if last.rung == "softened" else f"infeasible, yet {last.rung}"
        if last.rung != "solved":
            return f"cost {cost:.9g}, yet {last.rung} ({last.status})"
        if not abs(last.objective - cost) <= COST * (1.0 + abs(cost)):
            return f"cost {last.objective:.9g} instead of {cost:.9g}"
        broken = last.slack.max() if self._kind.soft is False else 0.0
        if not broken <= KEPT * (1.0 + np.abs(last.outputs).max()):
            return f"a hard bound is broken by {broken:.2g}"
        return ""
