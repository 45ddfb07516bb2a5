"""The planner of linear roll-outs: one convex program per step, prepared as far as it can be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from koopman_control.common.arrays import Array, all_finite, product
from koopman_control.mpc.compile.program import AffineMap
from koopman_control.mpc.inputs import shifted
from koopman_control.mpc.planning.condense import Condenser, Merit
from koopman_control.mpc.planning.plan import NOT_FINITE, Plan, Predicted, Situation, Times
from koopman_control.mpc.planning.prediction import Response, Scenarios
from koopman_control.mpc.solvers import TIME_LIMIT, Solution, Solver
from koopman_control.mpc.solvers.program import FAR, DenseQP, Scaling, within
from koopman_control.mpc.state import Start


class Vectors(NamedTuple):
    """Linear cost and sides of a program, or of many along a first axis."""

    f: Array
    lower: Array
    upper: Array


class PreparedProgram:
    """Fills in the lifted state and theta.

    Args:
        condenser: The compiled problem.
        Phi: Outputs per lifted state, shape (N p, n).
        Gamma: Outputs per input, shape (N p, N m).
        typical: Parameters at which variables, rows and cost are measured, shape (t,), so that the
            program is scaled by them; None: it is left as it is.
        sizes: Usual sizes of the inputs, (m,), far beyond which bounds are no measure; None: all
            bounds are.

    Attributes:
        H: Quadratic cost, scaled like all else.
        A: Rows.
    """

    def __init__(
        self,
        condenser: Condenser,
        Phi: Array,
        Gamma: Array,
        typical: Array | None = None,
        sizes: Array | None = None,
    ) -> None:
        fixed = condenser.fixed(Gamma)
        q_v, q_y, lower, upper = condenser.vectors
        f, by_free, on_y = q_v + q_y.times(fixed.Gamma.T), fixed.by_free, fixed.on_y.toarray()
        self._n, first_on_y = len(fixed.H), len(fixed.H) + condenser.first_on_y
        weights = fixed.linear_weight, fixed.quadratic_weight
        at = np.zeros(condenser.n_parameters) if typical is None else typical
        program = DenseQP(fixed.H, f(at), fixed.A, lower(at), upper(at), *weights)
        scaling = None
        if typical is not None:
            far = np.full(len(program.upper), np.inf)
            if sizes is not None:
                far[: condenser.n_values] = FAR * np.resize(sizes, condenser.n_values)
            low, high = within(far, program.lower, program.upper)
            scaling = Scaling.of(program._replace(lower=low, upper=high))
        self._unit: Array | None = None
        if scaling is not None:
            program, self._unit = scaling.matrices(program), scaling.variables
            f = f.times(sp.diags_array(1.0 / scaling.slope))
            by_free = by_free / scaling.slope[:, None]
            lower, upper = (s.times(sp.diags_array(1.0 / scaling.sides)) for s in (lower, upper))
            on_y = on_y / scaling.rows[condenser.first_on_y :, None]
        self.H, self.A = program.H, program.A
        self._weights = program.linear_weight, program.quadratic_weight
        together = _moving_together(lower, upper, first_on_y)
        # What moves is one vector: f, both sides of rows that theta moves, both sides of rows on y.
        self._first = first_on_y - len(together)
        resting = np.zeros((len(together), len(Phi)))
        self._by_free = np.vstack([by_free, resting, -on_y])
        self._to_moved = (self._by_free @ Phi).T
        self._by_theta = np.vstack([f.matrix.toarray(), together])
        self._f = f.constant if f.constant.any() else None
        self._sides = np.stack([lower.constant, upper.constant])
        self._others = _Others(lower, upper, slice(self._first, first_on_y), together)

    def moved(self, z: Array) -> Array:
        """Return what lifted states (n,) or (S, n) add to what moves, shape (k,) or (S, k)."""
        return product(z, self._to_moved)

    def vectors(self, moved: Array, theta: Array, shift: Array | None = None) -> Vectors:
        """Fill in what z moved, and theta; of one program, or of S along a first axis.

        `shift`, shape (N p,), adds to what z predicts. `moved` is changed in place.
        """
        if shift is not None:
            moved += product(shift, self._by_free.T)
        by_theta = moved[..., : len(self._by_theta)]
        by_theta += product(theta, self._by_theta.T)
        f, rows = moved[..., : self._n], moved[..., self._n :]
        if self._f is not None:
            f += self._f
        sides = self._sides.copy() if f.ndim == 1 else np.tile(self._sides[:, None], (len(f), 1))
        moving = sides[..., self._first :]
        moving += rows
        lower, upper = sides
        self._others(theta, lower, upper)
        return Vectors(f, lower, upper)

    def __call__(self, at: Vectors) -> DenseQP:
        """Complete the vectors of one program."""
        return DenseQP(self.H, at.f, self.A, at.lower, at.upper, *self._weights)

    def unscaled(self, v: Array) -> Array:
        """Return solutions (..., n) of scaled programs in the units of the stated problem."""
        return v if self._unit is None else v * self._unit


def _moving_together(lower: AffineMap, upper: AffineMap, end: int) -> Array:
    """How theta moves the last rows before `end`, shape (r, t), as far as both sides move alike.

    A side at infinity moves like any other.
    """
    any_moves = _moving(lower) | _moving(upper)
    rows = slice(int(np.argmax(np.append(any_moves[:end], True))), end)  # mostly few
    L, U = lower.matrix[rows].toarray(), upper.matrix[rows].toarray()
    L, U = (
        np.where(np.isinf(side.constant[rows, None]), other, own)
        for side, own, other in ((lower, L, U), (upper, U, L))
    )
    alike = (L == U).all(axis=1) & L.any(axis=1)
    last = int(np.argmin(np.append(alike[::-1], False)))
    return np.asarray(L[len(L) - last :])


def _moving(side: AffineMap) -> NDArray[np.bool_]:
    """Which rows of a side theta moves."""
    return np.diff(side.matrix.indptr) > 0


class _Others:
    """Adds how theta moves the sides that are not moved together; mostly there are none."""

    def __init__(self, lower: AffineMap, upper: AffineMap, rows: slice, together: Array) -> None:
        self._parts = []
        for side in (lower, upper):
            kept = np.flatnonzero(_moving(side) & np.isfinite(side.constant))
            matrix = side.matrix[kept].toarray()
            inside = (kept >= rows.start) & (kept < rows.stop)
            matrix[inside] -= together[kept[inside] - rows.start]
            moving = matrix.any(axis=1)
            self._parts.append((kept[moving], matrix[moving]))
        self._none = not any(len(moving) for moving, _ in self._parts)

    def __call__(self, theta: Array, lower: Array, upper: Array) -> None:
        """Move lower and upper sides (..., r) in place."""
        if self._none:
            return
        for side, (moving, matrix) in zip((lower, upper), self._parts, strict=True):
            side[..., moving] += product(theta, matrix.T)


SINGULAR = 1e-9  # smallest diagonal entry of the factor relative to the largest, squared


class Unbounded:
    """Minima of v'Hv/2 + f'v for many f, and whether [v; A v] keeps within its sides there.

    Where it does, no bound and no row exerts a force, so this is the program's exact solution.

    Args:
        H: Shape (n, n); where it is singular, nothing is said to keep within its sides.
        A: Shape (r, n).
    """

    def __init__(self, H: Array, A: Array) -> None:
        self._by_f: Array | None = None
        try:
            factor: Any = cho_factor(H)
        except (LinAlgError, ValueError):  # not definite, or not finite
            return
        diagonal = np.diagonal(factor[0])
        if diagonal.min() ** 2 > SINGULAR * diagonal.max() ** 2:
            self._by_f = -cho_solve(factor, np.vstack([np.eye(len(H)), A]).T)

    def __call__(self, at: Vectors) -> tuple[Array, NDArray[np.bool_]]:
        """Return minima (S, n) and for which of S programs they are solutions, shape (S,)."""
        if self._by_f is None:
            return at.f, np.zeros(len(at.f), dtype=bool)
        with np.errstate(all="ignore"):  # what is not finite is within no sides
            values = at.f @ self._by_f
        inside = (values >= at.lower) & (values <= at.upper)
        return values[:, : at.f.shape[1]], np.asarray(inside.all(axis=1))


class LinearPlanner:
    """One convex program per step; exact for the linear roll-out.

    Args:
        scenarios: What predicts.
        horizon: Number of steps N.
        condenser: The compiled problem.
        merit: Prices its plans.
        solver: A solver of its own, for programs that are scaled already.
        response: What the inputs lead to.
        typical: Parameters at which the program's scales are measured, shape (t,).
        sizes: Usual sizes of the inputs, shape (m,).
        rescue: Plans where this one finds nothing. With feedback, that is so beyond the reach of
            bounded inputs: no plan is good there, but the plain program knows which way to push.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        horizon: int,
        condenser: Condenser,
        merit: Merit,
        solver: Solver,
        response: Response,
        typical: Array,
        sizes: Array,
        rescue: LinearPlanner | None = None,
    ) -> None:
        self._scenarios, self.condenser, self._solver = scenarios, condenser, solver
        self.merit, self._shape = merit, (horizon, scenarios.n_outputs)
        self._rescue = rescue
        self._inputs = (horizon, response.Gamma.shape[1] // horizon)
        self.response = response
        how = response.Phi, response.Gamma, typical, sizes
        self._program = PreparedProgram(condenser, *how)

    @cached_property
    def _unbounded(self) -> Unbounded:
        return Unbounded(self._program.H, self._program.A)

    def reset(self) -> None:
        """Begin an episode, or recover from an error: the solver is set up anew."""
        self._solver.forget()
        self._solver.prepare(self._program_at_rest())
        if self._rescue is not None:
            self._rescue.reset()

    def rehearse(self) -> None:
        """Plan at rest and forget it, so that an episode's first step is like any other."""
        theta = np.zeros(self.condenser.n_parameters)
        rest = Start(np.zeros(self._scenarios.first.n_states))
        with np.errstate(all="ignore"):  # an unusable model is noticed in the loop
            self.plan(Situation(rest, np.zeros(self._shape), theta, theta), None)
        self._solver.prepare(self._program_at_rest())

    def _program_at_rest(self) -> DenseQP:
        nowhere = self._program.moved(np.zeros(self.response.Phi.shape[1]))
        theta = np.zeros(self.condenser.n_parameters)
        return self._program(self._program.vectors(nowhere, theta))

    def plan(self, at: Situation, before: Array | None, until: float = math.inf) -> Plan:
        """Solve for the inputs by a time; the plan before (N, m) tells the turns of angles."""
        start = perf_counter()
        z = self._scenarios.lifted(at.start)
        moved, shift = self._program.moved(z), self._shift(at, z, before)
        predicted = perf_counter()
        vectors = self._program.vectors(moved, at.theta, shift)
        updated = perf_counter()
        solution = self._solution(vectors, until - updated)
        if solution.v is None and self._rescue is not None:
            return self._rescue.plan(at, before, until)
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
        U = self.response.inputs(Z, shift, self.condenser.inputs(self._program.unscaled(V)))
        return U.reshape(-1, *self._inputs), solved

    def _shift(self, at: Situation, z: Array, before: Array | None) -> Array | None:
        """What is added to predictions from a lifted state z, (N d,), or None for nothing."""
        shift = self.response.shift(at.start)
        return self._turned(at, z, shift, before) if self._scenarios.has_angles else shift

    def _solution(self, at: Vectors, seconds: float = math.inf) -> Solution:
        if not all_finite(at.f):
            return Solution(None, NOT_FINITE, 0)
        if seconds <= 0.0:
            return Solution(None, TIME_LIMIT, 0)
        return self._solver.solve(self._program(at), False, seconds)

    def _planned(
        self, at: Situation, z: Array, shift: Array | None, solution: Solution, times: Times
    ) -> Plan:
        """Say what a solution from the lifted state z stands for."""
        v, word, iterations, _ = solution
        if v is None:
            unknown = Predicted(np.full(self._shape, np.nan), np.inf)
            return Plan(np.full(self._inputs, np.nan), unknown, word, iterations, times)
        v = self._program.unscaled(v)
        U = self.response.inputs(z, shift, self.condenser.inputs(v)).reshape(self._inputs)
        outcome = LinearOutcome(self, at.theta, z, shift, v)
        return Plan(U, outcome, word if all_finite(v) else NOT_FINITE, iterations, times)

    def predicted(self, z: Array, shift: Array | None, v: Array) -> Array:
        """Return the states (N, d) that a solution v leads to."""
        return self.response.outputs(z, shift, self.condenser.inputs(v)).reshape(self._shape)

    def priced(self, theta: Array, z: Array, shift: Array | None, v: Array, Y: Array) -> float:
        """Return the cost of a solution v that leads to states Y (N, d)."""
        U = self.response.inputs(z, shift, self.condenser.inputs(v))
        V = np.append(U, v[self.condenser.n_values :])
        return float(self.merit.of(self.merit.at(theta), V[None], Y.reshape(1, -1))[0])

    def _turned(self, at: Situation, z: Array, shift: Array | None, before: Array | None) -> Array:
        """Add whole turns of angles that bring a likely plan near the reference, (..., r)."""
        deviation = self._likely(at, z, shift, before) - at.reference
        turns = self._scenarios.wrap(deviation) - deviation
        turns = turns.reshape(*turns.shape[:-2], -1)
        moved = np.zeros((*turns.shape[:-1], len(self.response.Phi))) if shift is None else shift
        moved[..., : turns.shape[-1]] += turns
        return moved

    def _likely(self, at: Situation, z: Array, shift: Array | None, before: Array | None) -> Array:
        """Predict states (..., N, d) under the plan before; unstable ones would soon leave it."""
        if self.response.prestabilised:
            starts = at.start.each(len(self._scenarios.models))
            now = np.concatenate([own.outputs(own.x) for own in starts], axis=-1)
            return np.broadcast_to(now[..., None, :], (*now.shape[:-1], *self._shape))
        likely = np.zeros(self._inputs) if before is None else shifted(before)
        inputs = likely.reshape(*likely.shape[:-2], -1)
        return self.response.outputs(z, shift, inputs).reshape(*inputs.shape[:-1], *self._shape)


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
        return self.planner.priced(self.theta, self.z, self.shift, self.v, self.Y)
