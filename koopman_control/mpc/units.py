"""The units of a problem: what is much of each state and input, and what is much of the cost.

Prices that nobody stated are made of them, so that the same problem in other units gets the same
plans: a violation as large as is usual of a state costs `USUAL` times what is usual of the cost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array, Index
from koopman_control.identification import LiftedModel
from koopman_control.mpc.estimation.base import state_scale
from koopman_control.mpc.state import TargetRows
from koopman_control.mpc.weights import Weights

USUAL = 1e3  # price of a violation of one unit, in units of the cost
FAR = 1e4  # times as far as states go; input bounds that lead there are no measure
NEVER = 1e8  # times as far as inputs and targets lead in a plan; bounds there are no measure


class Units(NamedTuple):
    """Usual sizes of states (p,), inputs (c,) and cost."""

    states: Array
    inputs: Array
    cost: float

    def for_models(self, n: int) -> Units:
        """Repeat the states of n models side by side."""
        return self._replace(states=np.tile(self.states, n))


def units_of(
    w: Weights,
    model: LiftedModel,
    controlled: Index,
    reference: TargetRows,
    input_reference: TargetRows,
) -> Units:
    """Tell the units of a problem from its bounds and targets, or else from data and model.

    Args:
        w: All weights and bounds.
        model: Its training data tell the size of a state without bounds and target; where they are
            not known, its response to inputs of usual size does.
        controlled: Indices of the inputs that are controlled.
        reference: Target of the states.
        input_reference: Target of the controlled inputs.
    """
    p = len(w.soft)
    inputs = _half(w.input_bounds)
    inputs = np.where(inputs > 0.0, inputs, _largest(input_reference.values))
    inputs = np.where(inputs > 0.0, inputs, np.where(np.isfinite(w.rate_bounds), w.rate_bounds, 0))
    asked = _largest(reference.values[:, :p])
    states = np.maximum(_half(w.output_bounds), asked)
    known = None if model.signals.ground is None else state_scale(model)
    if known is not None:
        states = np.where(states > 0.0, states, known)
        asked = np.maximum(asked, known)
    reached = _reached(model, controlled, inputs, len(w.Q)) if inputs.all() else np.zeros(p)
    most = NEVER * np.maximum(asked, reached)
    states = np.where(most > 0.0, np.minimum(states, most), states)
    inputs = inputs / _excess(model, controlled, inputs, states)
    if not states.all() and inputs.any():
        reached = _reached(model, controlled, inputs, p + 1)
        states = np.where(states > 0.0, states, reached)
    last = np.pad(np.diagonal(w.terminal), (0, p + len(inputs) - len(w.terminal)))
    by_state = _diagonals(w.Q) + last[:p], np.abs(w.linear_output).max(axis=0)
    by_input = _diagonals(w.R) + _diagonals(w.S) + last[p:], np.abs(w.linear_input).max(axis=0)
    cost = max(
        float((square * size**2).max(initial=0.0)) or float((linear * size).max(initial=0.0))
        for (square, linear), size in ((by_state, states), (by_input, inputs))
    )
    if cost == 0.0:  # no weight is on anything of a known size
        cost = float(max(part.max(initial=0.0) for part in (*by_state, *by_input))) or 1.0
    by_weight = np.sqrt(cost / np.where(by_state[0] > 0.0, by_state[0], cost))
    states = np.where(states > 0.0, states, by_weight)
    return Units(states, np.where(inputs > 0.0, inputs, 1.0), cost)


def with_prices(w: Weights, units: Units) -> Weights:
    """Set the prices of violations by the units."""
    prices = USUAL * units.cost * np.stack([1.0 / units.states, units.states**-2.0])
    return replace(w, slack_weight=prices, priced_by_units=True)


def _half(bounds: Array) -> Array:
    """Half of what lies between bounds (2, N, k), or the distance of the only ones, (k,)."""
    low, high = bounds
    sizes = np.where(np.isfinite(bounds), np.abs(bounds), 0.0).max(axis=0)
    both = np.isfinite(low) & np.isfinite(high) & (low < high)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(both, 0.5 * (high - low), sizes).max(axis=0, initial=0.0))


def _largest(rows: Array) -> Array:
    return np.asarray(np.abs(rows).max(axis=0, initial=0.0))


def _diagonals(weights: Array) -> Array:
    """Largest diagonal entries (k,) of weights (N, k, k)."""
    return np.asarray(np.diagonal(weights, axis1=1, axis2=2).max(axis=0))


def _excess(model: LiftedModel, controlled: Index, inputs: Array, states: Array) -> Array:
    """How many times too far every input is bounded (m,), to tell its size; one where it does."""
    over = np.ones(len(inputs))
    for j, (index, size) in enumerate(zip(controlled, inputs, strict=True)):
        reached = _reached(model, np.array([index]), np.array([size]), len(states) + 1)
        told = (states > 0.0) & (reached > 0.0)
        most = float((reached[told] / states[told]).min(initial=np.inf))
        if FAR < most < np.inf:
            over[j] = most
    return over


def _reached(model: LiftedModel, controlled: Index, inputs: Array, n_steps: int) -> Array:
    """How far inputs of usual size drive states (p,) from rest.

    For a size not in the whole horizon, but in as many steps as they need: an unstable model leaves
    everything behind.
    """
    response, far = model.B[:, controlled] * inputs, np.zeros(len(model.C))
    with np.errstate(all="ignore"):
        for _ in range(n_steps):
            far = far + np.abs(model.C @ response).sum(axis=1)
            response = model.A @ response
    return np.where(np.isfinite(far), far, 0.0)
