"""What parts of a lifted model are exact by construction, and moments of lifted data.

The constant and the angles of z = [1, core, angles] are no matter of fitting: the constant stays,
and an angle is itself plus an increment that the rest decides. What can be unstable, reduced or
spurious is the block of A that maps the core to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.model import LiftedModel
from koopman_control.trajectories import Trajectory

CHUNK = 4096  # snapshot pairs lifted at once


def core_of(model: LiftedModel) -> slice:
    """Return where the core lies in the lifted state.

    A model from elsewhere may lack the exact rows and columns; then they belong to the core.
    """
    n, k = model.n_lifted, model.n_angles
    identity = np.eye(n)
    constant = np.array_equal(model.A[0], identity[0]) and not model.B[0].any()
    angles = np.array_equal(model.A[:, n - k :], identity[:, n - k :])
    return slice(int(constant), n - k if angles else n)


def lifted_pairs(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory]
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield lifted states before and after a step, and the inputs, a few thousand at a time.

    Steps that end on a known limit of the plant are left out.

    Args:
        model: The model that lifts.
        data: Trajectories.

    Yields:
        Arrays of shape (T, n), (T, n) and (T, q), the inputs as they enter; angles go on across the
        turn.
    """
    for run in model.signals.runs(data):
        for start in range(0, len(run.U), CHUNK):
            X, U = run.X[start : start + CHUNK + 1], run.U[start : start + CHUNK]
            X_next = X[:-1] + model.coordinates.wrapped_difference(X[1:], X[:-1])
            touching = (X[1:] <= model.limits[0]) | (X[1:] >= model.limits[1])
            free = ~(touching & model.signals.saturating).any(axis=1)
            if free.any():
                entering = model.signals.lifted_inputs(U[free])
                yield model.lift(X[:-1][free]), model.lift(X_next[free]), entering


def typical_states(model: LiftedModel, n_states: int = 2000) -> Array:
    """Draw states like those the model was fitted on, by its centre and scale; shape (S, d)."""
    rng = np.random.default_rng(0)
    X = np.empty((n_states, model.n_states))
    for j, (state, kind) in enumerate(model.coordinates.embedded):
        if kind == "id":
            X[:, state] = model.signals.center[j] + model.signals.scale[j] * rng.standard_normal(
                n_states
            )
    angles = model.coordinates.is_angle
    X[:, angles] = rng.uniform(-np.pi, np.pi, (n_states, int(angles.sum())))
    return np.clip(X, model.limits[0], model.limits[1])
