"""What follows after the horizon: a regulator at the target, its cost, and the set it keeps.

And the tube in which it keeps a plant that is disturbed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from koopman_control.common.arrays import (
    Array,
    Index,
    balanced,
    finite_array,
    positive_int,
    power_near,
)
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel
from koopman_control.identification.kernel_arrays import Regulator
from koopman_control.mpc.estimation.kalman import settled_covariance
from koopman_control.mpc.settings import Tube
from koopman_control.mpc.state import InputLayout, Start, TargetRows
from koopman_control.mpc.weights import Weights, row_sides, weight_matrix, widened

STEPS = 500  # of the Riccati recursion; it converges in far fewer for a controllable target
SETTLED = 1e-6  # relative; a cost that changes by more in a step is none to come
CONVERGED = 1e-14  # relative; a step of the recursion that changes less is its last
ILL_CONDITIONED = 1e15
SINGULAR = 1e-12  # of input weights relative to their diagonal; beyond, an input costs nothing


def riccati(
    model: LiftedModel,
    x: Array,
    u: Array,
    Q: Array,
    R: Array,
    controlled: Index | None = None,
    S: Array | None = None,
) -> tuple[Array, Array]:
    """Compute the regulator at a target state and input.

    Where changes of the input cost something, the input before is part of the regulator's state.

    Args:
        model: The model; its re-lifted one-step map is linearised.
        x: Target state, shape (d,).
        u: Target input, shape (m,).
        Q: State weight, shape (d, d).
        R: Weight of the controlled inputs, shape (m, m) where all are.
        controlled: Indices of the inputs that are controlled; None: all.
        S: Weight of changes of the controlled inputs, shape (m, m); None: they cost nothing.

    Returns:
        Gain K of shape (m, d), for u - K (x - target), and cost P - Q of all steps after the
        state's own, shape (d, d). With S that is not zero, both go with (x - target, u_before - u)
        and have m more columns, the cost m more rows, too. Both are zero where there is no
        regulator (a target that cannot be held).
    """
    F, G = (J[0] for J in model.one_step.jacobians(x[None], u[None]))
    G = G if controlled is None else G[:, controlled]
    if S is None or not S.any():
        K, P = _recursion(F, G, Q, R, np.zeros((len(R), len(Q))))
        return K, P - Q if P.any() else P
    (d, m), cost = G.shape, np.pad(Q, (0, len(R)))
    F, G = _with_inputs_before(F, G, remembers=True)
    both = cost.copy()
    both[d:, d:] = S
    cross = np.hstack([np.zeros((m, d)), -S])  # the change costs (u - u_before)' S (u - u_before)
    K, P = _regulated(F, G, both, R + S, cross)
    return K, P - cost if P.any() else P


@np.errstate(all="ignore")  # what cannot be computed with is found out at the end
def _regulated(F: Array, G: Array, Q: Array, R: Array, N: Array) -> tuple[Array, Array]:
    """As `_recursion`, however slowly the loop settles, and whatever the units.

    The recursion takes as many steps as the loop takes to settle, which is long where changes are
    dear; doubling does not mind. It needs a definite weight of the inputs.
    """
    unit_u = _power_of_two(1.0 / np.sqrt(np.where(np.diag(R) > 0.0, np.diag(R), 1.0)))
    moved = np.abs(G * unit_u).max(axis=1)
    by_weight = 1.0 / np.sqrt(np.diag(Q))
    unit = np.where(np.diag(Q) > 0.0, by_weight, np.where(moved > 0.0, moved, 1.0))
    unit = _power_of_two(unit)
    F, G = F * unit / unit[:, None], G * unit_u / unit[:, None]
    Q, N = Q * unit * unit[:, None], N * unit * unit_u[:, None]
    R = R * unit_u * unit_u[:, None]
    try:
        K, P = _doubled(F, G, Q, R, N)
    except np.linalg.LinAlgError:
        K, P = np.zeros_like(N), np.zeros_like(Q)
    left = np.abs(Q + F.T @ P @ (F - G @ K) - N.T @ K - P).max()
    K, P = K * unit_u[:, None] / unit, P / unit / unit[:, None]
    if not (left <= SETTLED * np.abs(P * unit * unit[:, None]).max() and np.isfinite(P).all()):
        return np.zeros_like(K), np.zeros_like(P)
    return K, P


def _doubled(F: Array, G: Array, Q: Array, R: Array, N: Array) -> tuple[Array, Array]:
    """As `_recursion`, where R allows it by doubling the number of steps in every round."""
    prices = np.linalg.eigvalsh(R)
    if prices[0] <= SINGULAR * prices[-1]:
        return _recursion(F, G, Q, R, N)
    by_state = np.linalg.solve(R, N)  # of inputs that leave no product of inputs and states
    free = F - G @ by_state
    P = settled_covariance(free.T, G.T, Q - N.T @ by_state, R)
    if P is None:
        return np.zeros_like(N), np.zeros_like(Q)
    return np.asarray(np.linalg.solve(R + G.T @ P @ G, G.T @ P @ F + N)), P


def _power_of_two(sizes: Array) -> Array:
    """Round to powers of two, with which products are exact."""
    return np.asarray(np.exp2(np.round(np.log2(sizes))))


def _recursion(F: Array, G: Array, Q: Array, R: Array, N: Array) -> tuple[Array, Array]:
    """Gain (m, d) and cost P of x' Q x + 2 u' N x + u' R u, step after step; zero if not finite."""
    P, K = Q.copy(), np.zeros((len(R), len(Q)))
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            M = R + G.T @ P @ G
            scaled, unit = balanced(M)
            if not np.isfinite(M).all() or np.linalg.cond(scaled) > ILL_CONDITIONED:
                return np.zeros_like(K), np.zeros_like(P)
            coupled = (G.T @ P @ F + N) / unit[:, None]
            K = np.asarray(np.linalg.solve(scaled, coupled) / unit[:, None])
            P_next = Q + F.T @ P @ (F - G @ K) - N.T @ K
            P_next = 0.5 * (P_next + P_next.T)
            scaled, unit = balanced(P)
            change = np.abs(P_next - P) / unit[:, None] / unit
            settled = change.max() <= CONVERGED * np.abs(scaled).max()
            P = P_next
            if settled:
                break
    return K, P


