"""Planning through CVXPY's own solve: for problems that are no quadratic programs, and to check."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal

import cvxpy as cp
import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.rollouts import linear_response
from koopman_control.mpc import guesses
from koopman_control.mpc.inputs import columns_of
from koopman_control.mpc.maps import Index
from koopman_control.mpc.planners import Plan
from koopman_control.mpc.planning import Moment
from koopman_control.mpc.problem import TrackingProblem

TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


def solved_about(
    stated: TrackingProblem,
    model: LiftedModel,
    rollout: Rollout,
    now: Moment,
    U: Array,
    problem: cp.Problem,
    **settings: Any,
) -> Plan:
    """Solve the convex program about a guess U of shape (N, m) with Clarabel."""
    Y, Gamma = now.start.linearized(model, U, rollout)
    Y = now.reference + model.coordinates.wrap(Y - now.reference)
    stated.assign(now.theta)
    stated.gamma.value = Gamma
    stated.free.value = Y.ravel() - Gamma @ U.ravel()
    cost = problem.solve(solver="CLARABEL", **settings)  # type: ignore[no-untyped-call]
    if problem.status != cp.OPTIMAL:
        return Plan(U, np.full_like(Y, np.nan), np.inf, str(problem.status), 0)
    iterations = int(problem.solver_stats.num_iters or 0)
    u, y = (np.asarray(v.value, dtype=np.float64) for v in (stated.u, stated.y))
    return Plan(u, y, float(cost), "optimal", iterations)


class CvxpyPlanning:
    """Plans through CVXPY itself.

    A linear roll-out is exact after one solve; others are re-linearised about each solution, with
    full steps.

    Args:
        stated: The problem.
        model: The model.
        rollout: How it is rolled out.
        rounds: Re-linearisations per step of nonlinear roll-outs.
        controlled: The model's inputs that are planned, shape (c,).
    """

    def __init__(
        self,
        stated: TrackingProblem,
        model: LiftedModel,
        rollout: Rollout,
        rounds: int,
        controlled: Index,
    ) -> None:
        self._stated, self._model, self._rollout = stated, model, rollout
        self._rounds = 1 if rollout == "linear" else rounds
        self._problem, self._settings = stated.problem, {"ignore_dpp": True}
        if rollout == "linear":  # few parameters, so that CVXPY may keep its canonical form
            horizon = stated.u.shape[0]
            response = linear_response(model.A, model.B, model.C, horizon)[1]
            Gamma = columns_of(response, controlled, model.n_inputs)
            self._problem, self._settings = stated.predicted_by(Gamma), {}
        warnings.warn(
            "each step is solved through CVXPY itself, which takes milliseconds to a second rather "
            "than microseconds; state the problem with quadratic costs and affine constraints if "
            "it has to be fast",
            stacklevel=4,
        )

    def plan(self, now: Moment, before: Array | None) -> tuple[Literal["solved", "softened"], Plan]:
        """Plan for a moment."""
        U = now.input_reference if before is None else guesses.shifted(before)
        iterations = 0
        for _ in range(self._rounds):
            plan = solved_about(
                self._stated, self._model, self._rollout, now, U, self._problem, **self._settings
            )
            U, iterations = plan.U, iterations + plan.iterations
            if plan.status != "optimal":
                break
        return "solved", replace(plan, iterations=iterations)

    def forget(self) -> None:
        """Begin an episode; nothing is kept from step to step."""

    def recover(self) -> None:
        """Nothing is kept that could be spoilt."""
