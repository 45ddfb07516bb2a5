"""The planner of nonlinear roll-outs: a sequence of convex programs.

A nonlinear roll-out is linearised about each guess, which gives a convex program with the exact
cost; a line search on the true predicted cost decides how far to follow its solution (Gauss-Newton
sequential quadratic programming). Several guesses are treated as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from koopman_control.common.arrays import Array, all_finite
from koopman_control.mpc.planning.condense import Condenser, Instance
from koopman_control.mpc.planning.merit import Merit
from koopman_control.mpc.planning.plan import NOT_FINITE, Plan, Predicted, Situation, Times
from koopman_control.mpc.planning.scenarios import Scenarios
from koopman_control.mpc.solvers import Solution, Solver

STEP_LENGTHS = np.array([1.0, 0.6, 0.3, 0.1, 0.03])
SMALLEST_GAIN = 1e-9  # relative improvement of the cost that is worth another round


@dataclass
class Work:
    """What solving took so far: the solver's words, iterations and seconds."""

    words: list[str] = field(default_factory=list)
    iterations: int = 0
    update: float = 0.0
    solve: float = 0.0

    def note(self, solution: Solution, update: float, solve: float) -> None:
        """Add a solution and the seconds it took."""
        finite = solution.v is None or all_finite(solution.v)
        self.words.append(solution.status if finite else NOT_FINITE)
        self.iterations += solution.iterations
        self.update += update
        self.solve += solve


class SequentialPlanner:
    """Sequential quadratic programming on a nonlinear roll-out, over a batch of guesses.

    Args:
        scenarios: What predicts, "bilinear" or "relifted".
        condenser: The compiled problem.
        merit: Prices plans, also those that are not made of the condenser's free values.
        solver: A solver of its own.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        condenser: Condenser,
        merit: Merit,
        solver: Solver,
    ) -> None:
        self._scenarios, self._condenser = scenarios, condenser
        self.merit, self._solver = merit, solver

    def reset(self) -> None:
        """Begin an episode."""
        self._solver.forget()

    def rehearse(self) -> None:
        """A first step is so much longer than others that there is nothing to gain."""

    def plan(self, at: Situation, guesses: Array, predicted: Array | None, kept: list[int]) -> Plan:
        """Improve feasible guesses (S, N, m); round i goes on with the best kept[i] of them.

        `predicted` holds the states (S, N, d) that the guesses lead to, or None to compute them.
        """
        start = perf_counter()
        U, priced_at = guesses, self.merit.at(at.theta)
        X = self._rolled_out(at, U) if predicted is None else predicted
        Y, cost = self._judged(at, priced_at, U, X)
        work = Work()
        for n in kept:
            if n < len(U):
                best = np.argsort(cost, kind="stable")[:n]
                U, Y, cost = U[best], Y[best], cost[best]
            U_new = self._solutions(at, U, Y, work)
            U, Y, cost, gain = self._searched(at, priced_at, U, Y, cost, U_new)
            if gain <= SMALLEST_GAIN:
                break
        i = int(np.argmin(cost))
        status = "optimal" if "optimal" in work.words else work.words[0]
        if status == "optimal" and not np.isfinite(cost[i]):
            status = NOT_FINITE
        rest = perf_counter() - start - work.update - work.solve
        times = Times(rest, work.update, work.solve)
        return Plan(U[i], Predicted(Y[i], float(cost[i])), status, work.iterations, times)

    def _rolled_out(self, at: Situation, U: Array) -> Array:
        with np.errstate(all="ignore"):  # a guess may well drive the model out of its range
            return self._scenarios.predicted(at.start, U)

    def _judged(
        self, at: Situation, priced_at: Instance, U: Array, X: Array
    ) -> tuple[Array, Array]:
        """Bring states (S, N, d) near the reference's turn of each angle; return them and costs."""
        with np.errstate(all="ignore"):
            Y = at.reference + self._scenarios.wrap(X - at.reference)
            cost = self.merit(priced_at, U.reshape(len(U), -1), Y.reshape(len(U), -1))
        return Y, np.where(np.isfinite(cost), cost, np.inf)

    def _solutions(self, at: Situation, U: Array, Y: Array, work: Work) -> Array:
        """Solve the convex program about every guess; a failed one keeps its guess."""
        S, N, m = U.shape
        with np.errstate(all="ignore"):
            Gamma = self._scenarios.sensitivities(at.start, Y, U).reshape(S, -1, N * m)
        U_new, instance = U.copy(), self._condenser.instance(at.theta)
        for s in range(S):
            if not (np.isfinite(Gamma[s]).all() and np.isfinite(Y[s]).all()):
                work.words.append(NOT_FINITE)
                continue
            start = perf_counter()
            free = Y[s].ravel() - Gamma[s] @ U[s].ravel()
            program = self._condenser.condense(instance, free, Gamma[s])
            updated = perf_counter()
            solution = self._solver.solve(program, matrices_changed=True)
            work.note(solution, updated - start, perf_counter() - updated)
            if solution.v is not None and all_finite(solution.v):
                U_new[s] = self._condenser.inputs(solution.v).reshape(N, m)
        return U_new

    def _searched(
        self, at: Situation, priced_at: Instance, U: Array, Y: Array, cost: Array, U_new: Array
    ) -> tuple[Array, Array, Array, float]:
        """Try all step lengths towards the solutions at once; keep a guess that none improves."""
        S, L = len(U), len(STEP_LENGTHS)
        trials = U[:, None] + STEP_LENGTHS[:, None, None] * (U_new - U)[:, None]
        trials = trials.reshape(S * L, *U.shape[1:])
        Y_trial, cost_trial = self._judged(at, priced_at, trials, self._rolled_out(at, trials))
        pick = np.arange(S) * L + cost_trial.reshape(S, L).argmin(axis=1)
        better = cost_trial[pick] < cost
        U = np.where(better[:, None, None], trials[pick], U)
        Y = np.where(better[:, None, None], Y_trial[pick], Y)
        improved = np.where(better, cost_trial[pick], cost)
        with np.errstate(invalid="ignore"):
            gains = (cost - improved) / np.maximum(np.abs(cost), 1e-12)
        return U, Y, improved, float(np.nanmax(np.append(gains, 0.0)))