def finished_by_feedback(
    model: LiftedModel,
    start: Start,
    plans: Array,
    heads: Index,
    regulator: Regulator,
) -> tuple[Array, Array]:
    """Let the regulator take plans over, plan s after heads[s] steps; rolled out on the model.

    Open-loop guesses rarely stay near an unstable target once they reach it; these do.

    Args:
        model: The model, rolled out re-lifted.
        start: What they start from.
        plans: Plans, shape (S, N, m); changed in place.
        heads: Number of steps kept of each plan, shape (S,).
        regulator: Takes over.

    Returns:
        The plans, shape (S, N, m), and the outputs they lead through, shape (S, N, d).
    """
    d, preview = len(start.x), start.preview
    X = np.empty((*plans.shape[:2], d))
    x = np.broadcast_to(start.x, (len(plans), d))
    first, taken_over = heads.min(), (heads <= np.arange(plans.shape[1])[:, None])[..., None]
    for k in range(plans.shape[1]):
        if k >= first:
            before = plans[:, k - 1] if k else regulator.before
            deviation = model.coordinates.wrap(x - regulator.target)
            np.copyto(plans[:, k], regulator.inputs(deviation, before), where=taken_over[k])
        u = plans[:, k] if preview is None else preview.joined(plans[:, k], k)
        x = X[:, k] = model.one_step.step(x, u)
    return plans, start.outputs(X)


def with_terminal(
    weights: Weights,
    terminal: ArrayLike | Literal["riccati"],
    model: LiftedModel,
    reference: TargetRows,
    input_reference: TargetRows,
    layout: InputLayout,
) -> tuple[Weights, Array]:
    """Set the terminal weight.

    Args:
        weights: All other weights; those of the last step are the regulator's.
        terminal: A number, a diagonal (d,), a matrix (d, d), or "riccati".
        model: The model.
        reference: Target of the state; the regulator's is where it comes to rest.
        input_reference: Target of the controlled inputs, likewise.
        layout: Which inputs are controlled.

    Returns:
        The weights, and the gain of the regulator at the target, as of `riccati`.
    """
    inputs, w = layout.nothing(1).joined(input_reference.rest, 0), weights
    late = w.Q[-1], w.R[-1], layout.controlled, w.S[-1]
    gain, to_come = riccati(model, reference.rest, inputs, *late)
    if not isinstance(terminal, str):
        d = model.coordinates.n_outputs
        to_come = widened(weight_matrix("terminal", terminal, d), model.n_states, axes=2)
    elif reference.constant and input_reference.constant and to_come.any():
        w = _with_slopes_to_come(w, model, reference.rest, inputs, layout.controlled, gain, to_come)
    return replace(w, terminal=to_come), gain


