"""The steady-state Kalman filter of the lifted state, for linear roll-outs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.estimation.base import Estimate
from koopman_control.mpc.estimation.start import Sensor

MAX_ROUNDS = 40  # each doubles the number of steps
EXACT, SETTLED = 1e-13, 1e-3  # relative changes in a round: no more needed, and good enough


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
    P = filter_covariance(F, H, Q, R)
    return SteadyGain(P @ H.T, H @ P @ H.T + R)


def filter_covariance(F: Array, H: Array, Q: Array, R: Array) -> Array:
    """Covariance (n, n) of predicted states once the filter has settled; see `steady_gain`."""
    P = settled_covariance(F, H, Q, R)
    if P is None:
        raise ValueError(
            "the measured states do not show every motion of the model that lasts, so no observer "
            "with a steady gain settles: an offset of an output cannot be told from an "
            "integrator's own state; measure more, or leave the offset out"
        )
    return P


def settled_covariance(F: Array, H: Array, Q: Array, R: Array) -> Array | None:
    """Covariance of predicted states once the filter has settled, or None if it never does.

    By structure-preserving doubling (Chu, Fan, Lin & Wang, Int. J. Control 77, 2004): every round
    covers twice as many steps. Unlike methods on the symplectic pencil it does not mind motions on
    the unit circle that no noise excites; a lifted model always has some, its constant for one.
    """
    A, G, P = F.T, H.T @ np.linalg.solve(R, H), Q
    best, least = P, np.inf
    with np.errstate(all="ignore"):
        for _ in range(MAX_ROUNDS):
            M = np.eye(len(F)) + G @ P
            if not np.isfinite(M).all():
                break
            reach = np.linalg.solve(M, np.hstack([A, G]))
            through, past = reach[:, : len(F)], reach[:, len(F) :]
            longer = _symmetric(P + A.T @ P @ through)
            G, A = _symmetric(G + A @ past @ A.T), A @ through
            change = np.abs(longer - P).max() / max(np.abs(longer).max(), np.finfo(float).tiny)
            P = longer
            if change < least:  # rounding errors may take over after the least
                best, least = P, change
            if least <= EXACT:
                break
    return best if least <= SETTLED else None


def _symmetric(M: Array) -> Array:
    return np.asarray(0.5 * (M + M.T))


class SteadyFilter:
    """z+ = A z + B u, corrected by a constant gain; with offsets d, the outputs are C z + d.

    Args:
        model: The model.
        Q: Covariance of the process noise, shape (n, n).
        R: Covariance of the measurement noise, shape (p, p).
        offset_noise: Covariance of the steps of the offsets, shape (p, p); None: no offsets.
    """

    def __init__(self, model: LiftedModel, Q: Array, R: Array, offset_noise: Array | None) -> None:
        self._model, self._sensor = model, Sensor(model)
        p = self._sensor.size
        F, H, noise = model.A, model.C[:p], Q
        if offset_noise is not None:
            F = scipy.linalg.block_diag(F, np.eye(p))
            H, noise = np.hstack([H, np.eye(p)]), scipy.linalg.block_diag(noise, offset_noise)
        self._gain, self._offsets = steady_gain(F, H, noise, R), offset_noise is not None

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Predict by one step and correct by what was measured; see `Estimator`."""
        model, measured, p = self._model, self._sensor.read(y), self._sensor.size
        if before is None or before.z is None:
            x = self._sensor.first(measured, u)
            if np.isnan(measured).all():
                return None
            offset = np.zeros(model.n_states) if self._offsets else None
            return Estimate(x, offset, model.lift(x))
        z, offset = model.A @ before.z + model.B @ u, before.offset
        expected = model.C @ z if offset is None else model.C @ z + offset
        innovation = self._sensor.innovation(measured, expected[:p])
        if not np.isnan(innovation).all():
            step = self._gain.correction(innovation)
            z = z + step[: len(z)]
            if offset is not None:
                offset = offset.copy()
                offset[:p] += step[len(z) :]
        return Estimate(model.C @ z, offset, z)
