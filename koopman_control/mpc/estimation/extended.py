"""The extended Kalman filter of the states, for roll-outs that are linearised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.estimation.base import Estimate
from koopman_control.mpc.estimation.noise import state_scale
from koopman_control.mpc.estimation.roots import corrected_root, covariance_root, predicted_root
from koopman_control.mpc.estimation.start import Sensor


@dataclass(frozen=True)
class Uncertain(Estimate):
    """An estimate with a root of its covariance, shape (k, k): of the states, then of offsets."""

    root: Array | None = None


class ExtendedFilter:
    """The re-lifted one-step map and its Jacobian, with covariances in square-root form.

    Args:
        model: The model.
        Q: Covariance of the process noise, shape (d, d).
        R: Covariance of the measurement noise, shape (p, p).
        offset_noise: Covariance of the steps of the offsets, shape (p, p); None: no offsets.
    """

    def __init__(self, model: LiftedModel, Q: Array, R: Array, offset_noise: Array | None) -> None:
        self._model, self._sensor = model, Sensor(model)
        d, p = model.n_states, self._sensor.size
        self._noise, self._R_root = covariance_root(Q), covariance_root(R)
        self._H, self._spread = np.eye(p, d), state_scale(model)
        self._offset_root = np.zeros((0, 0))
        if offset_noise is not None:
            self._offset_root = covariance_root(offset_noise)
            self._noise = scipy.linalg.block_diag(self._noise, self._offset_root)
            self._H = np.hstack([self._H, np.eye(p)])

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Predict by one step and correct by what was measured; see `Estimator`."""
        measured = self._sensor.read(y)
        if not isinstance(before, Uncertain) or before.root is None:
            return self._begun(measured, u)
        d, p, k = self._model.n_states, self._sensor.size, len(self._offset_root)
        x = self._model.one_step.step(before.x[None], u[None])[0]
        (F,), _ = self._model.one_step.jacobians(before.x[None], u[None])
        root = predicted_root(before.root, scipy.linalg.block_diag(F, np.eye(k)), self._noise)
        offset = None if before.offset is None else before.offset.copy()
        expected = x if offset is None else x + offset
        innovation = self._sensor.innovation(measured, expected[:p])
        there = ~np.isnan(innovation)
        if there.any():
            noise_root = self._R_root[there]
            gain, root = corrected_root(root, self._H[there], noise_root)
            step = gain @ innovation[there]
            x = x + step[:d]
            if offset is not None:
                offset[:p] += step[d:]
        return Uncertain(x, offset, root=root)

    def _begun(self, measured: Array, u: Array) -> Uncertain | None:
        """Take the first measurement as it is; what it leaves out is as uncertain as the data."""
        there, d = ~np.isnan(measured), self._model.n_states
        if not there.any():
            return None
        root, p = np.diag(self._spread), len(measured)
        root[:p][there] = 0.0
        root[:p, :p][there] = self._R_root[there]
        root = scipy.linalg.block_diag(root, self._offset_root)
        offset = np.zeros(d) if len(self._offset_root) else None
        return Uncertain(self._sensor.first(measured, u), offset, root=root)