def _with_slopes_to_come(
    w: Weights, model: LiftedModel, x: Array, u: Array, controlled: Index, K: Array, to_come: Array
) -> Weights:
    """Add to the linear costs of the last step what they, and a drift at the target, cost later on.

    With e+ = F e + G v + off and stages e'Qe + v'Rv + l_y'e + l_u'v, the cost from a state on is
    e'Pe + 2 q'e up to a constant per step, q = l_y / 2 + (F - G K)' (P off + q) - K' l_u / 2.
    """
    p, (F, G) = len(x), (J[0] for J in model.one_step.jacobians(x[None], u[None]))
    F, G = _with_inputs_before(F, G[:, controlled], len(K[0]) > p)
    k = len(F) - p
    off = np.pad(model.coordinates.wrap(model.one_step.step(x[None], u[None])[0] - x), (0, k))
    P = to_come + np.pad(w.Q[-1], (0, k))
    if k:
        P[p:, p:] += w.S[-1]
    by_state = 0.5 * np.pad(w.linear_output[-1], (0, k))
    closed = F - G @ K
    later = closed.T @ (P @ off + by_state) - 0.5 * K.T @ w.linear_input[-1]
    unit = _power_of_two(1.0 / np.sqrt(np.where(np.diag(P) > 0.0, np.diag(P), 1.0)))
    back = closed.T * unit[:, None] / unit
    if not later.any() or np.abs(np.linalg.eigvals(back)).max() >= 1.0:
        return w  # nothing to add, or no end to it
    slopes = 2.0 * np.linalg.solve(np.eye(len(F)) - back, later * unit) / unit
    linear_output, linear_input = w.linear_output.copy(), w.linear_input.copy()
    linear_output[-1] += slopes[:p]
    if k:
        linear_input[-1] += slopes[p:]
    return replace(w, linear_output=linear_output, linear_input=linear_input)


def _with_inputs_before(F: Array, G: Array, remembers: bool) -> tuple[Array, Array]:
    """Dynamics of the state, or of the state and the input before."""
    m = G.shape[1]
    return (np.pad(F, (0, m)), np.vstack([G, np.eye(m)])) if remembers else (F, G)


@checked
def tube_margins(
    model: LiftedModel, horizon: int, noise: ArrayLike, Q: ArrayLike = 1.0, R: ArrayLike = 1.0
) -> Tube:
    """Bound how far the plant strays from a plan under bounded noise and feedback.

    With |w| <= noise added to the states at each step, and the deviation from the plan e fed back
    by the regulator, e+ = (F - G K) e + w, so |e_k| <= sum_j<k |(F - G K)^j| noise, entry by
    entry. Constraints tightened by that leave the plan of the next step room to react (Chisci,
    Rossiter & Zappa, Automatica 37, 2001). The feedback takes |K e_k| of each input for itself, so
    input bounds move inwards, too, all but those of the present step (Mayne, Seron & Rakovic,
    Automatica 41, 2005). Rate bounds stay.

    Args:
        model: The model, linearised at zero.
        horizon: Number of steps N.
        noise: Largest |w| of each state: a number or shape (d,).
        Q: State weight of the regulator: a number, a diagonal (d,) or a matrix (d, d).
        R: Input weight of the regulator, likewise in m.

    Returns:
        Margins for `Bounds(tighten=...)`.

    Raises:
        ValueError: If a setting has the wrong shape, or the regulator does not stabilise the model.

    Example:
        >>> model = LiftedModel.from_arrays([[0.5]], [[0.0]])
        >>> tube_margins(model, 3, 0.1).outputs.ravel()
        array([0.1  , 0.15 , 0.175])
    """
    d, m = model.n_states, model.n_inputs
    N, w = positive_int("horizon", horizon), finite_array("noise", noise)
    if w.shape not in ((), (d,)) or (w < 0.0).any():
        raise ValueError(f"noise is {noise!r}; expected a bound of at least 0, or {d} of them")
    x, u = np.zeros(d), np.zeros(m)
    K, _ = riccati(model, x, u, weight_matrix("Q", Q, d), weight_matrix("R", R, m))
    F, G = (J[0] for J in model.one_step.jacobians(x[None], u[None]))
    closed = F - G @ K
    if np.abs(np.linalg.eigvals(closed)).max() >= 1.0:
        raise ValueError("the regulator does not stabilise the model; choose other Q and R")
    power, spread = np.eye(d), np.broadcast_to(w, (d,))
    strays = [(np.zeros(d), np.zeros(m))]
    for _ in range(N):
        states, inputs = strays[-1]
        step = np.abs(power) @ spread, np.abs(K @ power) @ spread
        strays.append((states + step[0], inputs + step[1]))
        power = closed @ power
    states, inputs = (np.array(part) for part in zip(*strays, strict=True))
    return Tube(states[1:, : model.coordinates.n_outputs], inputs[:-1])


