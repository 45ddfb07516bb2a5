"""Random control problems, and the same problems stated a second time in CVXPY.

The second statement shares nothing with the first: lifted states are variables, tied by the
dynamics step by step, bounds are slacks of their own, and Clarabel solves it at tight tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.vstack import vstack
from cvxpy.atoms.elementwise.maximum import maximum
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC

COST = 1e-6  # largest difference in cost, relative to 1 + |cost|
KEPT = 1e-6  # a bound broken by less is kept
AGREED, BOTH_INFEASIBLE, UNDECIDED = "agreed", "both infeasible", "undecided"
TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


@dataclass(frozen=True)
class Kind:
    """What a random problem is like; its numbers follow from the seed.

    Args:
        seed: Seed of all numbers.
        d: States.
        n: Lifted states.
        m: Inputs.
        N: Horizon.
        soft: Whether bounds of states may be broken at a price; None for no such bounds.
        rated: Whether input changes are bounded.
        weighed: Whether inputs and their changes cost something.
        wide: How far bounds, observations and references are from zero, as a power of ten.
    """

    seed: int
    d: int = 2
    n: int = 3
    m: int = 1
    N: int = 5
    soft: bool | None = None
    rated: bool = False
    weighed: bool = True
    wide: float = 0.0

    @classmethod
    def drawn(cls, seed: int) -> Kind:
        """Draw everything from a seed."""
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        return cls(
            seed=seed,
            d=d,
            n=d + int(rng.integers(0, 6)),
            m=int(rng.integers(1, 4)),
            N=int(rng.integers(1, 21)),
            soft=(None, False, True)[rng.integers(3)],
            rated=bool(rng.integers(2)),
            weighed=bool(rng.integers(4)),
            wide=float(rng.uniform(-1.0, 1.0)),
        )


@dataclass(frozen=True)
class Numbers:
    """The constants of a problem, in the words of `KoopmanMPC`."""

    A: Array
    B: Array
    C: Array
    lift: Array
    Q: Array
    R: Array
    S: Array
    terminal: Array
    linear_output: Array
    linear_input: Array
    input_bounds: Array
    rate: float
    output_bounds: Array
    price: float

    @classmethod
    def of(cls, kind: Kind, rng: np.random.Generator) -> Numbers:
        """Draw the numbers of a kind of problem."""
        d, n, m = kind.d, kind.n, kind.m
        A = rng.normal(size=(n, n))
        A *= rng.uniform(0.2, 1.1) / np.abs(np.linalg.eigvals(A)).max()
        free = rng.random(d) < 0.3
        low, high = np.sort(10.0**kind.wide * rng.normal(size=(2, d)), axis=0)
        return cls(
            A=A,
            B=rng.normal(size=(n, m)),
            C=rng.normal(size=(d, n)),
            lift=rng.normal(size=(n, d)),
            Q=_weight(d, rng),
            R=_weight(m, rng) * kind.weighed,
            S=_weight(m, rng) * kind.weighed,
            terminal=_weight(d, rng),
            linear_output=0.1 * rng.normal(size=d) * kind.weighed,
            linear_input=0.1 * rng.normal(size=m) * kind.weighed,
            input_bounds=np.sort(rng.normal(size=(2, m)), axis=0),
            rate=float(rng.uniform(0.1, 1.0)) if kind.rated else np.inf,
            output_bounds=np.stack([np.where(free, -np.inf, low), np.where(free, np.inf, high)]),
            price=float(10.0 ** rng.uniform(-1.0, 3.0)),
        )


def _weight(size: int, rng: np.random.Generator) -> Array:
    """Draw a positive semidefinite weight, of any rank."""
    root = rng.normal(size=(int(rng.integers(0, size + 1)), size))
    return np.asarray(root.T @ root)


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


class Answer(NamedTuple):
    """Least cost, infinite where nothing is allowed, and whether Clarabel is sure of it."""

    cost: float
    sure: bool


class Twin:
    """The problem with lifted states as variables, tied by the dynamics.

    Args:
        kind: What it is like.
        w: Its numbers.
    """

    def __init__(self, kind: Kind, w: Numbers) -> None:
        N, u = kind.N, cp.Variable((kind.N, kind.m))
        z = cp.Variable((N + 1, kind.n))
        self._start, self._previous = cp.Parameter(kind.n), cp.Parameter((1, kind.m))
        self._reference = cp.Parameter((N, kind.d))
        self._input_reference = cp.Parameter((N, kind.m))
        y, change = z[1:] @ w.C.T, u - vstack([self._previous, u])[:-1]
        held = [z[0] == self._start, z[1:] == z[:-1] @ w.A.T + u @ w.B.T]
        held += [u[k] >= w.input_bounds[0] for k in range(N)]
        held += [u[k] <= w.input_bounds[1] for k in range(N)]
        held += [change <= w.rate, change >= -w.rate] if kind.rated else []
        error = y - self._reference
        cost = _squares(error, w.Q) + _squares(error[-1:], w.terminal)
        cost += _squares(u - self._input_reference, w.R) + _squares(change, w.S)
        cost += (y @ w.linear_output).sum() + (u @ w.linear_input).sum()
        for i in np.flatnonzero(np.isfinite(w.output_bounds[0])) if kind.soft is not None else ():
            low, high = w.output_bounds[:, i]
            over = maximum(y[:, i] - high, low - y[:, i], 0.0)
            if kind.soft:
                cost += w.price * (over.sum() + sum_squares(over))
            else:
                held += [y[:, i] <= high, y[:, i] >= low]
        self._problem = cp.Problem(cp.Minimize(cost), held)

    def solve(self, start: Array, reference: Array, inputs: Array, previous: Array) -> Answer:
        """Solve from a lifted state; what is tight for one problem is too tight for another."""
        self._start.value, self._previous.value = start, previous[None]
        self._reference.value, self._input_reference.value = reference, inputs
        answer = Answer(np.nan, False)
        for settings in (TIGHT, {}):
            try:
                self._problem.solve(solver="CLARABEL", **settings)  # type: ignore[no-untyped-call]
            except cp.SolverError:
                continue
            answer = Answer(float(self._problem.value), "inaccurate" not in self._problem.status)
            if answer.sure:
                break
        return answer


def _squares(rows: cp.Expression, weight: Array) -> cp.Expression:
    values, vectors = np.linalg.eigh(weight)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    squares: cp.Expression = sum_squares(rows @ root.T)
    return squares
