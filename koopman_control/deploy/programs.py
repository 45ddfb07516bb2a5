"""The programs of a linear roll-out as constant arrays: one product is left to do at every step.

A program min v'Hv/2 + f'v, low <= [v; A v] <= high is exported in the metric of its Hessian
H = L L': with w = L'(v - v0) about its unconstrained minimum v0 it asks for the shortest w with
low <= c + G w <= high, where G = [I; A] L'^-1 and c are the rows' values at v0 (the least-distance
form of Arnström, Bemporad & Axehill, IEEE TAC 67, 2022). All that changes from step to step, the
lifted state and whatever else is known, moves predictions y without inputs; these, and the rest of
what is known, move h = L^-1 f and the rows, and c = rows - G h. That takes a third less of memory
than the matrix from all that is known to c, and for a given reference half.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.planning.linear import LinearPlanner, PreparedProgram, Response

INFINITE = 1e30  # in place of infinity, which no C99 compiler need know
OVERLOOKED = 1e-11  # squared length of a row in the metric of H; DAQP overlooks shorter ones, too
SINGULAR = 1e9  # condition number of H beyond which it leaves directions free
LEAST_SQUARE = 1e-14  # price of a violation's square, in the units of scaled programs; or none


class NotExportableError(ValueError):
    """The controller has something that its C code cannot do."""


@dataclass(frozen=True)
class Known:
    """How what a step knows, xi of length k, acts; its first n entries are the lifted state now.

    Args:
        lifted: Lifted state from which plans start, shape (n, k).
        offset: What measured outputs differ by, shape (d, k).
        inputs: Inputs of the model that are measured, over the horizon, shape (N m, k).
        theta: Parameters of the problem that move, shape (t, k).
        constant: Parameters of the problem that stay, zero elsewhere, shape (t,).
    """

    lifted: Array
    offset: Array
    inputs: Array
    theta: Array
    constant: Array


@dataclass(frozen=True)
class Angles:
    """Predicted angles, whose deviations from the reference are turned to within half a turn.

    Args:
        seen: Which prediction tells each of them, shape (a,).
        turned: Which prediction is turned, shape (a,).
        by_others: How what is known beside the lifted state moves the deviations, shape (a, k - n).
        constant: What these are without, shape (a,).
        by_inputs: How inputs move them, shape (a, N c); None where these do not count.
    """

    seen: Index
    turned: Index
    by_others: Array
    constant: Array
    by_inputs: Array | None


@dataclass(frozen=True)
class Program:
    """A program in its own metric: r rows, of which the first n are the free values.

    Args:
        G: Rows, of length one, shape (r, n).
        unit: What the first rows are multiplied by for the free values, shape (n,).
        predicted: How xi moves predictions, shape (y, k); where the model is prestabilised, the
            last of those that count are the inputs of the feedback, and angles now follow.
        weight: What an error of each prediction moves in the metric, zero for the others, (y,).
        slope: h where all else is zero, shape (n,).
        slope_by_predicted: Shape (n, t); the other predictions do not move it.
        slope_by_others: How what is known beside the lifted state moves it, shape (n, k - n_z).
        rows: Rows' values where all else is zero, shape (r,).
        rows_by_predicted: Shape (r, t).
        rows_by_others: Shape (r, k - n_z).
        angles: What is turned.
        low: Shape (r,).
        high: Shape (r,).
        price: Of a violation, `INFINITE` for hard rows, shape (r,).
        softness: Inverse price of its square, shape (r,).
        sides: Row of every side that moves by itself, and 1 if it is an upper one, shape (s, 2).
        sides_by_others: How these move with xi but for the lifted state, shape (s, k - n_z).
        shape: From free values to inputs, shape (N c, n); None where the first ones are inputs.
        feedback: Whether inputs of the feedback are added.
        soft: Whether hard rows on outputs are relaxed in it.
        direct: Whether the first n predictions are what moves h.
    """

    G: Array
    unit: Array
    predicted: Array
    weight: Array
    slope: Array
    slope_by_predicted: Array
    slope_by_others: Array
    rows: Array
    rows_by_predicted: Array
    rows_by_others: Array
    angles: Angles
    low: Array
    high: Array
    price: Array
    softness: Array
    sides: Index
    sides_by_others: Array
    shape: Array | None
    feedback: bool
    soft: bool
    direct: bool = False

    def shortest(self, n_z: int) -> Program:
        """Return it with what takes least memory as predictions: those, or h and rows themselves.

        The latter is shorter where few values are free, or few predictions are bounded. Angles have
        to be predicted, as they are turned.

        Args:
            n_z: Number of lifted states, the first part of xi.
        """
        n, t = self.slope_by_predicted.shape
        moving = np.flatnonzero(self.rows_by_predicted.any(axis=1))
        kept = t - len(self.shape) if self.feedback and self.shape is not None else t
        beyond = self.predicted[kept:t]
        y = n + len(moving) + len(beyond)
        if len(self.angles.seen) or y * n_z >= t * n_z + n * t:
            return self
        own = self.predicted[:t]
        slopes, rows = self.slope_by_predicted @ own, self.rows_by_predicted[moving] @ own
        by_predicted = np.zeros((len(self.G), y))
        by_predicted[moving, n + np.arange(len(moving))] = 1.0
        return replace(
            self,
            predicted=np.vstack([slopes, rows, beyond]),
            weight=np.append(np.ones(n + len(moving)), np.zeros(len(beyond))),
            slope_by_predicted=np.eye(n, y),
            rows_by_predicted=by_predicted,
            direct=True,
        )


def programs_of(planner: LinearPlanner, known: Known) -> Iterator[Program]:
    """Yield the programs in the order in which they are tried."""
    softened: LinearPlanner | None = planner
    while softened is not None:
        one: LinearPlanner | None = softened
        while one is not None:
            try:
                yield _program(one, known, softened is not planner)
            except NotExportableError:
                if one is softened:
                    raise
                _warn_of_rescue()
            one = one._rescue
        softened = softened._softened


def _warn_of_rescue() -> None:
    warnings.warn(
        "the model is so unstable that its plain program, which Python solves where feedback "
        "leaves no plan, has no C code; there the C code goes on to softened bounds, or continues "
        "the plan before",
        UserWarning,
        stacklevel=2,
    )


def _program(planner: LinearPlanner, known: Known, soft: bool) -> Program:
    prepared, response = planner._program, planner.response
    (n_z, k), n, by_theta = known.lifted.shape, len(prepared.H), prepared._by_theta
    to_slope, G = _metric(prepared.H, prepared.A, planner.condenser.n_values)
    r = len(G)
    free = response.Phi @ known.lifted + _shift(response, known)  # predictions without inputs
    # What y, xi and nothing do to f and the rows that move together, as in `vectors`.
    by_free = prepared._by_free
    by_xi, still = np.zeros((len(by_free), k)), np.zeros(len(by_free))
    by_xi[: len(by_theta)] = by_theta @ known.theta
    still[: len(by_theta)] = by_theta @ known.constant
    if prepared._f is not None:
        still[:n] += prepared._f
    outputs = np.arange(len(free)) < response.n_outputs  # behind them, inputs of the feedback
    used = np.flatnonzero(by_free.any(axis=0) | ~outputs)
    full = np.column_stack([by_free[:, used], by_xi, still])
    slope, together = to_slope(full[:n]), np.zeros((r, full.shape[1]))
    together[prepared._first :] = full[n:]
    low, high = prepared._sides.copy()
    sides, by_sides = _moved_sides(prepared, known, together[:n, len(used) :], (low, high))
    length = np.sqrt(np.square(G).sum(axis=1))
    short = length**2 < OVERLOOKED
    short[:n] = False
    length[short] = 1.0
    low[short], high[short] = -np.inf, np.inf
    sides_kept = ~short[sides[:, 0]]
    price, softness = _prices(prepared._weights, n, length)
    rows = -together / length[:, None]
    rows[:n] = rows[short] = 0.0
    t, others = len(used), slice(len(used) + n_z, -1)
    angles, now = _angles(planner, known, used)
    predicted = np.vstack([free[used], now])
    moved = np.vstack([slope[:, :t], rows[:, :t]])
    return Program(
        G=np.where(short[:, None], 0.0, G / length[:, None]),
        unit=length[:n] * (1.0 if prepared._unit is None else prepared._unit),
        predicted=predicted,
        weight=np.append(np.sqrt(np.square(moved).sum(axis=0)), np.zeros(len(predicted) - t)),
        slope=slope[:, -1],
        slope_by_predicted=slope[:, :t],
        slope_by_others=slope[:, others],
        rows=rows[:, -1],
        rows_by_predicted=rows[:, :t],
        rows_by_others=rows[:, others],
        angles=angles,
        low=np.clip(low / length, -INFINITE, INFINITE),
        high=np.clip(high / length, -INFINITE, INFINITE),
        price=price,
        softness=softness,
        sides=sides[sides_kept],
        sides_by_others=(by_sides / length[sides[:, 0], None])[sides_kept][:, n_z:],
        shape=_shape(planner),
        feedback=response.prestabilised,
        soft=soft,
    )


def _metric(H: Array, A: Array, n_values: int) -> tuple[Callable[[Array], Array], Array]:
    """Return how f moves h, the rows' values at the minimum without bounds being -G h, and G.

    Raises:
        NotExportableError: If H leaves a direction free.
    """
    least, *_, most = np.linalg.eigvalsh(H) if len(H) > 1 else (H[0, 0], H[0, 0])
    if least <= most / SINGULAR:
        if n_values < len(H):
            raise NotExportableError(
                f"the problem has {len(H) - n_values} variables beside the inputs without a "
                "quadratic cost, as absolute values and largest ones of inputs make them; state "
                "such terms by squares, or as soft bounds of states"
            )
        raise NotExportableError(
            "the cost leaves some inputs free (its Hessian's eigenvalues span "
            f"{most / max(least, 1e-300):.0e}; at most {SINGULAR:.0e} can be exported); give "
            "inputs or their changes a price: R=... or Cost(S=...)"
        )
    L = cholesky(H, lower=True)
    rows = np.vstack([np.eye(len(H)), A])
    G = solve_triangular(L, rows.T, lower=True).T
    return (lambda f: solve_triangular(L, f, lower=True)), np.ascontiguousarray(G)


def _shift(response: Response, known: Known) -> Array:
    """How xi moves predictions beside by the lifted state, shape (r, k)."""
    shift = response.by_known @ known.inputs
    n, d = response.n_outputs, len(known.offset)
    shift[:n] += np.tile(known.offset, (n // d, 1))
    return np.asarray(shift)


def _moved_sides(
    prepared: PreparedProgram, known: Known, bounds: Array, sides: tuple[Array, Array]
) -> tuple[Index, Array]:
    """Sides that move by themselves: their places (s, 2) and how xi moves them, (s, k).

    What of it is constant goes into `sides`.
    """
    k, places, rows = known.lifted.shape[1], [], []
    for upper, (side, (own, matrix)) in enumerate(zip(sides, prepared._others._parts, strict=True)):
        by_row = {i: row[:k] for i, row in enumerate(bounds) if np.isfinite(side[i]) and row.any()}
        side[: len(bounds)] += bounds[:, k]
        for i, row in zip(own.tolist(), matrix, strict=True):
            by_row[i] = by_row.get(i, np.zeros(k)) + row @ known.theta
            side[i] += row @ known.constant
        places += [(i, upper) for i, row in by_row.items() if row.any()]
        rows += [row for row in by_row.values() if row.any()]
    return np.array(places, dtype=np.int64).reshape(-1, 2), np.array(rows).reshape(-1, k)


def _prices(weights: tuple[Array, Array], n: int, length: Array) -> tuple[Array, Array]:
    linear, square = (np.append(np.full(n, np.inf), own) for own in weights)
    hard, price = ~np.isfinite(linear), np.where(np.isfinite(linear), linear * length, INFINITE)
    square = np.where(hard, 1.0, square * length**2)
    return price, np.where(hard, 0.0, 1.0 / np.maximum(square, LEAST_SQUARE))


def _angles(planner: LinearPlanner, known: Known, used: Index) -> tuple[Angles, Array]:
    """Find the angles among the predictions that count, and how xi moves angles now, (j, k).

    The latter tell where predictions will be if these are made of a prestabilised response.
    """
    response, scenarios, (n_z, k) = planner.response, planner._scenarios, known.lifted.shape
    d, N = scenarios.n_outputs, response.n_outputs // scenarios.n_outputs
    own = np.flatnonzero(scenarios.first.coordinates.is_angle)
    places = (np.arange(N)[:, None] * d + own).ravel()
    counts = np.isin(places, used)
    places, turned = places[counts], np.searchsorted(used, places[counts])
    now, seen, by_inputs = np.zeros((0, k)), turned, None
    if len(places) and response.prestabilised:
        now = (scenarios.first.C @ known.lifted + known.offset)[own]
        seen = len(used) + np.tile(np.arange(len(own)), N)[counts]
    elif len(places):
        by_inputs = response.Gamma[places]
    by_others = -known.theta[places][:, n_z:]
    return Angles(seen, turned, by_others, -known.constant[places], by_inputs), now


def _shape(planner: LinearPlanner) -> Array | None:
    """How the free values, and what is beside them, make the inputs; None: they are the inputs."""
    response, condenser, n = planner.response, planner.condenser, len(planner._program.H)
    if response.prestabilised:
        shape = response.Gamma[response.n_outputs :]
    elif condenser._held is not None:
        shape = np.asarray(condenser._held, dtype=np.float64)
    else:
        return None
    return np.asarray(np.pad(shape, [(0, 0), (0, n - shape.shape[1])]))
