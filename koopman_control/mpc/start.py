"""What a prediction starts from: a state, what outputs are off by, and inputs that are known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.rollouts import linear_response
from koopman_control.mpc.inputs import Forecast


class Start(NamedTuple):
    """Start of a prediction; planned inputs are completed, outputs moved.

    Args:
        x: State, shape (d,).
        z: Lifted state, shape (n,), or None for the lift of x; for linear roll-outs.
        offset: What is added to predicted states, shape (d,), or None for nothing.
        forecast: Inputs that are measured, not planned, or None.
        others: What predictions of further models start from, if they differ from the first in more
            than the lift of x.
    """

    x: Array
    z: Array | None = None
    offset: Array | None = None
    forecast: Forecast | None = None
    others: tuple[Start, ...] = ()

    def each(self, n: int) -> list[Start]:
        """Return what each of n models starts from."""
        others = self.others or (self._replace(z=None),) * (n - 1)
        return [self, *others]

    def joined(self, U: Array) -> Array:
        """Complete planned inputs (..., N, c) to inputs of the model."""
        return U if self.forecast is None else self.forecast.joined(U)

    def kept(self, Gamma: Array) -> Array:
        """Keep sensitivities (..., N m) to planned inputs, shape (..., N c)."""
        return Gamma if self.forecast is None else self.forecast.kept(Gamma)

    def outputs(self, X: Array) -> Array:
        """Move the model's states (..., d) by the offset."""
        return X if self.offset is None else X + self.offset

    def states(self, Y: Array) -> Array:
        """Move outputs (..., d) back to the model's states."""
        return Y if self.offset is None else Y - self.offset

    def lifted(self, model: LiftedModel) -> Array:
        """Lifted state, shape (n,)."""
        return model.lift(self.x) if self.z is None else self.z

    def moved(self, response: Array) -> Array | None:
        """What linear predictions (N d,) are moved by: the offset and the response to known inputs.

        None if by nothing.
        """
        if self.offset is None and self.forecast is None:
            return None
        shift = np.zeros((len(response) // len(self.x), len(self.x)))
        if self.offset is not None:
            offset = np.concatenate([self.offset, *(own.offset for own in self.others)])
            shift.reshape(-1, len(offset))[:] = offset
        if self.forecast is not None:
            shift += (response @ self.forecast.others.ravel()).reshape(shift.shape)
        return shift.ravel()

    def linearized(self, model: LiftedModel, U: Array, rollout: Rollout) -> tuple[Array, Array]:
        """Predict outputs (N, d) along one plan (N, c), and differentiate: (N d, N c)."""
        if rollout == "linear":
            Phi, response = linear_response(model.A, model.B, model.C, len(U))
            Gamma = self.kept(response)
            Y, shift = Phi @ self.lifted(model) + Gamma @ U.ravel(), self.moved(response)
            return (Y if shift is None else Y + shift).reshape(len(U), -1), Gamma
        X, Gamma = model.linearize(self.x, self.joined(U), rollout)
        return self.outputs(X), self.kept(Gamma)
