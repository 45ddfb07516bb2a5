"""A fitted model in the terms of other packages: python-control, scipy.signal, ONNX.

The linear systems have the lifted state z as their state: start them at z0 = model.lift(x0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import dlti

from koopman_control.common.border import checked, optional_package
from koopman_control.identification.exchange.onnx_export import to_onnx
from koopman_control.identification.model.input_lift import require_plain_inputs

if TYPE_CHECKING:
    from koopman_control.identification.model.model import LiftedModel

__all__ = ["to_control", "to_dlti", "to_onnx"]

EXTRA = "interop"


@checked
def to_control(model: LiftedModel) -> Any:
    """Return the linear roll-out as a discrete-time `control.StateSpace`.

    Its n states are the lifted ones ("z0" is the constant 1), its outputs the model's states by
    name, its inputs "u0", "u1", ...; a model without sampling time gets dt=True.

    Raises:
        ImportError: python-control is not installed.
        ValueError: The model is bilinear, which no StateSpace can hold.

    Example:
        >>> system = to_control(model)  # doctest: +SKIP
        >>> control.forced_response(system, inputs=U.T, initial_state=model.lift(x0))
        ...  # doctest: +SKIP
    """
    _require_linear(model)
    control = optional_package("control", EXTRA)
    return control.ss(
        model.A,
        model.B,
        model.C,
        np.zeros((model.n_states, model.n_inputs)),
        True if model.dt is None else model.dt,
        states=[f"z{i}" for i in range(model.n_lifted)],
        inputs=[f"u{i}" for i in range(model.n_inputs)],
        outputs=list(model.state_names) or model.n_states,
        name="lifted_model",
    )


@checked
def to_dlti(model: LiftedModel) -> Any:
    """Return the linear roll-out as a `scipy.signal.dlti` with the lifted state as its state.

    Raises:
        ValueError: The model is bilinear.
    """
    _require_linear(model)
    D = np.zeros((model.n_states, model.n_inputs))
    make: Any = dlti  # calling it makes a discrete StateSpace, which its stubs do not know
    return make(model.A, model.B, model.C, D, dt=True if model.dt is None else model.dt)


def _require_linear(model: LiftedModel) -> None:
    require_plain_inputs(model, "no linear state space can hold it")
    if model.N is not None:
        raise ValueError(
            "the model has input couplings N, which a linear state space cannot hold; fit with "
            'coupling="linear"'
        )
