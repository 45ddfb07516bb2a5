"""The terminal weight: given, or the cost that a regulator at the target still has to come."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.inputs import InputLayout
from koopman_control.mpc.regulator import riccati
from koopman_control.mpc.statement.settings import weight_matrix, widened
from koopman_control.mpc.statement.weights import Weights


def with_terminal(
    weights: Weights,
    terminal: ArrayLike | Literal["riccati"],
    model: LiftedModel,
    x: Array,
    u: Array,
    layout: InputLayout,
) -> tuple[Weights, Array]:
    """Set the terminal weight.

    Args:
        weights: All other weights; those of the last step are the regulator's.
        terminal: A number, a diagonal (d,), a matrix (d, d), or "riccati".
        model: The model.
        x: Target of the state, shape (d,).
        u: Target of the controlled inputs, shape (c,).
        layout: Which inputs are controlled.

    Returns:
        The weights, and the gain of the regulator at the target, shape (c, d).
    """
    if isinstance(terminal, str) and terminal != "riccati":
        raise ValueError(f'terminal is {terminal!r}; expected "riccati", a number or a matrix')
    inputs, w = layout.nothing(1).joined(u, 0), weights
    gain, to_come = riccati(model, x, inputs, w.Q[-1], w.R[-1] + w.S[-1], layout.controlled)
    if not isinstance(terminal, str):
        d = model.coordinates.n_outputs
        to_come = widened(weight_matrix("terminal", terminal, d), model.n_states, axes=2)
    return replace(w, terminal=to_come), gain
