"""How much noise an observer expects: numbers, one per state, or covariances, checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array
from koopman_control.identification import LiftedModel

STEPS, MORE = 10, 200  # of the model and, beside four per lifted state, draws


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

    One radian for angles.
    """
    return _of_states(model, model.scale, np.ones(model.n_states))


def state_mean(model: LiftedModel) -> Array:
    """Means of the states in the data the model was fitted on, zero for angles; shape (d,)."""
    return _of_states(model, model.center, np.zeros(model.n_states))


def lifted_spread(model: LiftedModel) -> Array:
    """Covariance (n, n) of lifted states as they are met within a few steps of the model.

    Lifted states fill a small part of their space. Noise of this shape keeps corrections there;
    elsewhere the data said nothing about the dynamics.
    """
    rng, n, d = np.random.default_rng(0), model.n_lifted, model.n_states
    x = state_mean(model) + state_scale(model) * rng.normal(size=(4 * n + MORE, d))
    Z, total = model.lift(x), np.zeros((n, n))
    Z = Z - Z.mean(axis=0)
    for _ in range(STEPS):
        total += Z.T @ Z / len(Z)
        Z = Z @ model.A.T
    return total / STEPS


def _of_states(model: LiftedModel, of_inputs: Array, values: Array) -> Array:
    """Put numbers (e,) that belong to feature inputs where they belong among states (d,)."""
    for (state, kind), value in zip(model.coordinates.embedded, of_inputs, strict=True):
        if kind == "id":
            values[state] = value
    return values
