"""Quadratic program solvers behind one call: DAQP (active set, exact) and OSQP (first order).

Both keep their factorisations and working sets from step to step. DAQP takes soft rows natively;
for OSQP each becomes a slack variable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import daqp
import numpy as np
import osqp
import scipy.sparse as sp

from koopman_control.common.arrays import Array
from koopman_control.mpc.condense import DenseQP
from koopman_control.mpc.plan import all_finite

UNBOUNDED = 1e30


@dataclass(frozen=True)
class Solution:
    """Answer of a solver: the point (n,) or None, the solver's word for it, and its iterations."""

    v: Array | None
    status: str
    iterations: int


class Solver(Protocol):
    """Solves a sequence of programs of one shape, warm-started by the one before."""

    def solve(self, qp: DenseQP, matrices_changed: bool) -> Solution:
        """Solve; `matrices_changed` says whether H or A differ from the previous call's."""

    def prepare(self, qp: DenseQP) -> None:
        """Drop the warm start, and set up what the first solution of a program like this needs."""

    def forget(self) -> None:
        """Drop the warm start, so that the next solution depends on its program alone."""


class DaqpSolver:
    """Dual active-set method for small dense programs."""

    SETTINGS: ClassVar = {"primal_tol": 1e-9}
    STATUS: ClassVar = {
        -1: "infeasible",
        -2: "cycling",
        -3: "unbounded",
        -4: "iteration limit",
        -5: "nonconvex",
        -6: "overdetermined start",
        -7: "time limit",
    }
    OPTIMAL = (1, 2)  # 2: soft rows are violated

    def __init__(self) -> None:
        self._model: Any = None
        self._kept: tuple[Array, ...] = ()  # DAQP keeps references to the arrays it is given

    def solve(self, qp: DenseQP, matrices_changed: bool) -> Solution:
        """Solve, from the previous working set if there is one."""
        lower = np.maximum(qp.lower, -UNBOUNDED)  # DAQP takes no infinity
        upper = np.minimum(qp.upper, UNBOUNDED)
        if self._model is None:
            flag = self._set_up(qp, lower, upper)
        elif matrices_changed:
            A = qp.A if len(qp.A) else None
            flag = self._model.update(H=qp.H, f=qp.f, A=A, bupper=upper, blower=lower)
        else:
            flag = self._model.update(f=qp.f, bupper=upper, blower=lower)
        self._kept = (qp.H, qp.f, qp.A, lower, upper)
        iterations = 0
        if flag >= 0:
            v, _, flag, info = self._model.solve()
            iterations = int(info["iterations"])
            if flag in self.OPTIMAL and all_finite(v):
                return Solution(np.asarray(v), "optimal", iterations)
        self.forget()  # a failed working set must not spoil the next step
        return Solution(None, self.STATUS.get(flag, f"error {flag}"), iterations)

    def prepare(self, qp: DenseQP) -> None:
        """Factorise H, with an empty working set."""
        self._set_up(qp, np.maximum(qp.lower, -UNBOUNDED), np.minimum(qp.upper, UNBOUNDED))

    def forget(self) -> None:
        """Drop the working set."""
        self._model, self._kept = None, ()

    def __reduce__(self) -> tuple[type[DaqpSolver], tuple[()]]:
        """Copy to other processes without the solver's memory."""
        return DaqpSolver, ()

    def _set_up(self, qp: DenseQP, lower: Array, upper: Array) -> int:
        soft = np.append(np.zeros(len(qp.f), dtype=bool), np.isfinite(qp.linear_weight))
        self._model = daqp.Model()
        self._model.settings = {**self._model.settings, **self.SETTINGS}
        sense = np.where(soft, 8, 0).astype(np.int32)
        flag, _ = self._model.setup(qp.H, qp.f, qp.A, upper, lower, sense)
        self._kept = (qp.H, qp.f, qp.A, lower, upper)
        if soft.any():
            rho, w = np.ones(len(soft)), np.zeros(len(soft))
            weighted = soft[len(qp.f) :]
            rho[soft] = 1.0 / qp.quadratic_weight[weighted]
            w[soft] = qp.linear_weight[weighted]
            self._model.soft_weights(rho_l=rho, rho_u=rho, w_l=w, w_u=w)
        return int(flag)


