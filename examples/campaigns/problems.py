"""Random controllers, compared with a second statement of their problems."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from examples.campaigns.judge import NONE_FOR_BOTH, UNDECIDED, Answer, compared
from examples.campaigns.kinds import Kind, Numbers
from examples.campaigns.twin import Twin
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Blocks, Bounds, Cost, Inputs, Knots, KoopmanMPC, Step


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
        models = [
            LiftedModel.from_arrays(A, B, C, self._lifted)
            for A, B, C in zip(w.A, w.B, w.C, strict=True)
        ]
        self.mpc = KoopmanMPC(
            models,
            kind.N,
            w.Q,
            w.R,
            reference=lambda y: self._reference,
            input_bounds=w.input_bounds,
            output_bounds=None if kind.soft is None else w.output_bounds,
            cost=Cost(
                S=w.S,
                terminal=w.terminal,
                input_reference=lambda y: self._input_reference,
                linear_output=w.linear_output,
                linear_input=w.linear_input,
            ),
            bounds=Bounds(
                rates=w.rate,
                terminal=w.terminal_bounds if kind.final else None,
                polytope=w.polytope if kind.n_mixed else None,
                soft=bool(kind.soft),
                slack_weight=w.price,
            ),
            inputs=Inputs(
                parametrization=_parametrised(kind),
                delay=kind.delay,
                measured=range(kind.n_measured),
            ),
        )
        self._twin = Twin(kind, w)
        self._hard_inputs = bool((~w.polytope[0].any(axis=1)).any())  # which nothing softens

    def _lifted(self, X: Array) -> Array:
        return np.tanh(X @ self._numbers.lift.T)

    def verdicts(self, n: int) -> list[str]:
        """Compare n steps with the twin: an agreement, or what differs."""
        kind, rng, more = self._kind, self._rng, np.random.default_rng([self._kind.seed, 2])
        size, found = 10.0**kind.wide, []
        previous = np.clip(np.zeros(kind.m), *self._numbers.input_bounds)
        sent = deque([previous] * kind.delay, maxlen=kind.delay)
        for _ in range(n):
            self._reference = size * rng.normal(size=(kind.N, kind.d))
            self._input_reference = rng.normal(size=(kind.N, kind.m))
            x = size * rng.normal(size=kind.d)
            measured = more.normal(size=(kind.delay + kind.N, kind.n_measured))
            targets = self._reference, self._input_reference
            starts = self._ahead(x, measured, sent)
            answer = self._twin.solve(starts, *targets, previous, measured[kind.delay :])
            previous = self.mpc.act(x, measured if kind.n_measured else None)
            sent.append(previous)
            found.append(self._verdict(answer))
        return found

    def _ahead(self, x: Array, measured: Array, sent: Iterable[Array]) -> Array:
        """Lifted state of every model when the next input will act."""
        w, z = self._numbers, self._lifted(x[None])
        Z = np.broadcast_to(z, (len(w.A), z.shape[1]))
        for at_once, u in zip(measured, sent, strict=False):
            driven = w.B @ np.append(at_once, u)
            Z = np.einsum("kij,kj->ki", w.A, Z) + driven
        return Z

    def _verdict(self, answer: Answer) -> str:
        """Compare the plan with the answer, in a problem that the twin prices plans in."""
        last = self.mpc.last
        assert last is not None
        if last.rung != "solved":
            return self._given_up(answer, last)
        return compared(self._twin.priced(last.inputs), last.objective, answer)

    def _given_up(self, answer: Answer, last: Step) -> str:
        """Whether it was right that the problem has no solution."""
        if np.isfinite(answer.cost):
            said = f"cost {answer.cost:.9g}, yet {last.rung} ({last.status})"
        elif last.rung == "softened" or (self._hard_inputs and last.status == "infeasible"):
            return NONE_FOR_BOTH
        else:
            said = f"infeasible, yet {last.rung} ({last.status})"
        return said if answer.sure else UNDECIDED


def _parametrised(kind: Kind) -> Blocks | Knots | None:
    if kind.plan == "knots":
        return Knots(kind.cuts)
    return Blocks(np.diff([*kind.cuts, kind.N]).tolist()) if kind.plan == "blocks" else None
