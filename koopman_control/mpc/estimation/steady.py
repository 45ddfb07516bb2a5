"""The steady-state Kalman filter of the lifted state, for linear roll-outs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.estimation.base import Estimate
from koopman_control.mpc.estimation.start import Sensor


@dataclass(frozen=True)
class SteadyGain:
    """Covariances once the filter has settled.

    Args:
        shared: Covariance of the predicted state with the innovation, shape (n, p).
        innovation: Covariance of the innovation, shape (p, p).
    """

    shared: Array
    innovation: Array

    def correction(self, innovation: Array) -> Array:
        """Return what to add to the state (n,), from the entries measured of an innovation (p,)."""
        there = ~np.isnan(innovation)
        S = self.innovation[np.ix_(there, there)]
        weighed = np.linalg.solve(S, innovation[there])
        return np.asarray(self.shared[:, there] @ weighed)


def steady_gain(F: Array, H: Array, Q: Array, R: Array) -> SteadyGain:
    """Solve the filter's Riccati equation.

    Args:
        F: Dynamics, shape (n, n).
        H: What is measured, shape (p, n).
        Q: Covariance of the process noise, shape (n, n).
        R: Covariance of the measurement noise, shape (p, p), definite.

    Raises:
        ValueError: If there is no stable filter.
    """
    try:
        P = scipy.linalg.solve_discrete_are(F.T, H.T, Q, R)
        shared, S = P @ H.T, H @ P @ H.T + R
        growth = np.abs(np.linalg.eigvals(F - F @ np.linalg.solve(S, shared.T).T @ H)).max()
    except np.linalg.LinAlgError:
        growth = np.inf
    if growth >= 1.0:
        raise ValueError(
            "the measured states do not show every motion of the model that lasts, so no observer "
            "with a steady gain settles: an offset of an output cannot be told from an "
            "integrator's own state, nor is there a filter without noise on such a motion; raise "
            "process_noise, measure more, or leave the offset out"
        )
    return SteadyGain(shared, S)


class SteadyFilter:
    """z+ = A z + B u, corrected by a constant gain; with offsets d, the outputs are C z + d.

    Args:
        model: The model; the constant in its lifted state is known and never corrected.
        Q: Covariance of the process noise, shape (n, n).
        R: Covariance of the measurement noise, shape (p, p).
        offset_noise: Covariance of the steps of the offsets, shape (p, p); None: no offsets.
    """

    def __init__(self, model: LiftedModel, Q: Array, R: Array, offset_noise: Array | None) -> None:
        self._model, self._sensor = model, Sensor(model)
        first, p = int(model.reduction is None), self._sensor.size
        F, H, noise = model.A[first:, first:], model.C[:p, first:], Q[first:, first:]
        if offset_noise is not None:
            F = scipy.linalg.block_diag(F, np.eye(p))
            H, noise = np.hstack([H, np.eye(p)]), scipy.linalg.block_diag(noise, offset_noise)
        self._gain, self._lifted = steady_gain(F, H, noise, R), slice(first, model.n_lifted)
        self._rows = len(Q) - first

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Predict by one step and correct by what was measured; see `Estimator`."""
        model, measured, p = self._model, self._sensor.read(y), self._sensor.size
        if before is None or before.z is None:
            x = self._sensor.first(measured, u)
            if np.isnan(measured).all():
                return None
            return Estimate(x, np.zeros(model.n_states), model.lift(x))
        z, offset = model.A @ before.z + model.B @ u, before.offset
        innovation = self._sensor.innovation(measured, (model.C @ z + offset)[:p])
        if not np.isnan(innovation).all():
            step = self._gain.correction(innovation)
            z[self._lifted] += step[: self._rows]
            offset = offset + np.pad(step[self._rows :], (0, len(offset) - len(step[self._rows :])))
        return Estimate(model.C @ z, offset, z)