class OsqpSolver:
    """Operator-splitting method; accurate to about 1e-5, for comparison and large programs."""

    SETTINGS: ClassVar = {
        "eps_abs": 1e-6,
        "eps_rel": 1e-6,
        "adaptive_rho_interval": 1000,  # adapted sooner, active soft rows can stall it
        "max_iter": 20000,
        "verbose": False,
        "polishing": True,
    }

    def __init__(self) -> None:
        self._solver: Any = None

    def prepare(self, qp: DenseQP) -> None:
        """Drop the iterate; the set-up is no longer than a solution."""
        self.forget()

    def solve(self, qp: DenseQP, matrices_changed: bool) -> Solution:
        """Solve, from the previous iterate if there is one."""
        qp = _of_unit_size(qp)
        q, lower, upper = _vectors(qp)
        if self._solver is None:
            P, A = _matrices(qp)
            self._solver = osqp.OSQP()
            self._solver.setup(P, q, A, lower, upper, **self.SETTINGS)
        elif matrices_changed:
            P, A = _matrices(qp)
            self._solver.update(Px=P.data, Ax=A.data, q=q, l=lower, u=upper)
        else:
            self._solver.update(q=q, l=lower, u=upper)
        result = self._solver.solve(raise_error=False)
        status, iterations = str(result.info.status), int(result.info.iter)
        if status != "solved" or not np.isfinite(result.x).all():
            self.forget()
            return Solution(None, status, iterations)
        return Solution(np.asarray(result.x[: len(qp.f)]), "optimal", iterations)

    def forget(self) -> None:
        """Drop the iterate."""
        self._solver = None

    def __reduce__(self) -> tuple[type[OsqpSolver], tuple[()]]:
        """Copy to other processes without the solver's memory."""
        return OsqpSolver, ()


SOLVERS: dict[str, type[DaqpSolver] | type[OsqpSolver]] = {"daqp": DaqpSolver, "osqp": OsqpSolver}


def _of_unit_size(qp: DenseQP) -> DenseQP:
    """Scale the cost, so that tolerances mean the same in any units; the solution stays."""
    size = float(np.abs(np.diagonal(qp.H)).mean()) or 1.0
    return replace(
        qp,
        H=qp.H / size,
        f=qp.f / size,
        linear_weight=qp.linear_weight / size,
        quadratic_weight=qp.quadratic_weight / size,
    )


def _matrices(qp: DenseQP) -> tuple[Any, Any]:
    """Cost and rows in (v, s), a slack s >= 0 for each soft row: lower - s <= a'v <= upper + s.

    Every entry of H and A is stored, zero or not, so that the pattern stays when values change.
    """
    n, r = len(qp.f), len(qp.A)
    soft = np.flatnonzero(np.isfinite(qp.linear_weight))
    k = len(soft)
    P = sp.block_diag([_full(qp.H, upper=True), sp.diags(qp.quadratic_weight[soft])])
    choose = sp.csc_matrix((np.ones(k), (soft, np.arange(k))), (r, k))
    rows = [
        sp.hstack([sp.identity(n), sp.csc_matrix((n, k))]),
        sp.hstack([_full(qp.A), -choose]),
        sp.hstack([_full(qp.A[soft]), sp.identity(k)]),
        sp.hstack([sp.csc_matrix((k, n)), sp.identity(k)]),
    ]
    return sp.csc_matrix(P), sp.csc_matrix(sp.vstack(rows))


def _vectors(qp: DenseQP) -> tuple[Array, Array, Array]:
    """Linear cost and sides that go with `_matrices`."""
    n, soft = len(qp.f), np.isfinite(qp.linear_weight)
    k = int(soft.sum())
    side_low = np.where(soft, -np.inf, qp.lower[n:])
    lower = np.concatenate([qp.lower[:n], side_low, qp.lower[n:][soft], np.zeros(k)])
    upper = np.concatenate([qp.upper, np.full(2 * k, np.inf)])
    return np.append(qp.f, qp.linear_weight[soft]), lower, upper


def _full(M: Any, upper: bool = False) -> Any:
    """Sparse matrix with every entry of M stored, or every entry of its upper triangle."""
    i, j = np.triu_indices(len(M)) if upper else np.indices(M.shape).reshape(2, M.size)
    return sp.csc_matrix((M[i, j], (i, j)), M.shape)
