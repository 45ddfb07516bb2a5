"""What a prediction starts from: a state, what outputs are off by, and inputs that are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.rollouts import linear_response
from koopman_control.mpc.inputs import Forecast


@dataclass(frozen=True)
class Start:
    """Start of a prediction; planned inputs are completed, outputs moved.

    Args:
        x: State, shape (d,).
        z: Lifted state, shape (n,), or None for the lift of x; for linear roll-outs.
        offset: What is added to predicted states, shape (d,).
        forecast: Inputs that are measured, not planned, or None.
    """

    x: Array
    z: Array | None = None
    offset: Array | float = 0.0
    forecast: Forecast | None = None

    def joined(self, U: Array) -> Array:
        """Complete planned inputs (..., N, c) to inputs of the model."""
        return U if self.forecast is None else self.forecast.joined(U)

    def rolled_out(self, model: LiftedModel, U: Array, rollout: Rollout) -> Array:
        """Predict outputs (S, N, d) along plans (S, N, c), without checks."""
        return model.rolled_out(self.x, self.joined(U), rollout) + self.offset

    def sensitivities(self, model: LiftedModel, Y: Array, U: Array, rollout: Rollout) -> Array:
        """Differentiate such a prediction Y (S, N, d) to the plans, shape (S, N, d, N c)."""
        Gamma = model.sensitivities(self.x, Y - self.offset, self.joined(U), rollout)
        return Gamma if self.forecast is None else self.forecast.kept(Gamma)

    def free(self, model: LiftedModel, Phi: Array, response: Array) -> Array:
        """Predict outputs (N d,) at plans of zero, linearly: Phi z + response to known inputs."""
        free = Phi @ (model.lift(self.x) if self.z is None else self.z)
        if self.forecast is not None:
            free += response @ self.forecast.others.ravel()
        return np.asarray((free.reshape(-1, model.n_states) + self.offset).ravel())

    def linearized(self, model: LiftedModel, U: Array, rollout: Rollout) -> tuple[Array, Array]:
        """Predict outputs (N, d) along one plan (N, c), and differentiate: (N d, N c)."""
        if rollout == "linear":
            Phi, response = linear_response(model.A, model.B, model.C, len(U))
            Gamma = response if self.forecast is None else self.forecast.kept(response)
            Y = (self.free(model, Phi, response) + Gamma @ U.ravel()).reshape(len(U), -1)
            return Y, Gamma
        Y = self.rolled_out(model, U[None], rollout)
        Gamma = self.sensitivities(model, Y, U[None], rollout)
        return Y[0], Gamma.reshape(Y.size, U.size)
