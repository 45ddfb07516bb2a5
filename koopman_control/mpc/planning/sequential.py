"""The planner of nonlinear roll-outs: a sequence of convex programs.

A nonlinear roll-out is linearised about each guess, which gives a convex program with the exact
cost; a line search on the true predicted cost decides how far to follow its solution (Gauss-Newton
sequential quadratic programming). Several guesses are treated as one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from koopman_control.common.arrays import Array, all_finite
from koopman_control.mpc.planning.condense import Condenser, Instance, Merit
from koopman_control.mpc.planning.plan import NOT_FINITE, Plan, Predicted, Situation, Times
from koopman_control.mpc.planning.prediction import Scenarios
from koopman_control.mpc.solvers import TIME_LIMIT, Solution, Solver

STEP_LENGTHS = np.array([1.0, 0.6, 0.3, 0.1, 0.03])
SMALLEST_GAIN = 1e-9  # relative improvement of the cost that is worth another round
RELAXED = 0.9  # by which the pace is doubted after a search that was cut


@dataclass
class Work:
    """What solving took so far, and until when it may go on.

    Args:
        until: Time of the clock.
        words: What the solver said.
        status: Its best word in the rounds that were finished.
        over: Whether time ran out.
        cut: Whether the search was shortened, for lack of time.
        iterations: The solver's.
        update: Seconds spent filling in programs.
        solve: Seconds spent solving them.
    """

    until: float
    words: list[str] = field(default_factory=list)
    status: str = TIME_LIMIT
    over: bool = False
    cut: bool = False
    iterations: int = 0
    update: float = 0.0
    solve: float = 0.0

    def note(self, solution: Solution, update: float, solve: float) -> None:
        """Add a solution and the seconds it took."""
        finite = solution.v is None or all_finite(solution.v)
        self.words.append(solution.status if finite else NOT_FINITE)
        self.over |= solution.status == TIME_LIMIT
        self.iterations += solution.iterations
        self.update += update
        self.solve += solve

    def late(self) -> bool:
        """Whether there is no time left."""
        self.over |= perf_counter() >= self.until
        self.cut |= self.over
        return self.over

    def affordable(self, wanted: int, pace: float) -> int:
        """How many guesses a round can go on with, at so many seconds for each."""
        if self.late():
            return 0
        left = self.until - perf_counter()
        n = wanted if left >= wanted * pace else int(left / pace)
        self.cut |= n < wanted
        return n

    def finish_round(self) -> None:
        """Take the words of a round into account."""
        self.status = "optimal" if "optimal" in self.words else self.words[0]


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
        self._scenarios, self.condenser = scenarios, condenser
        self.merit, self._solver = merit, solver
        self._pace = 0.0  # seconds that a guess took in the latest round

    def reset(self) -> None:
        """Begin an episode."""
        self._solver.forget()

    def rehearse(self) -> None:
        """A first step is so much longer than others that there is nothing to gain."""

    @np.errstate(all="ignore")  # a plan may well drive the model out of its range
    def plan(
        self,
        at: Situation,
        guesses: Array,
        predicted: Array | None,
        kept: list[int],
        until: float = math.inf,
    ) -> Plan:
        """Improve feasible guesses (S, N, m); round i goes on with the best kept[i] of them.

        `predicted` holds the states (S, N, d) that the guesses lead to, or None to compute them.
        A round that is not finished in time is dropped; without any, the best guess is the plan.
        """
        start = perf_counter()
        U, priced_at = guesses, self.merit.at(at.theta)
        X = self._rolled_out(at, U) if predicted is None else predicted
        Y, cost = self._judged(at, priced_at, U, X)
        work = Work(until)
        for wanted in kept:
            n = work.affordable(wanted, self._pace)
            if not n:
                break
            began = perf_counter()
            if n < len(U):
                best = np.argsort(cost, kind="stable")[:n]
                U, Y, cost = U[best], Y[best], cost[best]
            U_new = self._solutions(at, U, Y, work)
            if work.late():
                break
            work.finish_round()
            U, Y, cost, gain = self._searched(at, priced_at, U, Y, cost, U_new)
            self._pace = (perf_counter() - began) / len(U)
            if gain <= SMALLEST_GAIN:
                break
        i = int(np.argmin(cost))
        status = work.status
        if status == "optimal" and not np.isfinite(cost[i]):
            status = NOT_FINITE
        rest = perf_counter() - start - work.update - work.solve
        times = Times(rest, work.update, work.solve)
        outcome = Predicted(Y[i], float(cost[i]))
        self._pace *= RELAXED if work.cut else 1.0
        return Plan(U[i], outcome, status, work.iterations, times, work.cut)

    def _rolled_out(self, at: Situation, U: Array) -> Array:
        return self._scenarios.predicted(at.start, U)

    def _judged(
        self, at: Situation, priced_at: Instance, U: Array, X: Array
    ) -> tuple[Array, Array]:
        """Bring states (S, N, d) near the reference's turn of each angle; return them and costs."""
        Y = at.reference + self._scenarios.wrap(X - at.reference)
        cost = self.merit(priced_at, U.reshape(len(U), -1), Y.reshape(len(U), -1))
        return Y, np.where(np.isfinite(cost), cost, np.inf)

    def _solutions(self, at: Situation, U: Array, Y: Array, work: Work) -> Array:
        """Solve the convex program about every guess; a failed one keeps its guess."""
        S, N, m = U.shape
        Gamma = self._scenarios.sensitivities(at.start, Y, U).reshape(S, -1, N * m)
        U_new, instance = U.copy(), self.condenser.instance(at.theta)
        for s in range(S):
            if work.late():
                break
            if not (np.isfinite(Gamma[s]).all() and np.isfinite(Y[s]).all()):
                work.words.append(NOT_FINITE)
                continue
            start = perf_counter()
            free = Y[s].ravel() - Gamma[s] @ U[s].ravel()
            program = self.condenser.condense(instance, free, Gamma[s])
            updated = perf_counter()
            solution = self._solver.solve(program, True, work.until - updated)
            work.note(solution, updated - start, perf_counter() - updated)
            if solution.v is not None and all_finite(solution.v):
                U_new[s] = self.condenser.inputs(solution.v).reshape(N, m)
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
        gains = (cost - improved) / np.maximum(np.abs(cost), np.finfo(float).tiny)
        return U, Y, improved, float(np.nanmax(np.append(gains, 0.0)))
