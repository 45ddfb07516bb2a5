"""The matrices of a lifted model folded into the coefficients of its re-lifted one-step map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features.coordinates import Coordinates
from koopman_control.identification.model.relift import OneStepMap

if TYPE_CHECKING:
    from koopman_control.identification.model.prediction import Predictor


def folded(model: Predictor) -> OneStepMap:
    """Return the map x+ = C (A psi(x) + B u + sum_i u_i N_i psi(x)) of a model."""
    n_e, n_angles = len(model.center), int(model.coordinates.is_angle.sum())
    if model.reduction is None:
        drift = model.C @ (model.A - np.eye(len(model.A)))
    else:
        drift = model.C @ model.A @ model.reduction - read_out(
            model.coordinates, model.center, model.scale, model.reduction.shape[1]
        )
    n_phi = drift.shape[1] - n_angles
    drift = drift[:, :n_phi]
    gains = np.zeros((model.B.shape[1], *drift.shape))
    if model.N is not None:
        lift = np.eye(len(model.A)) if model.reduction is None else model.reduction
        gains += (model.C @ model.N @ lift)[:, :, :n_phi]
    gains[:, :, 0] += (model.C @ model.B).T
    blocks = np.concatenate([drift[None], gains])  # (1 + m, d, n_phi)
    linear = blocks[:, :, 1 : 1 + n_e] / model.scale
    return OneStepMap(
        embedding=model.embedding,
        features=model.features,
        constant=blocks[:, :, 0] - linear @ model.center,
        linear=_stacked(linear),
        nonlinear=_stacked(blocks[:, :, 1 + n_e :]),
        limits=model.limits,
        saturating=model.saturating,
    )


def read_out(coordinates: Coordinates, center: Array, scale: Array, n: int) -> Array:
    """Return the matrix (d, n) that recovers states from psi(x) with n entries.

    Args:
        coordinates: From observations to states.
        center: Mean of the feature inputs, shape (e,).
        scale: Standard deviation of the feature inputs, shape (e,).
        n: Entries of [1, standardised feature inputs, features, angles].
    """
    C = np.zeros((coordinates.dim, n))
    for j, (state, kind) in enumerate(coordinates.embedded):
        if kind == "id":
            C[state, 0], C[state, 1 + j] = center[j], scale[j]
    angles = np.flatnonzero(coordinates.is_angle)
    C[angles, n - len(angles) + np.arange(len(angles))] = 1.0
    return C


def _stacked(blocks: Array) -> Array:
    """Reorder coefficients (1 + m, d, k) to (k, (1 + m) d), ready for a product from the left."""
    b, d, k = blocks.shape
    return np.ascontiguousarray(blocks.transpose(2, 0, 1).reshape(k, b * d))