MOST_STEPS = 200
MOST_ROWS = 500
SAME = 1e-9  # relative to sides of 1; a row that cuts off less is implied


class NoSetError(ValueError):
    """There is no such set, or none of a usable size."""


def require_stable(Phi: Array) -> None:
    """Check that a closed loop e+ = Phi e settles.

    Raises:
        NoSetError: If it does not.
    """
    radius = float(np.abs(np.linalg.eigvals(Phi)).max())
    if radius >= 1.0 - SAME:
        raise NoSetError(f"the regulator leaves a spectral radius of {radius:.4f}, not below 1")


def largest_invariant_set(Phi: Array, rows: Array) -> Array:
    """Find all e with rows Phi^k e <= 1 for every k >= 0 (Gilbert & Tan, IEEE TAC 36, 1991).

    Args:
        Phi: Stable closed loop e+ = Phi e, shape (d, d).
        rows: Constraints rows e <= 1, shape (k, d).

    Returns:
        Rows H of the set H e <= 1 without redundant ones, shape (r, d).

    Raises:
        NoSetError: If the set needs too many steps or rows.
    """
    unit = power_near(1.0 / np.maximum(np.abs(rows).max(axis=0), np.finfo(float).tiny))
    Phi = Phi * (unit / unit[:, None])  # of states that are near one at the sides
    kept = later = _without_implied(rows * unit)
    for _ in range(MOST_STEPS):
        later = later @ Phi
        fresh = np.array([row for row in later if not _implied(row, kept)])
        if not len(fresh):
            return _without_implied(kept) / unit
        kept = np.concatenate([kept, fresh])
        if len(kept) > MOST_ROWS:
            break
    raise NoSetError(f"the set needs more than {MOST_STEPS} steps or {MOST_ROWS} rows")


def _without_implied(rows: Array) -> Array:
    """Drop rows that the others imply, one by one."""
    kept = list(rows[np.abs(rows).max(axis=1) > SAME])
    i = 0
    while i < len(kept):
        others = kept[:i] + kept[i + 1 :]
        if _implied(kept[i], np.array(others).reshape(-1, rows.shape[1])):
            kept = others
        else:
            i += 1
    return np.array(kept).reshape(-1, rows.shape[1])


def _implied(row: Array, rows: Array) -> bool:
    """Whether row e <= 1 wherever rows e <= 1."""
    if np.abs(row).max() <= SAME:
        return True
    if not len(rows):
        return False
    most = linprog(-row, rows, np.ones(len(rows)), bounds=(None, None), method="highs")
    return most.fun is not None and most.fun >= -1.0 - SAME


Rows = tuple[Array, Array, Array]


def with_terminal_set(
    weights: Weights,
    given: Any,
    model: LiftedModel,
    reference: TargetRows,
    input_reference: TargetRows,
    gain: Array,
    layout: InputLayout,
) -> Weights:
    """Bound the last state by a polytope.

    Args:
        weights: All bounds, those of the last step are kept in the set.
        given: None, (H, h) or "invariant", as for `KoopmanMPC`.
        model: The model.
        reference: Target of the state, where the regulator leads.
        input_reference: Target of the controlled inputs.
        gain: The regulator's gain, shape (c, d), or (c, d + c) where it goes with the input before.
        layout: Which inputs are controlled.

    Raises:
        ValueError: If the set has the wrong shape, or there is none.
    """
    if given is None:
        return weights
    if isinstance(given, str):
        if not (reference.constant and input_reference.constant):
            raise ValueError(
                'terminal_set="invariant" belongs to one target; expected a constant reference '
                "and input_reference, or a polytope (H, h)"
            )
        rows = _invariant(weights, model, reference.rest, input_reference.rest, gain, layout)
    else:
        rows = _given(given, model.coordinates.n_outputs, weights)
    N, (G_y, G_u, g) = len(weights.Q), weights.polytope
    late = np.full((N, len(rows[2])), np.inf)
    late[-1] = rows[2]
    both = np.vstack([G_y, rows[0]]), np.vstack([G_u, rows[1]]), np.hstack([g, late])
    return replace(weights, polytope=both)


