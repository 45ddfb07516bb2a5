"""The planner of linear roll-outs: one convex program per step, prepared as far as it can be.

The roll-out becomes matrices, prestabilised where an unstable model needs it.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from koopman_control.common.arrays import Array, Index, all_finite, balanced, power_near, product
from koopman_control.identification.rollouts import linear_response
from koopman_control.mpc.compile.program import AffineMap, ParametricQP
from koopman_control.mpc.planning.condense import Condenser, Merit, ProgramSize
from koopman_control.mpc.planning.plan import NOT_FINITE, KnownOutcome, Plan, Times
from koopman_control.mpc.planning.prediction import Scenarios
from koopman_control.mpc.solvers import TIME_LIMIT, DenseQP, Solution, SolverSettings, make_solver
from koopman_control.mpc.solvers.program import FAR, Scaling, within
from koopman_control.mpc.state import Situation, Start, columns_of, shifted
from koopman_control.mpc.units import Units
from koopman_control.mpc.weights import Weights


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
            far, alike = np.full(len(program.upper), np.inf), None
            if sizes is not None:
                far[: condenser.n_values] = FAR * np.resize(sizes, condenser.n_values)
                alike = condenser.alike(len(sizes))
            low, high = within(far, program.lower, program.upper)
            scaling = Scaling.of(program._replace(lower=low, upper=high), alike=alike)
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


RELIABLE_GROWTH = 1e3  # of predictions; up to there, plans are exact to 1e-7
RELIABLE_WHERE_FREE = 10.0  # the same for inputs that cost nothing, which leave the cost flat
LARGEST_GROWTH = 1e5  # at 1e6 the program's condition number is 1e12
NOTHING = 1e-9  # a price of inputs, relative to the largest one
WORST_CONDITION = 1e12  # of the effort that growing modes take; beyond, one is out of reach


@dataclass(frozen=True)
class Response:
    """What the linear roll-out leads to: rows = Phi z + Gamma v + shift.

    The first rows are the outputs, (N p,); behind them, where the model is prestabilised, lie the
    inputs, (N c,). Elsewhere v are the inputs.

    Args:
        Phi: Shape (r, n).
        Gamma: Shape (r, N c).
        by_known: Response to all inputs of the model where they are known, shape (r, N m).
        n_outputs: Number of rows N p that are outputs.
        plain: Where the model is prestabilised, the response without that.
    """

    Phi: Array
    Gamma: Array
    by_known: Array
    n_outputs: int
    plain: Response | None = None

    @property
    def prestabilised(self) -> bool:
        """Whether v are no inputs."""
        return self.plain is not None

    def shift(self, start: Start) -> Array | None:
        """What a start adds to the rows beside its lifted state, shape (r,); None for nothing."""
        shift = start.moved(self.by_known[: self.n_outputs])
        if shift is None or not self.prestabilised:
            return shift
        inputs = self.by_known[self.n_outputs :]
        known = np.zeros(inputs.shape[1]) if start.preview is None else start.preview.others
        return np.append(shift, inputs @ known.ravel())

    def inputs(self, z: Array, shift: Array | None, v: Array) -> Array:
        """Return the inputs (..., N c) that values v (..., N c) stand for."""
        return self._rows(slice(self.n_outputs, None), z, shift, v) if self.prestabilised else v

    def outputs(self, z: Array, shift: Array | None, v: Array) -> Array:
        """Return the outputs (..., N p) that values v (..., N c) lead to."""
        return self._rows(slice(self.n_outputs), z, shift, v)

    def _rows(self, part: slice, z: Array, shift: Array | None, v: Array) -> Array:
        rows = product(z, self.Phi[part].T) + product(v, self.Gamma[part].T)
        if shift is not None:
            rows += shift[..., part]
        return np.asarray(rows)


def response_of(
    scenarios: Scenarios, controlled: Index, weights: Weights, free: bool, units: Units
) -> Response:
    """Compute the response of a linear roll-out, prestabilised where that is needed and possible.

    Args:
        scenarios: What predicts.
        controlled: The model's inputs that are planned, shape (c,).
        weights: What inputs cost in each of the N steps; where all inputs or their changes cost
            something, in every direction, faster growth can be dealt with.
        free: Whether the input of each step is free; only then can feedback be part of it.
        units: Usual sizes of outputs and inputs, by which growth and effort are measured.

    Raises:
        UserWarning: If predictions outgrow what the program can resolve all the same.
    """
    horizon, prices = len(weights.R), np.linalg.eigvalsh(balanced(weights.R + weights.S)[0])
    costly = bool(np.all(prices[:, 0] > NOTHING * prices[:, -1]))
    Phi, by_known = scenarios.linear_response(horizon)
    plain = Response(Phi, columns_of(by_known, controlled, scenarios.n_inputs), by_known, len(Phi))
    growth = _growth(plain, units)
    reliable = RELIABLE_GROWTH if costly else RELIABLE_WHERE_FREE
    if growth.max() <= reliable:
        return plain
    other = _prestabilised(scenarios, horizon, controlled, units.inputs) if free else None
    if other is not None and _growth(other, units).max() <= reliable:
        return replace(other, plain=plain)
    if growth.max() > LARGEST_GROWTH:
        _warn_of_growth(growth, "no feedback prevents it" if free else "inputs are parametrised")
    return plain


def with_feedback(qp: ParametricQP) -> ParametricQP:
    """State a program in (u, y) as one in v, without cost or rows, with outputs (y, u)."""
    u, y = qp.columns["u"], qp.columns["y"]
    n, k, t = len(qp.P), u.size, qp.q.matrix.shape[1]
    nothing = AffineMap(np.zeros(k), sp.csr_array((k, t)))
    columns = {"u": np.arange(n, n + k).reshape(u.shape), "y": np.append(y.ravel(), u.ravel())}
    return replace(
        qp,
        P=np.pad(qp.P, (0, k)),
        q=qp.q.stacked(nothing),
        A=np.pad(qp.A, [(0, 0), (0, k)]),
        columns=qp.columns | columns,
    )


def _warn_of_growth(growth: Array, why: str) -> None:
    steps = int(np.argmax(growth > LARGEST_GROWTH))
    warnings.warn(
        f"predictions grow by a factor of {growth.max():.0e} over the horizon of {len(growth)} "
        f"steps, since the model is unstable and {why}; plans will be inexact, or wrong: take a "
        f"horizon of at most {steps}, with terminal='riccati'",
        stacklevel=2,
    )


def _growth(response: Response, units: Units) -> Array:
    """How much the response to the first input outgrows its first steps, step by step (N,)."""
    p, c = len(units.states), len(units.inputs)
    first = response.Gamma[: response.n_outputs, :c].reshape(-1, p, c)
    size = (np.abs(first) * units.inputs / units.states[:, None]).max(axis=(1, 2))
    early = size[: p + 1].max()
    return np.asarray(size / early if early > 0.0 else np.zeros_like(size))


def _prestabilised(
    scenarios: Scenarios, horizon: int, controlled: Index, sizes: Array
) -> Response | None:
    """Respond to v in u = v - K z; None where no feedback holds all models.

    Inputs (c,) are measured by their usual sizes where effort is, so that units do not weigh them.
    """
    models = scenarios.models
    A = scipy.linalg.block_diag(*(model.A for model in models))
    B = np.concatenate([model.B for model in models])
    C = scipy.linalg.block_diag(*(model.C for model in models))
    unit = power_near(sizes)
    K = stabilising_gain(A, B[:, controlled] * unit, horizon)
    if K is None:
        return None
    K *= unit[:, None]
    p, c, n_outputs = len(C), len(controlled), len(C) * horizon
    Phi, by_known = linear_response(A - B[:, controlled] @ K, B, np.vstack([C, -K]), horizon)
    Phi, by_known = (rows.reshape(horizon, p + c, -1) for rows in (Phi, by_known))
    # An input comes of the lifted state before it, an output is that after it.
    fed_back = np.concatenate([-K[None], Phi[:-1, p:]]).reshape(horizon * c, -1)
    known = np.concatenate([np.zeros_like(by_known[:1]), by_known[:-1]])[:, p:]
    Phi = np.concatenate([Phi[:, :p].reshape(n_outputs, -1), fed_back])
    by_known = np.concatenate(
        [by_known[:, :p].reshape(n_outputs, -1), known.reshape(horizon * c, -1)]
    )
    Gamma = columns_of(by_known, controlled, scenarios.n_inputs).copy()
    Gamma[n_outputs:] += np.eye(horizon * c)
    return Response(Phi, Gamma, by_known, n_outputs)


def stabilising_gain(A: Array, B: Array, horizon: int) -> Array | None:
    """Return the gain K (m, n) that turns growing modes of A into decaying ones with least effort.

    It is the linear-quadratic regulator without a cost on states: eigenvalues beyond the unit
    circle are mirrored at it, all others stay, whether or not they can be controlled. Units of the
    states make no difference: they are brought to those in which A is balanced.

    Returns:
        The gain, or None if growing modes cannot be controlled, or there are none.
    """
    bound = math.pow(10.0, 1.0 / horizon)  # modes that grow tenfold at most are left alone

    def grows(real: float, imaginary: float = 0.0) -> bool:
        return math.hypot(real, imaginary) > bound

    if not np.isfinite(A).all():
        return None
    unit = power_near(scipy.linalg.matrix_balance(A, permute=False, separate=True)[1][0])
    A, B = A * unit / unit[:, None], B / unit[:, None]
    T, Z, k = scipy.linalg.schur(A.T, sort=grows)
    if not k:
        return None
    modes, growing = Z[:, :k].T, T[:k, :k].T  # modes A = growing modes
    back = np.linalg.solve(growing, np.eye(k))
    driven = back @ modes @ B
    effort = scipy.linalg.solve_discrete_lyapunov(back, driven @ driven.T)
    if not np.linalg.cond(balanced(np.asarray(effort, dtype=np.float64))[0]) < WORST_CONDITION:
        return None
    return np.asarray(np.linalg.solve(effort, driven).T @ modes / unit)


SINGULAR = 1e-9  # smallest diagonal entry of the factor relative to the largest, squared


class Unconstrained:
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

    Where the model is prestabilised and no plan is found, a planner without that goes on. It is so
    beyond the reach of bounded inputs: no plan is good there, but the plain program knows which way
    to push.

    Args:
        scenarios: What predicts.
        horizon: Number of steps N.
        program: The compiled problem.
        held: How inputs are made of free values, shape (N, K); None: each step has its own.
        solver: As for `make_solver`.
        response: What the inputs lead to.
        units: Usual sizes of outputs, inputs and cost.
        typical: Parameters at which the program's scales are measured, shape (t,).
        softened: The problem with its hard rows on outputs relaxed, for when they leave no
            solution.

    Attributes:
        condenser: The compiled problem, with feedback where there is any.
        merit: Prices its plans.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        horizon: int,
        program: ParametricQP,
        held: Array | None,
        solver: str | SolverSettings,
        response: Response,
        units: Units,
        typical: Array,
        softened: ParametricQP | None = None,
    ) -> None:
        self._scenarios, self._solver = scenarios, make_solver(solver, equilibrated=False)
        self.condenser = free = Condenser(program)
        if held is not None:
            self.condenser = Condenser(program, held)
        self.merit, self._shape = Merit(free, units), (horizon, scenarios.n_outputs)
        self._softened: LinearPlanner | None = None
        if softened is not None:
            how = held, solver, response, units, typical
            self._softened = LinearPlanner(scenarios, horizon, softened, *how)
        self._rescue: LinearPlanner | None = None
        if response.plain is not None:
            how = held, solver, response.plain, units, typical
            self._rescue = LinearPlanner(scenarios, horizon, program, *how)
            self.condenser = Condenser(with_feedback(program))
        self._inputs = (horizon, response.Gamma.shape[1] // horizon)
        self.response = response
        Phi, Gamma = response.Phi, response.Gamma
        self._program = PreparedProgram(self.condenser, Phi, Gamma, typical, units.inputs)

    @cached_property
    def _unconstrained(self) -> Unconstrained:
        return Unconstrained(self._program.H, self._program.A)

    def size(self, start: Start) -> ProgramSize:
        """Measure the program, which is the same for all starts."""
        return self.condenser.size(self.response.Gamma)

    def reset(self) -> None:
        """Begin an episode, or recover from an error: the solver is set up anew."""
        self._solver.forget()
        self._solver.prepare(self._program_at_rest())
        if self._rescue is not None:
            self._rescue.reset()
        if self._softened is not None:
            self._softened.reset()

    def warm_up(self) -> None:
        """Plan at rest and forget it, so that an episode's first step is like any other."""
        if self._softened is not None:
            self._softened.warm_up()
        theta = np.zeros(self.condenser.n_parameters)
        rest = Start(np.zeros(self._scenarios.first.n_states))
        with np.errstate(all="ignore"):  # an unusable model is noticed in the loop
            self._plan(Situation(rest, np.zeros(self._shape), theta, theta, theta), None)
        self._solver.prepare(self._program_at_rest())

    def _program_at_rest(self) -> DenseQP:
        nowhere = self._program.moved(np.zeros(self.response.Phi.shape[1]))
        theta = np.zeros(self.condenser.n_parameters)
        return self._program(self._program.vectors(nowhere, theta))

    def plan(self, at: Situation, before: Array | None, until: float = math.inf) -> Plan:
        """Solve for the inputs by a time; the plan before (N, m) tells the turns of angles."""
        plan = self._plan(at, before, until)
        if self._softened is None or plan.status in ("optimal", TIME_LIMIT):
            return plan
        return self._softened.plan(at, before, until)._replace(softened=True)

    def _plan(self, at: Situation, before: Array | None, until: float = math.inf) -> Plan:
        start = perf_counter()
        z = at.start.lifted(self._scenarios.models)
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
        V, solved = self._unconstrained(vectors)
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
            unknown = KnownOutcome(np.full(self._shape, np.nan), np.inf)
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
