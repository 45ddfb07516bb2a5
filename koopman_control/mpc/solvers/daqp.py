"""DAQP: an active-set method that keeps its factorisation and working set from step to step."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import daqp
import numpy as np

from koopman_control.common.arrays import Array, all_finite
from koopman_control.mpc.solvers.base import TIME_LIMIT, UNBOUNDED, Solution, SolverBase
from koopman_control.mpc.solvers.polishing import LARGE, polished
from koopman_control.mpc.solvers.program import DenseQP

OVERLOOKED = 1e-10  # squared norm of a row in the metric of H; DAQP ignores those below 1e-11
SINGULAR = 1e9  # condition number of H from which on it counts as singular


class DaqpSolver(SolverBase):
    """Dual active-set method for small dense programs; exact, and takes soft rows natively.

    Attributes:
        condition: Condition number of H. Where that is singular, DAQP takes proximal steps, and now
            and then ends short of a solution, or calls what is feasible infeasible.
        overlooks: Whether there are rows so small, measured by H, that DAQP may ignore them.
    """

    name: ClassVar[str] = "daqp"
    starts_warm: ClassVar[bool] = True
    takes_soft_rows: ClassVar[bool] = True
    accuracy: ClassVar[float] = 1e-9
    most_variables: ClassVar[int | None] = 250
    # The last two are of proximal steps, which DAQP takes where H is singular.
    SETTINGS: ClassVar = {"primal_tol": 1e-9, "eps_prox": -1e-3, "eta_prox": 1e-13}
    STATUS: ClassVar = {
        -1: "infeasible",
        -2: "cycling",
        -3: "unbounded",
        -4: "iteration limit",
        -5: "nonconvex",
        -6: "overdetermined start",
        -7: TIME_LIMIT,
    }
    OPTIMAL = (1, 2)  # 2: soft rows are violated

    _model: Any = None
    _kept: tuple[Array, ...] = ()  # DAQP keeps references to the arrays it is given
    _size = 1.0  # by which the cost is divided
    condition, overlooks = 1.0, False
    _seconds = math.inf  # the limit that DAQP knows

    @classmethod
    def options(cls) -> set[str]:
        """Name what DAQP can be told."""
        return set(daqp.Model().settings)

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        """Solve, from the previous working set if there is one."""
        lower, upper = _finite_sides(qp)
        if self._model is None:
            self._look_at(qp)
        if self._size != 1.0:
            qp = qp.divided(self._size)
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
            if seconds != self._seconds:
                self._limit(seconds)
            v, _, flag, info = self._model.solve()
            iterations = int(info["iterations"])
            if flag in self.OPTIMAL and all_finite(v):
                multipliers = info["lam"]
                if multipliers @ multipliers > LARGE**2:
                    v = polished(qp, v, multipliers)
                if self._size != 1.0:
                    multipliers = self._size * multipliers
                return Solution(v, "optimal", iterations, multipliers)
        self.forget()  # a failed working set must not spoil the next step
        return Solution(None, self.STATUS.get(flag, f"error {flag}"), iterations)

    @property
    def warm(self) -> bool:
        """Whether it starts from a working set; without a solution, it drops that."""
        return self._model is not None

    def prepare(self, qp: DenseQP) -> None:
        """Factorise H, unless that is done, with an empty working set."""
        lower, upper = _finite_sides(qp)
        if self._kept and self._kept[0] is qp.H and self._kept[2] is qp.A:
            flag = self._model.update(f=qp.f, bupper=upper, blower=lower, sense=self._sense)
            self._kept = (qp.H, qp.f, qp.A, lower, upper)
        else:
            self._look_at(qp)
            flag = self._set_up(qp if self._size == 1.0 else qp.divided(self._size), lower, upper)
        if flag < 0:  # the program may well have no solution, unlike those that follow
            self.forget()

    def forget(self) -> None:
        """Drop the working set."""
        self._model, self._kept = None, ()

    def _look_at(self, qp: DenseQP) -> None:
        values = np.linalg.eigvalsh(qp.H)
        self.condition = float(values[-1] / values[0]) if values[0] > 0.0 else math.inf
        sizes = np.square(qp.A).sum(axis=1)
        self.overlooks = bool(np.any((sizes > 0.0) & (sizes < OVERLOOKED * float(values[-1]))))
        # The tolerance of proximal steps is an absolute one.
        self._size = qp.cost_size if self.condition >= SINGULAR else 1.0

    def _limit(self, seconds: float) -> None:
        least = 0.0 if math.isinf(seconds) else self.limit(seconds)
        self._model.settings = {"time_limit": least}
        self._seconds = seconds

    def _set_up(self, qp: DenseQP, lower: Array, upper: Array) -> int:
        soft = np.append(np.zeros(len(qp.f), dtype=bool), qp.soft)
        model = daqp.Model()
        model.settings, self._seconds = {**model.settings, **self._settings}, math.inf
        self._sense = np.where(soft, 8, 0).astype(np.int32)
        flag, _ = model.setup(qp.H, qp.f, qp.A, upper, lower, self._sense)
        self._kept = (qp.H, qp.f, qp.A, lower, upper)
        if flag >= 0 and soft.any():  # without a set-up, DAQP would crash
            rho, w = np.ones(len(soft)), np.zeros(len(soft))
            weighted = soft[len(qp.f) :]
            rho[soft] = 1.0 / qp.quadratic_weight[weighted]
            w[soft] = qp.linear_weight[weighted]
            model.soft_weights(rho_l=rho, rho_u=rho, w_l=w, w_u=w)
        self._model = model  # last, so that an interrupt leaves none that is half set up
        return int(flag)


def _finite_sides(qp: DenseQP) -> tuple[Array, Array]:
    """Sides of a program without infinity, which DAQP does not take."""
    lower, upper = qp.lower, qp.upper
    if not all_finite(lower):
        lower = np.maximum(lower, -UNBOUNDED)
    if not all_finite(upper):
        upper = np.minimum(upper, UNBOUNDED)
    return lower, upper
