"""The programs of a linear roll-out as constant arrays: one product is left to do at every step.

A program min v'Hv/2 + f'v, low <= [v; A v] <= high is exported in the metric of its Hessian
H = L L': with w = L'(v - v0) about its unconstrained minimum v0 it asks for the shortest w with
low <= c + G w <= high, where G = [I; A] L'^-1 and c are the rows' values at v0 (the least-distance
form of Arnström, Bemporad & Axehill, IEEE TAC 67, 2022). All that changes from step to step, the
lifted state and whatever else is known, acts on c, by one matrix.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

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
class Program:
    """A program in its own metric: r rows, of which the first n are the free values.

    Args:
        G: Rows, of length one, shape (r, n).
        unit: What the first rows are multiplied by for the free values, shape (n,).
        by_known: How xi moves [c; angles; inputs], shape (r + a + i, k).
        constant: What these are without, shape (r + a + i,).
        by_turn: How turns of predicted angles move c, shape (r, a).
        turned_by: How inputs move the predicted angles, shape (a, N c); None where these do not
            count.
        low: Shape (r,).
        high: Shape (r,).
        price: Of a violation, `INFINITE` for hard rows, shape (r,).
        softness: Inverse price of its square, shape (r,).
        sides: Row of every side that moves by itself, and 1 if it is an upper one, shape (s, 2).
        by_others: How these move with xi but for the lifted state, shape (s, k - n).
        shape: From free values to inputs, shape (N c, n); None where the first ones are inputs.
        soft: Whether hard rows on outputs are relaxed in it.
    """

    G: Array
    unit: Array
    by_known: Array
    constant: Array
    by_turn: Array
    turned_by: Array | None
    low: Array
    high: Array
    price: Array
    softness: Array
    sides: Index
    by_others: Array
    shape: Array | None
    feedback: bool
    soft: bool


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
    n, by_theta = len(prepared.H), prepared._by_theta
    solve, G = _metric(prepared.H, prepared.A, planner.condenser.n_values)
    r = len(G)
    shift = _shift(response, known)
    # What xi does to f and to the sides that move together, as `PreparedProgram.vectors` has it.
    moved = prepared._by_free @ (response.Phi @ known.lifted + shift)
    moved[: len(by_theta)] += by_theta @ known.theta
    still = np.zeros(len(moved))
    still[: len(by_theta)] = by_theta @ known.constant
    if prepared._f is not None:
        still[:n] += prepared._f
    full = np.column_stack([moved, still, prepared._by_free])  # (f and rows, k + 1 + N d)
    c, together = solve(full[:n]), np.zeros((r, full.shape[1]))
    together[prepared._first :] = full[n:]
    c[n:] -= together[n:]
    low, high = prepared._sides.copy()
    sides, by_sides = _moved_sides(prepared, known, together[:n], (low, high))
    length = np.sqrt(np.square(G).sum(axis=1))
    short = length**2 < OVERLOOKED
    short[:n] = False
    length[short] = 1.0
    low[short], high[short] = -np.inf, np.inf
    sides_kept = ~short[sides[:, 0]]
    price, softness = _prices(prepared._weights, n, length)
    k = known.lifted.shape[1]
    c /= length[:, None]
    a, by_angle, turned_by, angles = _angles(planner, known, shift)
    inputs, shape = _inputs(planner, known)
    return Program(
        G=np.where(short[:, None], 0.0, G / length[:, None]),
        unit=length[:n] * (1.0 if prepared._unit is None else prepared._unit),
        by_known=np.vstack([c[:, :k], by_angle, inputs]),
        constant=np.concatenate([c[:, k], angles, np.zeros(len(inputs))]),
        by_turn=c[:, k + 1 :][:, a],
        turned_by=turned_by,
        low=np.clip(low / length, -INFINITE, INFINITE),
        high=np.clip(high / length, -INFINITE, INFINITE),
        price=price,
        softness=softness,
        sides=sides[sides_kept],
        by_others=(by_sides / length[sides[:, 0], None])[sides_kept][:, len(known.lifted) :],
        shape=shape,
        feedback=response.prestabilised,
        soft=soft,
    )


def _metric(H: Array, A: Array, n_values: int) -> tuple[Callable[[Array], Array], Array]:
    """Return how f moves the rows' values at the unconstrained minimum, and G (n + r, n).

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
    return (lambda f: -rows @ cho_solve((L, True), f)), np.ascontiguousarray(G)


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


def _angles(
    planner: LinearPlanner, known: Known, shift: Array
) -> tuple[Index, Array, Array | None, Array]:
    """Where predicted angles lie among outputs; how far they are from the reference.

    Returns:
        Their places (a,), how xi and inputs move the deviations, (a, k) and (a, N c) or None for
        not at all, and what these are without, (a,).
    """
    response, scenarios = planner.response, planner._scenarios
    d, k = scenarios.n_outputs, known.lifted.shape[1]
    N = response.n_outputs // d
    angles = np.flatnonzero(scenarios.first.coordinates.is_angle)
    places = (np.arange(N)[:, None] * d + angles).ravel()
    if not len(angles):
        return places, np.zeros((0, k)), None, np.zeros(0)
    if response.prestabilised:  # the state now, at all steps
        now = scenarios.first.C @ known.lifted + known.offset
        likely, turned_by = np.tile(now[angles], (N, 1)), None
    else:
        likely = response.Phi[places] @ known.lifted + shift[places]
        turned_by = response.Gamma[places]
    return places, likely - known.theta[places], turned_by, -known.constant[places]


def _inputs(planner: LinearPlanner, known: Known) -> tuple[Array, Array | None]:
    """How xi moves the inputs beside the free values, and how these do."""
    response, condenser = planner.response, planner.condenser
    k, n = known.lifted.shape[1], len(planner._program.H)
    shape: Array | None = None
    if response.prestabilised:
        shape = response.Gamma[response.n_outputs :]
    elif condenser._held is not None:
        shape = np.asarray(condenser._held, dtype=np.float64)
    if shape is not None:
        shape = np.asarray(np.pad(shape, [(0, 0), (0, n - shape.shape[1])]))
    if not response.prestabilised:
        return np.zeros((0, k)), shape
    own = slice(response.n_outputs, None)
    return response.Phi[own] @ known.lifted + response.by_known[own] @ known.inputs, shape
