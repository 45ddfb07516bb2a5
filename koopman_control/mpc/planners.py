"""From a state and guesses to a plan: one program for a linear roll-out, a sequence for others.

A nonlinear roll-out is linearised about each guess, which gives a convex program with the exact
cost; a line search on the true predicted cost decides how far to follow its solution (Gauss-Newton
sequential quadratic programming). Several guesses are treated as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.input_lift import require_plain_inputs
from koopman_control.identification.rollouts import linear_response
from koopman_control.mpc.condense import Condenser, Instance
from koopman_control.mpc.solvers import Solver

STEP_LENGTHS = np.array([1.0, 0.6, 0.3, 0.1, 0.03])
NOT_FINITE = "prediction not finite"
SMALLEST_GAIN = 1e-9  # relative improvement of the cost that is worth another round


@dataclass(frozen=True)
class Plan:
    """Planned inputs U (N, m), predicted states Y (N, d), cost, and what the solver said."""

    U: Array
    Y: Array
    cost: float
    status: str
    iterations: int


@dataclass(frozen=True)
class Situation:
    """What a plan starts from: state (d,), targets (N, d) and (m,), cost and sides at them."""

    x: Array
    reference: Array
    input_reference: Array
    instance: Instance


class LinearPlanner:
    """One convex program per step; exact for the linear roll-out.

    Args:
        model: The model.
        horizon: Number of steps N.
        condenser: The compiled problem.
        solver: A solver of its own.
    """

    def __init__(
        self, model: LiftedModel, horizon: int, condenser: Condenser, solver: Solver
    ) -> None:
        require_plain_inputs(model, 'the linear roll-out is no convex program; use "relifted"')
        self._model, self._horizon = model, horizon
        self._condenser, self._solver = condenser, solver
        self.Phi, self.Gamma = linear_response(model.A, model.B, model.C, horizon)
        self._fixed = condenser.fixed(self.Gamma)
        self._has_angles = bool(model.coordinates.is_angle.any())

    def plan(self, at: Situation, guess: Array) -> Plan:
        """Solve for the inputs; `guess` (N, m) only says which turn of an angle is near."""
        shape = (self._horizon, self._model.n_states)
        free = self.Phi @ self._model.lift(at.x)
        if self._has_angles:
            Y = (free + self.Gamma @ guess.ravel()).reshape(shape)
            near = at.reference + self._model.coordinates.wrap(Y - at.reference)
            free = free + (near - Y).ravel()
        if not np.isfinite(free).all():
            return Plan(guess, free.reshape(shape), np.inf, NOT_FINITE, 0)
        program = self._fixed.at(at.instance, free)
        solution = self._solver.solve(program, matrices_changed=False)
        if solution.v is None:
            return Plan(guess, free.reshape(shape), np.inf, solution.status, solution.iterations)
        Y = free + self.Gamma @ solution.v
        cost = self._condenser.merit(at.instance, solution.v[None], Y[None])[0]
        U = solution.v.reshape(guess.shape)
        return Plan(U, Y.reshape(shape), float(cost), solution.status, solution.iterations)


class SequentialPlanner:
    """Sequential quadratic programming on a nonlinear roll-out, over a batch of guesses.

    Args:
        model: The model.
        rollout: "bilinear" or "relifted".
        condenser: The compiled problem.
        solver: A solver of its own.
    """

    def __init__(
        self, model: LiftedModel, rollout: Rollout, condenser: Condenser, solver: Solver
    ) -> None:
        self._model, self._rollout = model, rollout
        self._condenser, self._solver = condenser, solver

    def plan(self, at: Situation, guesses: Array, predicted: Array | None, kept: list[int]) -> Plan:
        """Improve feasible guesses (S, N, m); round i goes on with the best kept[i] of them.

        `predicted` holds the states (S, N, d) that the guesses lead to, or None to compute them.
        """
        U = guesses
        X = self._rolled_out(at, U) if predicted is None else predicted
        Y, cost = self._judged(at, U, X)
        iterations = 0
        words: list[str] = []
        for n in kept:
            if n < len(U):
                best = np.argsort(cost, kind="stable")[:n]
                U, Y, cost = U[best], Y[best], cost[best]
            U_new, said, used = self._solutions(at, U, Y)
            words, iterations = words + said, iterations + used
            U, Y, cost, gain = self._searched(at, U, Y, cost, U_new)
            if gain <= SMALLEST_GAIN:
                break
        i = int(np.argmin(cost))
        status = "optimal" if "optimal" in words else words[0]
        return Plan(U[i], Y[i], float(cost[i]), status, iterations)

    def _rolled_out(self, at: Situation, U: Array) -> Array:
        with np.errstate(all="ignore"):  # a guess may well drive the model out of its range
            return self._model.rolled_out(at.x, U, self._rollout)

    def _judged(self, at: Situation, U: Array, X: Array) -> tuple[Array, Array]:
        """Bring states (S, N, d) near the reference's turn of each angle; return them and costs."""
        with np.errstate(all="ignore"):
            Y = at.reference + self._model.coordinates.wrap(X - at.reference)
            cost = self._condenser.merit(at.instance, U.reshape(len(U), -1), Y.reshape(len(U), -1))
        return Y, np.where(np.isfinite(cost), cost, np.inf)

    def _solutions(self, at: Situation, U: Array, Y: Array) -> tuple[Array, list[str], int]:
        """Solve the convex program about every guess; a failed one keeps its guess."""
        S, N, m = U.shape
        with np.errstate(all="ignore"):
            Gamma = self._model.sensitivities(at.x, Y, U, self._rollout).reshape(S, -1, N * m)
        U_new, iterations, said = U.copy(), 0, []
        for s in range(S):
            if not (np.isfinite(Gamma[s]).all() and np.isfinite(Y[s]).all()):
                said.append(NOT_FINITE)
                continue
            free = Y[s].ravel() - Gamma[s] @ U[s].ravel()
            program = self._condenser.condense(at.instance, free, Gamma[s])
            solution = self._solver.solve(program, matrices_changed=True)
            iterations += solution.iterations
            if solution.v is None or np.isfinite(solution.v).all():
                said.append(solution.status)
                U_new[s] = U[s] if solution.v is None else solution.v.reshape(N, m)
            else:
                said.append(NOT_FINITE)
        return U_new, said, iterations

    def _searched(
        self, at: Situation, U: Array, Y: Array, cost: Array, U_new: Array
    ) -> tuple[Array, Array, Array, float]:
        """Try all step lengths towards the solutions at once; keep a guess that none improves."""
        S, L = len(U), len(STEP_LENGTHS)
        trials = U[:, None] + STEP_LENGTHS[:, None, None] * (U_new - U)[:, None]
        trials = trials.reshape(S * L, *U.shape[1:])
        Y_trial, cost_trial = self._judged(at, trials, self._rolled_out(at, trials))
        pick = np.arange(S) * L + cost_trial.reshape(S, L).argmin(axis=1)
        better = cost_trial[pick] < cost
        U = np.where(better[:, None, None], trials[pick], U)
        Y = np.where(better[:, None, None], Y_trial[pick], Y)
        improved = np.where(better, cost_trial[pick], cost)
        with np.errstate(invalid="ignore"):
            gains = (cost - improved) / np.maximum(np.abs(cost), 1e-12)
        return U, Y, improved, float(np.nanmax(np.append(gains, 0.0)))
