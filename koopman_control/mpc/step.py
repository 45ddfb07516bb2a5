"""One step of the controller: the fallback ladder, what is carried on, and what is reported.

A plan, or else the previous one continued, or the safe input; `Step` and `Explanation` tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Literal, NamedTuple

import cvxpy as cp
import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.inputs import shifted, within_bounds
from koopman_control.mpc.planning.condense import Condenser
from koopman_control.mpc.planning.plan import Plan, Predicted, Situation, Times
from koopman_control.mpc.planning.planner import Planning
from koopman_control.mpc.problem import Limit
from koopman_control.mpc.solvers import TIME_LIMIT
from koopman_control.mpc.targets import NothingAskedError
from koopman_control.mpc.weights import Mask, Weights

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


Progress = tuple[Array | None, Array, int, dict[Rung, int]]
WITHIN = 1.0 - 1e-9  # share of a rate bound that leads back into the box, so that there is a way


class Loop:
    """An episode as the controller sees it.

    Args:
        weights: The settings; its bounds hold whatever happens.
        safe: Input applied where there is no plan, shape (m,), within the bounds.

    Attributes:
        plan: Plan of the step before, shape (N, m), or None.
        previous: Input applied last, shape (m,). One that acted beyond the reach of the input box
            counts as the nearest within, so that the box is where the next one is.
        step: Steps since the start.
        rungs: How often each rung was used.
    """

    def __init__(self, weights: Weights, safe: Array) -> None:
        self._weights, self._safe = weights, safe
        rate, (low, high) = weights.rate_bounds, weights.input_bounds[:, 0]
        self._reach = np.stack((rate, low, high), axis=1).tolist()
        self._outermost = low - WITHIN * rate, high + WITHIN * rate
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
        self.previous = self.nearest(applied)

    def nearest(self, applied: Array) -> Array:
        """Move inputs (..., m) that acted so near to the box that the next one can be in it."""
        return np.clip(applied, *self._outermost)

    @property
    def progress(self) -> Progress:
        """All that changes from step to step."""
        return self.plan, self.previous, self.step, dict(self.rungs)

    @progress.setter
    def progress(self, before: Progress) -> None:
        self.plan, self.previous, self.step, rungs = before
        self.rungs = Counter(rungs)

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


RESETS = 3


class Attempt(NamedTuple):
    """The rung, the plan, and what it was to start from, if that is known."""

    rung: Rung
    plan: Plan
    situation: Situation | None


def attempt(
    planning: Planning, loop: Loop, situated: Callable[[], Situation], until: float
) -> Attempt:
    """Plan, or else fall back and say why.

    Args:
        planning: Plans for a situation.
        loop: The episode so far.
        situated: Collects what a plan depends on.
        until: Time of `time.perf_counter` at which to make do with the best plan so far.
    """
    at: Situation | None = None
    try:
        at = situated()
        rung, plan = planning.plan(at, loop.plan, loop.previous, until)
    except Exception as error:  # whatever it is, the loop must go on
        recover(planning)
        why, at_rest = f"{type(error).__name__}: {error}", isinstance(error, NothingAskedError)
        return Attempt(*loop.fall_back(why, drop_plan=at_rest), at)
    if plan.status == "optimal":
        return Attempt(rung, plan, at)
    if plan.status == TIME_LIMIT and isfinite(plan.outcome.cost):
        return Attempt("shifted", plan, at)  # the best guess; the plan before is one of them
    return Attempt(*loop.fall_back(plan.status), at)


def recover(planning: Planning) -> None:
    """Set solvers up anew, whatever state they are in, even while signals go on coming."""
    for _ in range(RESETS):
        try:
            planning.reset()
        except Exception:  # one that is out of order may not even forget
            continue
        return


ACTIVE = 1e-6  # a bound within this of its limit, relative to the largest excess, is active


@dataclass(frozen=True)
class Program:
    """Size of the program solved at every step.

    Args:
        variables: Free values.
        bounds: How many of them are bounded by themselves.
        hard_rows: Rows that may not be broken.
        soft_rows: Rows that may be broken at a price.
        condition: Condition number of the cost's Hessian, at the target for nonlinear roll-outs.
    """

    variables: int
    bounds: int
    hard_rows: int
    soft_rows: int
    condition: float

    def __str__(self) -> str:
        """Describe in one line."""
        return (
            f"{self.variables} variables ({self.bounds} bounded), {self.hard_rows} hard and "
            f"{self.soft_rows} soft rows, condition {self.condition:.1e}"
        )


@dataclass(frozen=True)
class Explanation:
    """What `KoopmanMPC.explain` tells; printing it gives one line for each entry.

    Args:
        model: Model and roll-out.
        statement: Number of scalar variables in the CVXPY problem, by name.
        program: What is solved at every step, or None where CVXPY solves the statement itself.
        inputs: How inputs are parametrised.
        solver: Name of the solver.
        active: Bounds that hold back the latest plan, with the steps at which they do.
        broken: Bounds that it breaks.
        rungs: How often each kind of step was taken since the episode began.
    """

    model: str
    statement: Mapping[str, int]
    program: Program | None
    inputs: str
    solver: str
    active: tuple[str, ...]
    broken: tuple[str, ...]
    rungs: Mapping[str, int]

    def __str__(self) -> str:
        """Write one line for each entry."""
        stated = ", ".join(f"{n} in {name}" for name, n in self.statement.items())
        solved = "the statement itself" if self.program is None else str(self.program)
        counts = ", ".join(f"{n} {rung}" for rung, n in self.rungs.items())
        lines = {
            "model": self.model,
            "stated": f"{sum(self.statement.values())} variables: {stated}",
            "solved": f"{solved}, by {self.solver}",
            "inputs": self.inputs,
            "steps": counts or "none yet",
            "active": "; ".join(self.active) or "none",
            "broken": "; ".join(self.broken) or "none",
        }
        return "\n".join(f"{name:<7} {line}" for name, line in lines.items())


def program_of(condenser: Condenser, Gamma: Array) -> Program:
    """Measure the program about a given sensitivity of outputs to inputs, shape (N p, N m)."""
    condensed = condenser.fixed(Gamma)
    at = condenser.instance(np.zeros(condenser.n_parameters))
    n, soft = len(condensed.H), np.isfinite(condensed.linear_weight)
    bounded = np.isfinite(at.lower[:n]) | np.isfinite(at.upper[:n])
    return Program(
        variables=n,
        bounds=int(bounded.sum()),
        hard_rows=int((~soft).sum()),
        soft_rows=int(soft.sum()),
        condition=float(np.linalg.cond(condensed.H)),
    )


def reached(limits: Sequence[Limit]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name bounds that are active, and those that are broken, at the present values."""
    active, broken = [], []
    for limit in limits:
        excess = np.ravel(np.asarray(limit.excess.value, dtype=np.float64))
        near = ACTIVE * max(1.0, float(np.abs(excess).max()))
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
