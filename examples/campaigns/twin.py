"""A control problem stated a second time in CVXPY.

It shares nothing with the first statement: lifted states are variables, tied by the dynamics step
by step, bounds are slacks of their own, and Clarabel solves it at tight tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.vstack import vstack
from cvxpy.atoms.elementwise.maximum import maximum
from cvxpy.atoms.sum_squares import sum_squares

from examples.campaigns.judge import Answer, Priced, judged, priced
from examples.campaigns.kinds import Kind, Numbers
from koopman_control.common.arrays import Array


class Twin:
    """The problem with lifted states as variables, tied by the dynamics.

    Args:
        kind: What it is like.
        w: Its numbers.
    """

    def __init__(self, kind: Kind, w: Numbers) -> None:
        N, u = kind.N, cp.Variable((kind.N, kind.m))
        self._starts = [cp.Parameter(kind.n) for _ in w.A]
        self._previous = cp.Parameter((1, kind.m))
        self._reference = cp.Parameter((N, kind.d))
        self._input_reference = cp.Parameter((N, kind.m))
        self._measured = cp.Parameter((N, kind.n_measured)) if kind.n_measured else None
        change = u - vstack([self._previous, u])[:-1]
        held = [u >= np.stack([w.input_bounds[0]] * N), u <= np.stack([w.input_bounds[1]] * N)]
        held += [change <= w.rate, change >= -w.rate] if kind.rated else []
        held += _few_values(kind, u)
        cost = _squares(u - self._input_reference, w.R) + _squares(change, w.S)
        cost += (u @ w.linear_input).sum()
        self._numbers, self._u = w, u
        self._lifted = [cp.Variable((N + 1, kind.n)) for _ in w.A]
        matrices = w.A, w.B, w.C
        for A, B, C, start, z in zip(*matrices, self._starts, self._lifted, strict=True):
            driven = u @ B[:, kind.n_measured :].T
            if self._measured is not None:
                driven += self._measured @ B[:, : kind.n_measured].T
            held += [z[0] == start, z[1:] == z[:-1] @ A.T + driven]
            y = z[1:] @ C.T
            error = y - self._reference
            own = _squares(error, w.Q) + _squares(error[-1:], w.terminal)
            own += (y @ w.linear_output).sum()
            for over, hard in _excesses(kind, w, y, u):
                if hard:
                    held.append(over <= 0.0)
                else:
                    broken = maximum(over, 0.0)
                    own += w.price * (broken.sum() + sum_squares(broken))
            cost += own / len(w.A)
        self._problem = cp.Problem(cp.Minimize(cost), held)

    def solve(
        self, starts: Array, reference: Array, inputs: Array, previous: Array, measured: Array
    ) -> Answer:
        """Solve from lifted states, one of each model."""
        for parameter, start in zip(self._starts, starts, strict=True):
            parameter.value = start
        self._previous.value = previous[None]
        self._reference.value, self._input_reference.value = reference, inputs
        if self._measured is not None:
            self._measured.value = measured
        return judged(self._problem)

    def priced(self, U: Array) -> Priced:
        """Price a plan (N, m) in the problem solved last."""
        self._u.value = U
        known = U if self._measured is None else np.hstack([np.array(self._measured.value), U])
        models = zip(self._numbers.A, self._numbers.B, self._starts, self._lifted, strict=True)
        for A, B, start, z in models:
            Z = [np.array(start.value)]
            for u in known:
                Z.append(A @ Z[-1] + B @ u)
            z.value = np.stack(Z)
        return priced(self._problem)


def _few_values(kind: Kind, u: cp.Variable) -> list[cp.Constraint]:
    """State that inputs are constant over blocks, or change evenly from knot to knot."""
    steps = [u[k] - u[k - 1] for k in range(1, kind.N)]  # steps[k - 1] leads to u[k]
    held: list[cp.Constraint] = []
    if kind.plan == "blocks":
        held += [steps[k - 1] == 0.0 for k in range(1, kind.N) if k not in kind.cuts]
    if kind.plan == "knots":
        last = kind.cuts[-1]
        held += [step == 0.0 for step in steps[last:]]
        held += [steps[k] == steps[k - 1] for k in range(1, last) if k not in kind.cuts]
    return held


def _excesses(
    kind: Kind, w: Numbers, y: cp.Expression, u: cp.Expression
) -> Iterator[tuple[cp.Expression, bool]]:
    """By how much every bound on states is broken, and whether it must not be."""
    bounds = np.stack([w.output_bounds] * kind.N, axis=1)
    if kind.soft is None:
        bounds[0], bounds[1] = -np.inf, np.inf
    if kind.final:
        bounds[:, -1] = w.terminal_bounds
    for i, (low, high) in enumerate(np.moveaxis(bounds, 2, 0)):
        k = np.flatnonzero(np.isfinite(low))
        if len(k):
            yield maximum(y[k, i] - high[k], low[k] - y[k, i]), not kind.soft
    for on_y, on_u, side in zip(*w.polytope, strict=True):
        yield y @ on_y + u @ on_u - side, not (kind.soft and on_y.any())


def _squares(rows: cp.Expression, weight: Array) -> cp.Expression:
    values, vectors = np.linalg.eigh(weight)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    squares: cp.Expression = sum_squares(rows @ root.T)
    return squares
