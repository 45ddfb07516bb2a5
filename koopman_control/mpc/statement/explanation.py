"""What became of a control problem and what its latest step did, for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import cvxpy as cp
import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc.planning.condense import Condenser
from koopman_control.mpc.statement.limits import Limit
from koopman_control.mpc.statement.settings import Mask

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
