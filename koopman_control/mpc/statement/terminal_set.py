"""The terminal set: given, or where a regulator at the target keeps all bounds for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array, finite_array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.inputs import InputLayout
from koopman_control.mpc.statement.invariance import (
    NoSetError,
    largest_invariant_set,
    require_stable,
)
from koopman_control.mpc.statement.settings import widened
from koopman_control.mpc.statement.targets import TargetRows
from koopman_control.mpc.statement.weights import Weights

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
        gain: The regulator's gain, shape (c, d).
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
    h = finite_array("terminal_set's h", given[1], ndim=1)
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
    """Rows on the last state and, where rates are bounded, on the last input before it."""
    inputs = layout.nothing(1).joined(u, 0)
    F, G = (J[0] for J in model.one_step.jacobians(x[None], inputs[None]))
    Phi = F - G[:, layout.controlled] @ K
    off = model.one_step.step(x[None], inputs[None])[0] - x
    try:
        require_stable(Phi)
        settled = x + np.linalg.solve(np.eye(len(x)) - Phi, off)
        held = u - K @ (settled - x)
        rows, room = _stage_rows(w, Phi, K, settled, held)
        H = largest_invariant_set(Phi, rows / room[:, None])
    except NoSetError as error:
        raise ValueError(
            f'terminal_set="invariant" does not exist: {error}; choose Q and R of a regulator that '
            "settles within the bounds, or give a polytope (H, h)"
        ) from None
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

    The input is u - K e, its next change -K (Phi - I) e, the next state x + Phi e.
    """
    d, (G_y, G_u, g) = len(x), w.polytope
    sides = (
        (np.eye(d), w.output_bounds[:, -1] - x),
        (-K, w.input_bounds[:, -1] - u),
        (-K @ (Phi - np.eye(d)), np.stack([-w.rate_bounds, w.rate_bounds])),
    )
    rows = [part for row, _ in sides for part in (row, -row)] + [G_y @ Phi - G_u @ K]
    rooms = [part for _, (low, high) in sides for part in (high, -low)]
    rooms.append(g[-1] - G_y @ x - G_u @ u)
    row, room = np.concatenate(rows), np.concatenate(rooms)
    bounded = np.isfinite(room)
    if np.any(room[bounded] <= 0.0):
        raise NoSetError(
            f"the regulator settles at state {x.tolist()} under input {u.tolist()}, on or beyond a "
            "bound"
        )
    return row[bounded], room[bounded]