def _given(given: Any, d: int, weights: Weights) -> Rows:
    h = row_sides("terminal_set's h", given[1])
    H = finite_array("terminal_set's H", given[0], shape=(len(h), d))
    return widened(H, weights.Q.shape[1]), np.zeros((len(h), weights.R.shape[1])), h


def _invariant(
    w: Weights,
    model: LiftedModel,
    x: Array,
    u: Array,
    K: Array,
    layout: InputLayout,
) -> Rows:
    """Rows on the last state and, where changes of inputs matter, on the last input before it."""
    d, inputs = len(x), layout.nothing(1).joined(u, 0)
    F, G = (J[0] for J in model.one_step.jacobians(x[None], inputs[None]))
    Phi = F - G[:, layout.controlled] @ K[:, :d]
    off = model.one_step.step(x[None], inputs[None])[0] - x
    remembers = K.shape[1] > d  # the regulator's state ends with the input before
    if remembers:
        Phi = np.block([[Phi, -G[:, layout.controlled] @ K[:, d:]], [-K]])
        x, off = np.append(x, u), np.append(off, np.zeros_like(u))
    try:
        require_stable(Phi)
        settled = x + np.linalg.solve(np.eye(len(x)) - Phi, off)
        held = u - K @ (settled - x)
        rows, room = _stage_rows(w, Phi, K, settled, held)
        H = largest_invariant_set(Phi, rows / room[:, None])
    except NoSetError as error:
        raise ValueError(
            f'terminal_set="invariant" does not exist: {error}; choose Q, R and S of a regulator '
            "that settles within the bounds, or give a polytope (H, h)"
        ) from None
    if remembers:
        return H[:, :d], H[:, d:], 1.0 + H @ settled
    rated = np.flatnonzero(np.isfinite(w.rate_bounds))  # from the last input to the regulator's
    change, limit = K[rated], w.rate_bounds[rated]
    by_input = np.eye(len(K))[rated]
    offset = change @ settled + held[rated]
    return (
        np.vstack([H, change, -change]),
        np.vstack([np.zeros((len(H), len(K))), by_input, -by_input]),
        np.concatenate([1.0 + H @ settled, limit + offset, limit - offset]),
    )


def _stage_rows(w: Weights, Phi: Array, K: Array, x: Array, u: Array) -> tuple[Array, Array]:
    """All bounds as rows e <= room, with room > 0, on deviations e from where the loop settles.

    The input is u - K e, its next change -K (Phi - I) e, the next state x + Phi e. Where the input
    before is part of e, it is the last one's change that is bounded.
    """
    d, (G_y, G_u, g) = len(w.output_bounds[0, -1]), w.polytope
    change = -K @ (Phi - np.eye(len(x))) if len(x) == d else -K - np.eye(len(x))[d:]
    sides = (
        (np.eye(d, len(x)), w.output_bounds[:, -1] - x[:d]),
        (-K, w.input_bounds[:, -1] - u),
        (change, np.stack([-w.rate_bounds, w.rate_bounds])),
    )
    rows = [part for row, _ in sides for part in (row, -row)] + [G_y @ Phi[:d] - G_u @ K]
    rooms = [part for _, (low, high) in sides for part in (high, -low)]
    rooms.append(g[-1] - G_y @ x[:d] - G_u @ u)
    row, room = np.concatenate(rows), np.concatenate(rooms)
    bounded = np.isfinite(room)
    if np.any(room[bounded] <= 0.0):
        raise NoSetError(
            f"the regulator settles at state {x[:d].tolist()} under input {u.tolist()}, on or "
            "beyond a bound"
        )
    return row[bounded], room[bounded]
