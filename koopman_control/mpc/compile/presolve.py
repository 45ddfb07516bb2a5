"""Presolve: from a CVXPY problem to the small program that is solved at every step.

Variables that CVXPY introduced are eliminated, slack variables of exact penalties become weights on
their rows, and opposite rows become one row with two sides. `softened` is the same program with its
hard rows on outputs relaxed, for when they cannot be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, Index, power_near
from koopman_control.common.border import checked
from koopman_control.mpc.compile.canonical import affine_qp
from koopman_control.mpc.compile.eliminate import without_defined_variables
from koopman_control.mpc.compile.program import (
    AffineMap,
    AffineQP,
    Origin,
    ParametricQP,
    Recovery,
    column_units,
)

SAME = 1e-12  # relative; entries of rows that differ by less are equal


@checked
def compile_qp(
    problem: cp.Problem,
    parameters: Sequence[cp.Parameter],
    variables: Sequence[cp.Variable] = (),
) -> ParametricQP:
    """Compile a parametrised CVXPY problem to a small quadratic program.

    Args:
        problem: A convex quadratic program that follows CVXPY's rules for parameters (DPP). A
            maximisation is turned into the minimisation of the negative cost.
        parameters: All its parameters; theta stacks their entries, row after row.
        variables: Variables to keep in x; the values of all others are recovered as well.

    Returns:
        The program in the variables that could not be eliminated.

    Raises:
        ValueError: If the problem is not convex, not DPP or not a quadratic program, or parameters
            or variables are missing.

    Example:
        >>> x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
        >>> qp = compile_qp(cp.Problem(cp.Minimize(cp.sum_squares(x - p)), [x >= 0]), [p], [x])
        >>> qp.P
        array([[2., 0.],
               [0., 2.]])
    """
    origin = Origin(
        {p.name(): p.shape for p in parameters}, isinstance(problem.objective, cp.Maximize)
    )
    small = without_defined_variables(affine_qp(problem, parameters, variables))
    return _with_two_sided_rows(small, origin)


def _with_two_sided_rows(qp: AffineQP, origin: Origin) -> ParametricQP:
    """Fold slacks into row weights, join opposite rows and drop what that leaves without use."""
    n, n_rows = qp.P.shape[0], qp.F.shape[0]
    slack_of, signs, slacks = _foldable_slacks(qp)
    kept = np.setdiff1d(np.arange(n), slacks)
    rows = np.setdiff1d(np.arange(n_rows), signs)
    F, slack = qp.F[rows][:, kept].toarray(), slack_of[rows]
    up, low = _opposite_rows(F, slack)
    own, sign = np.where(up >= 0, up, low), np.where(up >= 0, 1.0, -1.0)
    upper = _sides(qp.g[rows], up, 1.0)
    lower = _sides(qp.g[rows], low, -1.0)
    hard, weight = np.full(qp.E.shape[0], np.inf), slack[own]
    linear, quadratic = (  # -1 is the last
        np.append(price, np.inf)[weight] for price in (qp.q.constant, qp.P.diagonal())
    )
    position = np.cumsum(np.isin(np.arange(n), kept)) - 1
    return ParametricQP(
        P=qp.P[kept][:, kept].toarray(),
        q=qp.q[kept],
        constant=qp.c,
        A=np.vstack([sign[:, None] * F[own], qp.E[:, kept].toarray()]),
        lower=lower.stacked(qp.b),
        upper=upper.stacked(qp.b),
        linear_weight=np.append(linear, hard),
        quadratic_weight=np.append(quadratic, hard),
        columns={name: position[c] for name, c in qp.columns.items()},
        row_names=(*_joined(np.array(qp.names[1], dtype=object)[rows], up, low), *qp.names[0]),
        recovery=_recovery(qp.recovery, kept, np.append(weight, np.full(len(hard), -1))),
        origin=origin,
    )


def _joined(names: Any, up: Index, low: Index) -> list[str]:
    """Name joined rows after both sides."""
    sides = ([names[i] for i in pair if i >= 0] for pair in zip(low, up, strict=True))
    return [" and ".join(dict.fromkeys(names)) for names in sides]


def _recovery(before: Recovery, kept: Index, slack_of: Index) -> Recovery:
    """Read folded slacks off the violations of their rows."""
    rows = np.flatnonzero(slack_of >= 0)
    n, r = before.matrix.shape[1], len(slack_of)
    place = sp.csr_array((np.ones(len(rows)), (slack_of[rows], rows)), (n, r))
    return replace(
        before,
        matrix=sp.csr_array(before.matrix[:, kept]),
        excess=sp.csr_array(before.matrix @ place),
    )


def _foldable_slacks(qp: AffineQP) -> tuple[Index, list[int], list[int]]:
    """Find slacks s >= 0 with cost w s + rho s^2/2 that relax one row or an opposite pair.

    Returns:
        The slack column of each row (-1 for none), the rows s >= 0 and the slack columns.
    """
    columns = sp.csc_array(qp.F)
    slack_of = np.full(qp.F.shape[0], -1, dtype=np.int64)
    signs, slacks = [], []
    for j in np.flatnonzero(_priced_alone(qp)):
        part = slice(columns.indptr[j], columns.indptr[j + 1])
        rows = columns.indices[part].astype(np.int64)
        entries = np.diff(qp.F.indptr)[rows]
        sign, relaxed = rows[entries == 1], rows[entries > 1]
        if len(sign) != 1 or np.any(columns.data[part] != -1.0) or np.any(slack_of[relaxed] >= 0):
            continue
        if qp.g.constant[sign[0]] != 0.0 or _row(qp.g.matrix, sign[0]):
            continue
        if _is_one_row(qp, relaxed, int(j)):
            slack_of[relaxed] = j
            signs.append(int(sign[0]))
            slacks.append(int(j))
    return slack_of, signs, slacks


def _priced_alone(qp: AffineQP) -> Any:
    """Mark variables nobody asked for with a cost w s + rho s^2/2 of their own, w >= 0, rho > 0."""
    diagonal = qp.P.diagonal()
    entries = np.bincount(qp.P.indices[qp.P.data != 0.0], minlength=len(diagonal))
    coupled = entries > (diagonal != 0.0)
    varying = np.diff(qp.q.matrix.indptr) > 0
    defined = np.bincount(qp.E.indices, minlength=len(diagonal)) > 0
    alone = (diagonal > 0.0) & (qp.q.constant >= 0.0) & ~coupled & ~varying & ~defined
    alone[qp.wanted] = False
    return alone


def _is_one_row(qp: AffineQP, rows: Index, slack: int) -> bool:
    """Whether rows are one, or two that bound the same expression from both sides.

    The sides of two must never cross: a violation counted once could not make up for that.
    """
    if len(rows) == 1:
        return True
    if len(rows) != 2:
        return False
    i, j = rows
    same = _cancel(_row(qp.F, i, slack), _row(qp.F, j, slack))
    constant_width = _cancel(_row(qp.g.matrix, i), _row(qp.g.matrix, j))
    high, low = float(qp.g.constant[i]), float(qp.g.constant[j])
    return same and constant_width and high + low >= -SAME * max(abs(high), abs(low))


def _row(M: sp.csr_array, i: int, without: int = -1) -> dict[int, float]:
    """Entries of a row that are not zero, by column; slicing M itself would take far longer."""
    part = slice(M.indptr[i], M.indptr[i + 1])
    columns, values = M.indices[part].tolist(), M.data[part].tolist()
    return {c: v for c, v in zip(columns, values, strict=True) if c != without and v != 0.0}


def _cancel(one: dict[int, float], other: dict[int, float]) -> bool:
    """Whether entries are opposite, but for rounding."""
    if one.keys() != other.keys():
        return False
    return all(abs(v + other[c]) <= SAME * max(abs(v), abs(other[c])) for c, v in one.items())


def _opposite_rows(F: Array, slack: Index) -> tuple[Index, Index]:
    """Pair rows that differ in sign only: indices of upper and lower rows, -1 for a missing side.

    A row bounded twice from the same side opens another pair.
    """
    pairs: dict[tuple[int, bytes, int], list[int]] = {}
    scaled = F * column_units(F)
    units = power_near(np.abs(scaled).max(axis=1, initial=0.0))
    for i, row in enumerate(scaled):
        nonzero = np.flatnonzero(row)
        side = 1 if len(nonzero) and row[nonzero[0]] < 0.0 else 0
        near_one = (-row if side else row) / units[i]
        shape = units[i] * (np.round(near_one, -round(np.log10(SAME))) + 0.0)  # no -0.0
        copy = 0
        while (pair := pairs.setdefault((int(slack[i]), shape.tobytes(), copy), [-1, -1]))[
            side
        ] >= 0:
            copy += 1
        pair[side] = i
    up, low = np.array(list(pairs.values()), dtype=np.int64).reshape(-1, 2).T
    return up, low


def _sides(g: AffineMap, chosen: Index, sign: float) -> AffineMap:
    """Pick right-hand sides as one side of the joined rows; infinite where there is none."""
    if not len(chosen):
        return AffineMap(np.zeros(0), sp.csr_array((0, g.matrix.shape[1])))
    signs = sp.diags_array(np.full(len(chosen), sign))
    return g[chosen].times(signs).fixed(chosen < 0, sign * np.inf)


def softened(qp: ParametricQP, linear: ArrayLike, quadratic: ArrayLike) -> ParametricQP | None:
    """Relax every hard row that concerns outputs; None where there is no such row.

    Rows on inputs alone (bounds, rates, the user's own) stay hard: the plant can always keep them.
    The two sides of a row may have crossed; where they can, each is relaxed as a row of its own.

    Args:
        qp: The compiled problem.
        linear: Price of a violation v per unit, for all outputs or each of them, (p,).
        quadratic: Price of v^2.
    """
    relaxed = ~np.isfinite(qp.linear_weight) & (qp.A[:, _led_to_by_y(qp)] != 0.0).any(axis=1)
    if not relaxed.any():
        return None
    linear, quadratic = row_prices(qp, linear), row_prices(qp, quadratic, power=2)
    priced = replace(
        qp,
        linear_weight=np.where(relaxed, linear, qp.linear_weight),
        quadratic_weight=np.where(relaxed, 2.0 * quadratic, qp.quadratic_weight),
    )
    return _split(priced, np.flatnonzero(relaxed & _may_cross(qp)))


def row_prices(qp: ParametricQP, price: ArrayLike, power: int = 1) -> Array:
    """Prices (r,) of the rows' violations to a power, from those of the outputs, all or (p,).

    A row costs what the output costs that breaks it most cheaply. Variables that share rows with
    outputs are worth what these are worth through the row; rows without any of them cost nothing.
    """
    size = np.abs(qp.A) ** power
    of_variable, fixed = np.full(len(qp.P), np.inf), np.zeros(len(qp.P), dtype=bool)
    of_variable[qp.columns["y"]] = price
    fixed[qp.columns["u"]] = True
    with np.errstate(divide="ignore", invalid="ignore"):
        while True:
            of_row = np.where(size > 0.0, of_variable / size, np.inf).min(axis=1, initial=np.inf)
            fixed |= np.isfinite(of_variable)
            known = np.isfinite(of_row)
            through = np.where(size[known] > 0.0, of_row[known, None] * size[known], np.inf)
            new = ~fixed & np.isfinite(through).any(axis=0)
            if not new.any():
                return np.where(known, of_row, 0.0)
            of_variable[new] = through[:, new].min(axis=0)


def _may_cross(qp: ParametricQP) -> NDArray[np.bool_]:
    """Mark rows with two sides that are not at a constant distance of at least zero."""
    moving = abs(qp.upper.matrix - qp.lower.matrix).sum(axis=1) > 0.0
    width = qp.upper.constant - qp.lower.constant
    return np.asarray(np.isfinite(width) & (moving | (width < 0.0)))


def _split(qp: ParametricQP, rows: Index) -> ParametricQP:
    """Leave these rows their lower sides, and repeat them with their upper sides below."""
    if not len(rows):
        return qp
    repeated = np.append(np.arange(len(qp.A)), rows)
    below = np.arange(len(repeated)) >= len(qp.A)
    first = np.isin(repeated, rows) & ~below
    excess = sp.csr_array((qp.recovery.excess.shape[0], len(rows)))  # none of a row that was hard
    return replace(
        qp,
        A=qp.A[repeated],
        lower=qp.lower[repeated].fixed(below, -np.inf),
        upper=qp.upper[repeated].fixed(first, np.inf),
        linear_weight=qp.linear_weight[repeated],
        quadratic_weight=qp.quadratic_weight[repeated],
        row_names=tuple(qp.row_names[i] for i in repeated),
        recovery=replace(qp.recovery, excess=sp.csr_array(sp.hstack([qp.recovery.excess, excess]))),
    )


def _led_to_by_y(qp: ParametricQP) -> NDArray[np.bool_]:
    """Mark y and the further variables that share rows with it, directly or through others."""
    reached = np.zeros(qp.A.shape[1], dtype=bool)
    reached[qp.columns["y"]] = True
    own = np.ones_like(reached)
    own[qp.columns["u"]] = False
    entries = qp.A != 0.0
    while True:
        rows = entries[:, reached].any(axis=1)
        more = reached | (own & entries[rows].any(axis=0))
        if (more == reached).all():
            return reached
        reached = more
