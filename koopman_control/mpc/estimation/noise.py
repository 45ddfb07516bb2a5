"""How much noise an observer expects: numbers, one per state, or covariances, checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array
from koopman_control.identification import LiftedModel


def covariance(name: str, value: ArrayLike, unit: Array, *, definite: bool = False) -> Array:
    """Expand noise to a covariance (k, k).

    Args:
        name: What the user calls it.
        value: Standard deviations, a number or (k,), in multiples of `unit`; or a covariance
            (k, k), taken as it is.
        unit: Shape (k,).
        definite: Whether zero is too little.

    Raises:
        ValueError: If the shape is another, or it is no covariance.
    """
    given, k = finite_array(name, value), len(unit)
    if given.shape == (k, k) and given.ndim == 2:
        P = 0.5 * (given + given.T)
    elif given.shape in ((), (k,)) and np.all(given >= 0.0):
        P = np.diag((given * unit) ** 2)
    else:
        raise ValueError(
            f"{name} is {value!r}; expected a standard deviation, one for each of {k} states, or a "
            f"covariance of shape ({k}, {k})"
        )
    least = np.linalg.eigvalsh(P)[0]
    if least < -1e-12 * np.abs(P).max() or (definite and least <= 0.0):
        wanted = "positive" if definite else "non-negative"
        raise ValueError(f"{name} has smallest eigenvalue {least:.3g}; expected {wanted} ones only")
    return P


def state_scale(model: LiftedModel) -> Array:
    """Standard deviations of the states in the data the model was fitted on, shape (d,).

    One for angles; inputs in the memory of a state have none.
    """
    scale = np.ones(model.n_states)
    for state, spread in zip(model.coordinates.embedded, model.scale, strict=True):
        if state[1] == "id":
            scale[state[0]] = spread
    return scale
