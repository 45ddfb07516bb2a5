"""The planner of linear roll-outs: one convex program per step, prepared as far as it can be.

What a plan leads to is computed only if somebody asks for it; the next step does not need it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, all_finite, product
from koopman_control.mpc.compilation.dense import DenseQP
from koopman_control.mpc.compilation.maps import Index
from koopman_control.mpc.inputs import columns_of
from koopman_control.mpc.planning import guesses
from koopman_control.mpc.planning.condense import Condenser
from koopman_control.mpc.planning.merit import Merit
from koopman_control.mpc.planning.plan import (
    NOT_FINITE,
    Plan,
    Predicted,
    Situation,
    Times,
)
from koopman_control.mpc.planning.prepared import PreparedProgram, Vectors
from koopman_control.mpc.planning.scenarios import Scenarios
from koopman_control.mpc.planning.unbounded import Unbounded
from koopman_control.mpc.solvers import Solution, Solver
from koopman_control.mpc.start import Start

LARGEST_GROWTH = 1e5  # of predictions; at 1e6 the program's condition number is 1e12


class LinearPlanner:
    """One convex program per step; exact for the linear roll-out.

    Args:
        scenarios: What predicts.
        horizon: Number of steps N.
        condenser: The compiled problem.
        merit: Prices its plans.
        solver: A solver of its own.
        controlled: The model's inputs that are planned, shape (c,).
    """

    def __init__(
        self,
        scenarios: Scenarios,
        horizon: int,
        condenser: Condenser,
        merit: Merit,
        solver: Solver,
        controlled: Index,
    ) -> None:
        self._scenarios, self._condenser, self._solver = scenarios, condenser, solver
        self.merit, self._shape = merit, (horizon, scenarios.n_outputs)
        self._inputs = (horizon, len(controlled))
        self.Phi, self._response = scenarios.linear_response(horizon)
        self.Gamma = columns_of(self._response, controlled, scenarios.n_inputs)
        self._program = PreparedProgram(condenser, self.Phi, self.Gamma)
        _warn_of_growth(self.Gamma.reshape(*self._shape, *self._inputs)[:, :, 0])

    @cached_property
    def _unbounded(self) -> Unbounded:
        return Unbounded(self._program.H, self._program.A)

    def reset(self) -> None:
        """Begin an episode, or recover from an error: the solver is set up anew."""
        self._solver.forget()
        self._solver.prepare(self._program_at_rest())

    def rehearse(self) -> None:
        """Plan at rest and forget it, so that an episode's first step is like any other."""
        theta = np.zeros(self._condenser.n_parameters)
        rest = Start(np.zeros(self._scenarios.first.n_states))
        with np.errstate(all="ignore"):  # an unusable model is noticed in the loop
            self.plan(Situation(rest, np.zeros(self._shape), theta, theta), None)
        self._solver.prepare(self._program_at_rest())

    def _program_at_rest(self) -> DenseQP:
        nowhere = self._program.moved(np.zeros(self.Phi.shape[1]))
        theta = np.zeros(self._condenser.n_parameters)
        return self._program(self._program.vectors(nowhere, theta))

    def plan(self, at: Situation, before: Array | None) -> Plan:
        """Solve for the inputs; the plan before (N, m) says which turn of an angle is near."""
        start = perf_counter()
        z = self._scenarios.lifted(at.start)
        moved, shift = self._program.moved(z), self._shift(at, z, before)
        predicted = perf_counter()
        vectors = self._program.vectors(moved, at.theta, shift)
        updated = perf_counter()
        solution = self._solution(vectors)
        times = Times(predicted - start, updated - predicted, perf_counter() - updated)
        return self._planned(at, z, shift, solution, times)

    def plans(self, at: Situation, before: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Plan for S situations at once, stacked in one, each as `plan` does.

        Args:
            at: Situations whose parts all have a first axis of length S; states are observed.
            before: Plans before, zero where there is none, shape (S, N, m).

        Returns:
            Plans (S, N, m), and which of them are solutions, shape (S,).
        """
        Z = self._scenarios.lift(at.start.x)
        shift = self._turned(at, Z, None, before) if self._scenarios.has_angles else None
        vectors = self._program.vectors(self._program.moved(Z), at.theta, shift)
        V, solved = self._unbounded(vectors)
        for i in np.flatnonzero(~solved):
            v, word, *_ = self._solution(Vectors(*(part[i] for part in vectors)))
            if v is not None and all_finite(v):
                V[i], solved[i] = v, word == "optimal"
        return self._condenser.inputs(V).reshape(-1, *self._inputs), solved

    def _shift(self, at: Situation, z: Array, before: Array | None) -> Array | None:
        """What is added to predictions from a lifted state z, (N d,), or None for nothing."""
        shift = at.start.moved(self._response)
        return self._turned(at, z, shift, before) if self._scenarios.has_angles else shift

    def _solution(self, at: Vectors) -> Solution:
        if not all_finite(at.f):
            return Solution(None, NOT_FINITE, 0)
        return self._solver.solve(self._program(at), matrices_changed=False)

    def _planned(
        self, at: Situation, z: Array, shift: Array | None, solution: Solution, times: Times
    ) -> Plan:
        """Say what a solution from the lifted state z stands for."""
        v, word, iterations, _ = solution
        if v is None:
            unknown = Predicted(np.full(self._shape, np.nan), np.inf)
            return Plan(np.full(self._inputs, np.nan), unknown, word, iterations, times)
        U = self._condenser.inputs(v).reshape(self._inputs)
        outcome = LinearOutcome(self, at.theta, z, shift, v)
        return Plan(U, outcome, word if all_finite(v) else NOT_FINITE, iterations, times)

    def predicted(self, z: Array, shift: Array | None, v: Array) -> Array:
        """Return the states (N, d) that a solution v leads to."""
        Y = self.Phi @ z + self.Gamma @ self._condenser.inputs(v)
        return np.asarray((Y if shift is None else Y + shift).reshape(self._shape))

    def priced(self, theta: Array, v: Array, Y: Array) -> float:
        """Return the cost of a solution v that leads to states Y (N, d)."""
        V = np.append(self._condenser.inputs(v), v[self._condenser.n_values :])
        return float(self.merit.of(self.merit.at(theta), V[None], Y.reshape(1, -1))[0])

    def _turned(self, at: Situation, z: Array, shift: Array | None, before: Array | None) -> Array:
        """Add whole turns of angles that bring a likely plan near the reference, (..., N d)."""
        likely = np.zeros(self._inputs) if before is None else guesses.shifted(before)
        inputs = likely.reshape(*likely.shape[:-2], -1)
        Y = product(z, self.Phi.T) + product(inputs, self.Gamma.T)
        if shift is not None:
            Y += shift
        deviation = Y.reshape(at.reference.shape) - at.reference
        turns = (self._scenarios.wrap(deviation) - deviation).reshape(Y.shape)
        return np.asarray(turns if shift is None else turns + shift)


def _warn_of_growth(response: Array) -> None:
    """Warn if the response (N, d, m) to the first input outgrows what the solver can resolve."""
    size = np.abs(response).max(axis=(1, 2))
    early = size[: response.shape[1] + 1].max()
    if np.isfinite(size).all() and size.max() > LARGEST_GROWTH * early:
        steps = int(np.argmax(size > LARGEST_GROWTH * early))
        warnings.warn(
            f"predictions grow by a factor of {size.max() / early:.0e} over the horizon of "
            f"{len(size)} steps, since the model is unstable; plans will be inexact, or wrong: "
            f"take a horizon of at most {steps}, with terminal='riccati'",
            stacklevel=2,
        )


@dataclass(eq=False)  # frozen ones take four times as long to make
class LinearOutcome:
    """What a solution v leads to from the lifted state z at parameters theta."""

    planner: LinearPlanner
    theta: Array
    z: Array
    shift: Array | None
    v: Array

    @cached_property
    def Y(self) -> Array:
        """Predicted states, shape (N, d)."""
        return self.planner.predicted(self.z, self.shift, self.v)

    @cached_property
    def cost(self) -> float:
        """Predicted cost."""
        return self.planner.priced(self.theta, self.v, self.Y)
