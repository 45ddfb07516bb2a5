"""What a user added to a problem, as CVXPY's canonical program of it: arrays instead of code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.atoms.affine.hstack import hstack
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control.common.arrays import Array, Index, balanced
from koopman_control.mpc.compile.canonical import affine_qp
from koopman_control.mpc.compile.program import AffineMap

LONGEST = 60  # characters of a constraint that its name keeps


@dataclass(frozen=True)
class CanonicalTerm:
    """A cost and constraints: min x'Px/2 + q'x + c, E x = b, F x <= g, with y and u inside of x.

    Args:
        P: Symmetric, shape (n, n).
        q: Linear cost, as a function of the parameters.
        c: Constant of the cost, one row.
        E: Equality rows, shape (e, n).
        b: Their right-hand side.
        F: Inequality rows, shape (i, n).
        g: Their right-hand side.
        columns: Where "y" and "u" lie in x, as far as they occur, in their shapes.
        parameters: Names of all parameters, in the order in which their entries are stacked.
        names: What each inequality row says, in the user's words; rows of one constraint alike.
    """

    P: sp.csr_array
    q: AffineMap
    c: AffineMap
    E: sp.csr_array
    b: AffineMap
    F: sp.csr_array
    g: AffineMap
    columns: dict[str, Index]
    parameters: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        cost: cp.Expression,
        constraints: Sequence[cp.Constraint],
        variables: Mapping[str, cp.Variable],
        parameters: Mapping[str, cp.Parameter],
    ) -> CanonicalTerm:
        """Canonicalise a cost and constraints in variables "y" and "u".

        Raises:
            ValueError: If they are no quadratic program with constant matrices.
        """
        texts = [_shortened(str(constraint)) for constraint in constraints]
        marks = [f"{i}:" for i in range(len(constraints))]
        for constraint, mark in zip(constraints, marks, strict=True):
            constraint.label = mark  # so that rows can be told apart
        problem = cp.Problem(cp.Minimize(cost), [*constraints])
        inside = {v.id for v in problem.variables()}
        own = [v for v in variables.values() if v.id in inside]
        qp = affine_qp(problem, list(parameters.values()), own)
        t = len(qp.c.linear)
        found = [[k for k, mark in enumerate(marks) if n.startswith(mark)] for n in qp.names[1]]
        return cls(
            P=qp.P,
            q=qp.q,
            c=AffineMap(np.array([qp.c.constant]), sp.csr_array(qp.c.linear.reshape(1, t))),
            E=qp.E,
            b=qp.b,
            F=qp.F,
            g=qp.g,
            columns=qp.columns,
            parameters=tuple(parameters),
            names=tuple(texts[k[0]] if k else "auxiliary row" for k in found),
        )

    def __call__(
        self, y: cp.Expression, u: cp.Expression, p: Any
    ) -> tuple[list[cp.Constraint], cp.Expression]:
        """State it again for other variables y (N, d) and u (N, m)."""
        x = self._variables({"y": y, "u": u})
        values = [getattr(p, name).flatten(order="C") for name in self.parameters]
        theta = hstack(values) if values else None
        rows = sp.csr_array(_root(self.P.toarray()))
        cost: cp.Expression = _at(self.q, theta) @ x + _at(self.c, theta)[0]
        if rows.shape[0]:
            cost += 0.5 * sum_squares(rows @ x)
        constraints: list[cp.Constraint] = []
        if self.E.shape[0]:
            constraints.append(self.E @ x == _at(self.b, theta))
        for name in dict.fromkeys(self.names):
            of_one = np.flatnonzero([other == name for other in self.names])
            constraint = self.F[of_one] @ x <= _at(self.g[of_one], theta)
            constraint.label = name
            constraints.append(constraint)
        return constraints, cost

    def _variables(self, known: Mapping[str, cp.Expression]) -> cp.Expression:
        """Put x together of y, u and further variables."""
        n = self.P.shape[0]
        placed = [columns.ravel() for columns in self.columns.values()]
        parts = [known[name].flatten(order="C") for name in self.columns]
        others = np.setdiff1d(np.arange(n), np.concatenate([np.zeros(0, dtype=np.int64), *placed]))
        if len(others):
            placed.append(others)
            parts.append(cp.Variable(len(others)))
        order = np.argsort(np.concatenate(placed))
        stacked: cp.Expression = hstack(parts)[order]
        return stacked


def _at(values: AffineMap, theta: cp.Expression | None) -> Any:
    """Evaluate at parameters, none of which may matter."""
    if theta is None or not values.matrix.nnz:
        return values.constant
    return values.constant + values.matrix @ theta


def _root(P: Array) -> Array:
    """Find L with L'L = P, without rows of zeros."""
    scaled, unit = balanced(P)
    vals, vectors = np.linalg.eigh(scaled)
    kept = vals > 1e-14 * vals.max(initial=0.0)
    return np.asarray((vectors[:, kept] * np.sqrt(vals[kept])).T * unit)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
