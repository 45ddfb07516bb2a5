"""A control problem stated a second time in CVXPY.

It shares nothing with the first statement: lifted states are variables, tied by the dynamics step
by step, bounds are slacks of their own, and Clarabel solves it at tight tolerance.
"""

from __future__ import annotations

from typing import NamedTuple

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.vstack import vstack
from cvxpy.atoms.elementwise.maximum import maximum
from cvxpy.atoms.sum_squares import sum_squares

from examples.campaigns.kinds import Kind, Numbers
from koopman_control.common.arrays import Array

SURE = ("optimal", "infeasible")  # also unlike CVXPY's word for too many iterations
TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


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
            answer = Answer(float(self._problem.value), self._problem.status in SURE)
            if answer.sure:
                break
        return answer


def _squares(rows: cp.Expression, weight: Array) -> cp.Expression:
    values, vectors = np.linalg.eigh(weight)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    squares: cp.Expression = sum_squares(rows @ root.T)
    return squares
