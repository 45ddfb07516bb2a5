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
from koopman_control.mpc.statement.targets import TargetRows
from koopman_control.mpc.statement.weights import Weights


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
        The weights, and the gain of the regulator at the target, shape (c, d).
    """
    inputs, w = layout.nothing(1).joined(input_reference.rest, 0), weights
    late = w.Q[-1], w.R[-1] + w.S[-1]
    gain, to_come = riccati(model, reference.rest, inputs, *late, layout.controlled)
    if not isinstance(terminal, str):
        d = model.coordinates.n_outputs
        to_come = widened(weight_matrix("terminal", terminal, d), model.n_states, axes=2)
    return replace(w, terminal=to_come), gain
