"""Condensing: predicted outputs y = free + Gamma u leave the program, the inputs stay.

`Merit` is what plans cost: guesses are compared and step lengths chosen by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index, power_near, product
from koopman_control.mpc.compile.eliminate import with_inputs
from koopman_control.mpc.compile.program import AffineMap, ParametricQP
from koopman_control.mpc.solvers import DaqpSolver, DenseQP
from koopman_control.mpc.solvers.program import Scaling
from koopman_control.mpc.units import Units


@dataclass(frozen=True)
class Instance:
    """The problem at given parameters, before a prediction is put in."""

    q_v: Array
    q_y: Array
    constant: float
    lower: Array
    upper: Array


@dataclass(frozen=True)
class Condensed:
    """The program in v for one Gamma; only vectors are left to fill in at every step."""

    H: Array
    A: Array
    Gamma: Array
    by_free: Array
    on_y: sp.csr_array
    linear_weight: Array
    quadratic_weight: Array

    def at(self, at: Instance, free: Array) -> DenseQP:
        """Fill in parameters and the outputs (N p,) predicted at u = 0."""
        f = at.q_v + at.q_y @ self.Gamma + self.by_free @ free
        lower, upper = at.lower, at.upper
        if self.on_y.shape[0]:  # these rows come last
            moved = self.on_y @ free
            lower, upper = lower.copy(), upper.copy()
            lower[-len(moved) :] -= moved
            upper[-len(moved) :] -= moved
        return DenseQP(self.H, f, self.A, lower, upper, self.linear_weight, self.quadratic_weight)


@dataclass(frozen=True)
class ProgramSize:
    """Size of the program solved at every step.

    Args:
        variables: Free values.
        bounds: How many of them are bounded by themselves.
        hard_rows: Rows that may not be broken.
        soft_rows: Rows that may be broken at a price.
        condition: Condition number of the cost's Hessian, at the target for nonlinear roll-outs,
            with every input measured by its usual curvature, so that units make no difference.
    """

    variables: int
    bounds: int
    hard_rows: int
    soft_rows: int
    condition: float

    def __str__(self) -> str:
        """Describe in one line."""
        return (
            f"{self.variables} variables ({self.bounds} bounded), {self.hard_rows} hard and "
            f"{self.soft_rows} soft rows, condition {self.condition:.1e}"
        )


class Condenser:
    """Turns a compiled problem in (u, y) and a prediction of y into a dense program in v.

    v = (u, w) holds the inputs and, behind them, the variables beside u and y that elimination had
    to leave, such as bounds on absolute values. Where inputs are parametrised, the free values take
    the place of u.

    Args:
        qp: Compiled problem with variables "u" and "y".
        M: Weights of the free values in every step's input, shape (N, K); None: each step its own.

    Attributes:
        n_values: Free values of the inputs, which come first in v.
        n_parameters: Entries of theta.
        vectors: Linear cost of v and of y, lower and upper sides, as functions of theta.
        P_vv: Quadratic cost of v.
        P_vy: That of v with y.
        P_yy: That of y.
        A_v: General rows on v, those that are on y as well last.
        A_y: The part on y of the rows that are on y.
        first_on_y: Index of the first of them.
        linear_weight: Weights of the general rows, infinite where they are hard.
        quadratic_weight: Likewise.
    """

    def __init__(self, qp: ParametricQP, M: Array | None = None) -> None:
        self._n_inputs = m = qp.columns["u"].shape[1]
        self._held = None if M is None else np.kron(M, np.eye(m))
        if M is not None:
            qp = with_inputs(qp, M)
        u, y = qp.columns["u"].ravel(), qp.columns["y"].ravel()
        further = np.setdiff1d(np.arange(len(qp.P)), np.concatenate([u, y]))
        v = np.concatenate([u, further])
        self.n_values, self.n_parameters = len(u), qp.q.matrix.shape[1]
        self._constant = qp.constant
        self.P_vv, self.P_vy, self.P_yy = (qp.P[np.ix_(*k)] for k in ((v, v), (v, y), (y, y)))
        self.coupled, self._diagonal = bool(self.P_vy.any()), _diagonal(self.P_yy)
        A_v, A_y = qp.A[:, v], qp.A[:, y]
        bound_rows, bound_columns = _simple_bounds(qp, A_v, A_y)
        rows, self.first_on_y = _ordered(qp, A_y, bound_rows)
        self.A_v, self.A_y = A_v[rows], sp.csr_array(A_y[rows[self.first_on_y :]])
        self.linear_weight, self.quadratic_weight = (
            qp.linear_weight[rows],
            qp.quadratic_weight[rows],
        )
        scale = 1.0 / A_v[bound_rows, bound_columns]
        bounds = sp.csr_array((scale, (bound_columns, bound_rows)), (len(v), len(qp.A)))
        lower = _bounds(qp.lower, bounds, -np.inf).stacked(qp.lower[rows])
        upper = _bounds(qp.upper, bounds, np.inf).stacked(qp.upper[rows])
        self.vectors = (qp.q[v], qp.q[y], lower, upper)
        self._stacked = reduce(AffineMap.stacked, self.vectors)
        self._parts = np.cumsum([len(v), len(y), len(lower.constant)]).tolist()

    def alike(self, n_inputs: int) -> Array:
        """Number the variables v (n,) by the input that they are values of; others come alone."""
        others = len(self.P_vv) - self.n_values
        return np.append(np.arange(self.n_values) % n_inputs, n_inputs + np.arange(others))

    def inputs(self, v: Array) -> Array:
        """Return the inputs (..., N m) of all steps that solutions v (..., n) stand for."""
        values = v[..., : self.n_values]
        return values if self._held is None else product(values, self._held.T)

    def instance(self, theta: Array) -> Instance:
        """Evaluate linear cost and sides at parameters theta."""
        (i, j, k), c = self._parts, self._constant
        values = self._stacked.constant + self._stacked.matrix @ theta
        constant = float(c.constant + (c.linear + c.quadratic @ theta) @ theta)
        return Instance(values[:i], values[i:j], constant, values[j:k], values[k:])

    def size(self, Gamma: Array) -> ProgramSize:
        """Measure the program about a given sensitivity of outputs to inputs, (N p, N m)."""
        condensed, at = self.fixed(Gamma), self.instance(np.zeros(self.n_parameters))
        n, soft = len(condensed.H), np.isfinite(condensed.linear_weight)
        bounded = np.isfinite(at.lower[:n]) | np.isfinite(at.upper[:n])
        return ProgramSize(
            variables=n,
            bounds=int(bounded.sum()),
            hard_rows=int((~soft).sum()),
            soft_rows=int(soft.sum()),
            condition=self._condition(condensed.H),
        )

    def _condition(self, H: Array) -> float:
        """Condition number of H with each kind of variable in the unit of its median curvature."""
        sizes, kinds = np.sqrt(np.diagonal(H)), self.alike(self._n_inputs)
        unit = np.array([np.median(sizes[kinds == kind]) for kind in kinds])
        unit = np.where(unit > 0.0, unit, 1.0)
        return float(np.linalg.cond(H / unit / unit[:, None]))

    def fixed(self, Gamma: Array) -> Condensed:
        """Put y = free + Gamma u in for a given Gamma of shape (N p, N m)."""
        if self._held is not None:
            Gamma = Gamma @ self._held
        missing = len(self.P_vv) - self.n_values
        if missing:  # y does not depend on the variables behind the inputs
            Gamma = np.pad(Gamma, [(0, 0), (0, missing)])
        by_free = self.weighted(Gamma.T)  # Gamma' P_yy
        H = self.P_vv + by_free @ Gamma
        if self.coupled:
            cross = self.P_vy @ Gamma
            H += cross + cross.T
            by_free = by_free + self.P_vy
        A = self.A_v
        if self.A_y.shape[0]:
            A = A.copy()
            A[self.first_on_y :] += np.asarray(self.A_y @ Gamma)
        weights = self.linear_weight, self.quadratic_weight
        return Condensed(H, A, Gamma, by_free, self.A_y, *weights)

    def condense(self, at: Instance, free: Array, Gamma: Array) -> DenseQP:
        """Put a prediction in: free of shape (N p,), Gamma of shape (N p, N m)."""
        return self.fixed(Gamma).at(at, free)

    def weighted(self, Y: Array) -> Array:
        """Multiply outputs (..., N p) by P_yy."""
        return Y * self._diagonal if self._diagonal is not None else Y @ self.P_yy


def _diagonal(M: Array) -> Array | None:
    """Diagonal of a matrix that is diagonal, else None."""
    diagonal = np.diagonal(M).copy()
    return diagonal if np.count_nonzero(M) == np.count_nonzero(diagonal) else None


def _simple_bounds(qp: ParametricQP, A_v: Array, A_y: Array) -> tuple[Index, Index]:
    """Find hard rows that bound a single variable, one per variable; returns rows and columns.

    The sign of a joined row's first entry is positive, so lower sides stay lower sides.
    """
    single = (np.count_nonzero(A_v, axis=1) == 1) & ~A_y.any(axis=1)
    single &= ~np.isfinite(qp.linear_weight) & (A_v.sum(axis=1) > 0.0)
    rows = np.flatnonzero(single)
    columns = np.argmax(A_v[rows] != 0.0, axis=1)
    columns, first = np.unique(columns, return_index=True)
    return rows[first], columns


def _ordered(qp: ParametricQP, A_y: Array, bound_rows: Index) -> tuple[Index, int]:
    """Order the other rows: with fixed sides, with moving ones, on y; and how many are not on y."""
    general = np.setdiff1d(np.arange(len(A_y)), bound_rows)
    moving = np.diff(qp.lower.matrix.indptr) + np.diff(qp.upper.matrix.indptr) > 0
    on_y = A_y[general].any(axis=1)
    order = np.argsort(np.where(on_y, 2, moving[general]), kind="stable")
    return general[order], int((~on_y).sum())


def _bounds(side: AffineMap, bounds: sp.csr_array, missing: float) -> AffineMap:
    """Bring one side of the rows that bound a single variable to the variables."""
    picked = side.times(bounds)
    return AffineMap(np.where(np.diff(bounds.indptr) > 0, picked.constant, missing), picked.matrix)


EXACT_PENALTY = 1e6  # price of violating a hard row by one unit, in units of the cost
KEPT = 1e-7  # of units or sides; hard rows violated by less are kept, solvers being that exact


class Merit:
    """Prices plans that are within their bounds, in the problem's own cost.

    Violations of soft rows cost what the problem says; those of hard rows an exact penalty. If the
    problem has variables w beside inputs and outputs, the best w is found for each plan.

    Args:
        condenser: The compiled problem.
        units: Usual sizes of outputs, inputs and cost, which penalties and tolerances are relative
            to; None: all are one.
    """

    def __init__(self, condenser: Condenser, units: Units | None = None) -> None:
        self._condenser, self._solver = condenser, DaqpSolver()
        p, m = condenser.A_y.shape[1], len(condenser.P_vv)
        of_y, of_v, cost = np.ones(p), np.zeros(m), 1.0  # zero where it is not known
        of_v[: condenser.n_values] = 1.0
        if units is not None:
            of_y = np.resize(units.states, p)
            of_v[: condenser.n_values] = np.resize(units.inputs, condenser.n_values)
            cost = units.cost
        by_y = np.zeros(len(condenser.A_v))
        by_y[condenser.first_on_y :] = _largest(np.abs(condenser.A_y.toarray()) * of_y)
        size = np.where(by_y > 0.0, by_y, 1.0)
        rows = slice(condenser.first_on_y, None)
        hard, penalty = ~np.isfinite(condenser.linear_weight[rows]), EXACT_PENALTY * cost / size
        self._linear = np.where(hard, penalty[rows], condenser.linear_weight[rows])
        self._square = np.where(hard, 0.0, 0.5 * condenser.quadratic_weight[rows])
        self._free = np.where(hard, KEPT * size[rows], 0.0)
        self._any_free = bool(hard.any())
        on_v = condenser.A_v[rows]
        self._on_v = on_v if on_v.any() else None
        n = condenser.n_values
        self._units_of_inputs, self._cost = of_v[:n], cost
        self._w_rows: Index = np.flatnonzero(condenser.A_v[:, n:].any(axis=1))
        relaxed = self._w_rows >= condenser.first_on_y
        weight = condenser.linear_weight[self._w_rows]
        square = condenser.quadratic_weight[self._w_rows]
        hard = relaxed & ~np.isfinite(weight)  # so that there is a best w for every plan
        w_size = size[self._w_rows]
        self._w_linear = np.where(hard, penalty[self._w_rows], weight)
        self._w_square = np.where(hard, cost / w_size**2, square)
        self._w_on_y = sp.csr_array(
            sp.vstack([sp.csr_array((condenser.first_on_y, condenser.A_y.shape[1])), condenser.A_y])
        )[self._w_rows]
        if n < m:
            self._w_scaling = self._further(of_v, by_y, cost)

    def at(self, theta: Array) -> Instance:
        """Fill in the parameters of the problem."""
        return self._condenser.instance(theta)

    def __call__(self, at: Instance, U: Array, Y: Array) -> Array:
        """Price S plans: U of shape (S, N m), within bounds, that lead to Y of shape (S, N p)."""
        if self._condenser.n_values == len(self._condenser.P_vv):
            return self.of(at, U, Y)
        V = np.stack([self._completed(at, u, y) for u, y in zip(U, Y, strict=True)])
        return self.of(at, V, Y)

    def of(self, at: Instance, V: Array, Y: Array) -> Array:
        """Price S plans with given further variables, V = (U, W)."""
        c = self._condenser
        value = np.einsum("sy,sy->s", 0.5 * c.weighted(Y) + at.q_y, Y)
        value += np.einsum("sv,sv->s", 0.5 * (V @ c.P_vv) + at.q_v, V)
        value += at.constant
        if c.coupled:
            value += np.einsum("sy,sy->s", V @ c.P_vy, Y)
        if len(self._linear):
            start = len(c.P_vv) + c.first_on_y
            rows = np.asarray((c.A_y @ Y.T).T)
            if self._on_v is not None:
                rows = rows + V @ self._on_v.T
            lower, upper = at.lower[start:], at.upper[start:]
            over = np.maximum(np.maximum(rows - upper, lower - rows), 0.0)
            if self._any_free and over.any():
                over = np.maximum(over - _free(self._free, rows, lower, upper), 0.0)
            value += over @ self._linear + (over * over) @ self._square
        return np.asarray(value)

    def of_broken_inputs(self, at: Instance, U: Array) -> Array:
        """Price what S plans U (S, N m) break of hard rows on inputs alone, at an exact penalty.

        Guesses are within box and rates, but know no further rows.
        """
        alone, sides, size = self._inputs_alone
        values = np.concatenate([U, U @ alone], axis=1)
        upper, lower = at.upper[sides], at.lower[sides]
        over = np.maximum(values - upper, lower - values)
        if not (over > 0.0).any():
            return np.zeros(len(U))
        over -= _free(KEPT * size, values, lower, upper)
        return np.asarray(np.maximum(over, 0.0) @ (EXACT_PENALTY * self._cost / size))

    @cached_property
    def _inputs_alone(self) -> tuple[Array, Index, Array]:
        """Rows on inputs alone, (N m, r); the sides of inputs and those; sizes that both have."""
        c, n = self._condenser, self._condenser.n_values
        rows = c.A_v[: c.first_on_y]
        alone = np.flatnonzero(rows[:, :n].any(axis=1) & ~rows[:, n:].any(axis=1))
        own, units = np.ascontiguousarray(rows[alone, :n].T), self._units_of_inputs
        sides = np.concatenate([np.arange(n), len(c.P_vv) + alone])
        return own, sides, np.concatenate([units, _largest(np.abs(own.T) * units)])

    def _completed(self, at: Instance, u: Array, y: Array) -> Array:
        """Append the w that costs least beside an input u (N m,) and outputs y (N p,)."""
        c, n = self._condenser, self._condenser.n_values
        rows, w_sides = c.A_v[self._w_rows], slice(n, len(c.P_vv))
        moved = rows[:, :n] @ u + self._w_on_y @ y
        lower, upper = (
            np.append(side[w_sides], side[len(c.P_vv) :][self._w_rows] - moved)
            for side in (at.lower, at.upper)
        )
        f = at.q_v[n:] + c.P_vv[n:, :n] @ u + c.P_vy[n:] @ y
        P = np.ascontiguousarray(c.P_vv[n:, n:])
        A = np.ascontiguousarray(rows[:, n:])
        program = DenseQP(P, f, A, lower, upper, self._w_linear, self._w_square)
        scaling = self._w_scaling
        program = scaling.vectors(program, scaling.matrices(program))
        w = self._solver.solve(program, matrices_changed=False).v if np.isfinite(y).all() else None
        return np.append(u, np.full(len(f), np.inf) if w is None else scaling.variables * w)

    def _further(self, of_v: Array, by_y: Array, cost: float) -> Scaling:
        """Measure the further variables by the rows that they share with inputs and outputs."""
        c, n = self._condenser, self._condenser.n_values
        while True:
            known, size = _largest(np.column_stack([np.abs(c.A_v) * of_v, by_y])), np.abs(c.A_v)
            through = np.where((size > 0.0) & (known > 0.0)[:, None], size, np.inf)
            shared = (known[:, None] / through).max(axis=0, initial=0.0)
            new = (of_v == 0.0) & (shared > 0.0)
            if not new.any():
                break
            of_v = np.where(new, shared, of_v)
        own = power_near(of_v[n:])
        rows = power_near(_largest(np.abs(c.A_v[self._w_rows, n:]) * own))
        return Scaling(own, rows, float(power_near(cost)))


def _free(least: Array, values: Array, lower: Array, upper: Array) -> Array:
    """How far values (S, r) may lie beyond sides (r,): as far as solvers are exact.

    Sides far from zero that lie close together are kept as exactly as their own size allows. Rows
    whose `least` (r,) is zero get nothing.
    """
    side = np.abs(np.where(values > upper, upper, lower))
    return np.asarray(np.maximum(least, np.where(least > 0.0, KEPT * side, 0.0)))


def _largest(rows: Array) -> Array:
    """Largest entry of each row of a matrix without negative ones."""
    return np.asarray(rows.max(axis=1, initial=0.0))
