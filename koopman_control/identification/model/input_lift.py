"""Inputs that enter nonlinearly: v = [u, features(u)] takes the place of u.

With input features z+ = A z + B v + sum_j v_j N_j z, so that x+ may hold u^2 or x u^3. Fits and
lifted roll-outs only see v; the one-step map and the derivatives to u chain through dv/du.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features.base import FeatureMap
from koopman_control.identification.model.relift import OneStepMap

if TYPE_CHECKING:
    from koopman_control.identification.model.model import LiftedModel


@dataclass(frozen=True)
class InputLift:
    """The map v = [u, features(u)], unchecked and batched.

    Args:
        features: Fitted feature map on m inputs.
    """

    features: FeatureMap

    def __call__(self, U: Array) -> Array:
        """Lift inputs, shape (..., m) to (..., m + h)."""
        return np.concatenate([U, self.features.values(U)], axis=-1)

    def derivatives(self, U: Array) -> Array:
        """Differentiate, shape (..., m) to (..., m + h, m)."""
        m = U.shape[-1]
        own = np.broadcast_to(np.eye(m), (*U.shape, m))
        return np.concatenate([own, self.features.derivatives(U)], axis=-2)

    def pull_back(self, Gamma: Array, U: Array) -> Array:
        """Turn derivatives to lifted inputs, (S, H, d, H q), into those to U (S, H, m)."""
        S, H, d, _ = Gamma.shape
        by_step = Gamma.reshape(S, H, d, H, -1)
        chained = np.einsum("shdkq,skqm->shdkm", by_step, self.derivatives(U), optimize=True)
        return np.ascontiguousarray(chained.reshape(S, H, d, -1))


@dataclass(frozen=True)
class LiftedInputMap:
    """A re-lifted one-step map that takes u where the map inside takes v.

    Args:
        inner: The map in v; its states are clipped at known limits, but none stops the others
            there, as no effective input need exist.
        lift: From u to v.
    """

    inner: OneStepMap
    lift: InputLift

    def step(self, x: Array, u: Array) -> Array:
        """Advance states of shape (S, d) under inputs of shape (S, m) by one sample."""
        return self.inner.step(x, self.lift(u))

    def jacobians(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Differentiate `step`: F of shape (S, d, d) and G of shape (S, d, m)."""
        F, G = self.inner.jacobians(x, self.lift(u))
        return F, G @ self.lift.derivatives(u)


def require_plain_inputs(model: LiftedModel, what: str) -> None:
    """Raise a ValueError if the inputs of a model enter through features."""
    if model.input_features is not None:
        raise ValueError(
            f"the model has input_features, so it is not linear in its inputs, and {what}; "
            "otherwise fit with input_features=None"
        )
