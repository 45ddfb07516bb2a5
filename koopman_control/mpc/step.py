"""What the controller reports: what it did in a step, and what became of its problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import cvxpy as cp
import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.planning.condense import ProgramSize
from koopman_control.mpc.planning.plan import Plan, Times
from koopman_control.mpc.problem import Limit, TrackingProblem
from koopman_control.mpc.solvers import TIME_LIMIT
from koopman_control.mpc.state import Rung, Situation
from koopman_control.mpc.units import Units
from koopman_control.mpc.weights import Mask, Weights


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
        ignored: Which of the disturbance and the applied input `act` was given were of no use, and
            why; the forecast before then goes on, and the action returned last is taken to have
            acted. Empty if there is nothing to tell.
    """

    rung: Rung
    plan: Plan
    situation: Situation | None
    weights: Weights
    seconds: float
    model: LiftedModel
    ignored: str = ""

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


ACTIVE = 1e-6  # a bound this near its limit is active, relative to the inputs and outputs in it


@dataclass(frozen=True)
class Explanation:
    """What `KoopmanMPC.explain` tells; printing it gives one line for each entry.

    Args:
        model: Model and roll-out.
        variables: Number of scalar variables in the CVXPY problem, by name.
        program: What is solved at every step, or None where CVXPY solves the problem itself.
        inputs: How inputs are parametrised.
        solver: Name of the solver.
        active: Bounds that hold back the latest plan, with the steps at which they do.
        broken: Bounds that it breaks.
        rungs: How often each kind of step was taken since the episode began.
    """

    model: str
    variables: Mapping[str, int]
    program: ProgramSize | None
    inputs: str
    solver: str
    active: tuple[str, ...]
    broken: tuple[str, ...]
    rungs: Mapping[str, int]

    def __str__(self) -> str:
        """Write one line for each entry."""
        named = ", ".join(f"{n} in {name}" for name, n in self.variables.items())
        solved = "the problem itself" if self.program is None else str(self.program)
        counts = ", ".join(f"{n} {rung}" for rung, n in self.rungs.items())
        lines = {
            "model": self.model,
            "stated": f"{sum(self.variables.values())} variables: {named}",
            "solved": f"{solved}, by {self.solver}",
            "inputs": self.inputs,
            "steps": counts or "none yet",
            "active": "; ".join(self.active) or "none",
            "broken": "; ".join(self.broken) or "none",
        }
        return "\n".join(f"{name:<7} {line}" for name, line in lines.items())


def reached(
    tracking: TrackingProblem, last: Step | None, units: Units
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name bounds that are active in the latest plan, and those that it breaks."""
    if last is None or last.situation is None or not last.planned:
        return (), ()
    tracking.assign(last.situation.theta)
    tracking.u.value, tracking.y.value = last.inputs, last.outputs
    sizes = {
        variable: np.maximum(np.abs(value), usual).ravel(order="F")
        for variable, value, usual in (
            (tracking.u, last.inputs, units.inputs),
            (tracking.y, last.outputs, units.states),
        )
    }
    active, broken = [], []
    for limit in tracking.limits:
        excess = np.ravel(np.asarray(limit.excess.value, dtype=np.float64))
        slopes = limit.excess.grad
        near = ACTIVE * sum(abs(slopes[v]).T @ size for v, size in sizes.items() if v in slopes)
        active += _named(limit, np.abs(excess) <= near)
        broken += _named(limit, excess > near)
    return tuple(active), tuple(broken)


def _named(limit: Limit, chosen: Mask) -> list[str]:
    """Name a limit's chosen entries (r,), one name for each column with its steps."""
    places = limit.places[np.flatnonzero(chosen)]
    if limit.first is None:
        return [f"{limit.name}, {_runs('row', places[:, 0])}"] if len(places) else []
    return [
        f"{limit.name} {column}, {_runs('step', places[places[:, 1] == column, 0] + limit.first)}"
        for column in np.unique(places[:, 1])
    ]


def _runs(kind: str, numbers: Iterable[int]) -> str:
    """Write 1, 2, 3, 7 as "steps 1-3, 7"."""
    runs = [
        [int(number) for _, number in run]
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    ]
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{kind} {text}" if text.isdigit() else f"{kind}s {text}"


def sizes_of(problem: cp.Problem) -> dict[str, int]:
    """Count the entries of a problem's variables, by name."""
    named = {v.name(): int(v.size) for v in problem.variables()}
    own = ("u", "y")
    others = sum(size for name, size in named.items() if name not in own)
    return {name: named[name] for name in own} | ({"others": others} if others else {})
