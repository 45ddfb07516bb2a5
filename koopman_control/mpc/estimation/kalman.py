"""Kalman filters on square roots of covariances: steady for linear roll-outs, extended for others.

`KalmanObserver` and `OffsetFree` are their settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, balanced, finite_array, power_near
from koopman_control.common.border import CheckedFields
from koopman_control.identification import LiftedModel, Rollout, triangular
from koopman_control.mpc.estimation.base import (
    Estimate,
    Estimator,
    Sensor,
    covariance,
    lifted_spread,
    state_scale,
)


def predicted_root(root: Array, F: Array, noise_root: Array) -> Array:
    """Root (n, n) of F P F' + Q."""
    return _triangular(np.hstack([F @ root, noise_root]))


def corrected_root(root: Array, H: Array, noise_root: Array) -> tuple[Array, Array]:
    """Gain (n, p) of a measurement H x with noise, and the root (n, n) left after it.

    Args:
        root: Root of P before, shape (n, n).
        H: What is measured, shape (p, n).
        noise_root: Root of the noise's covariance, shape (p, r), of full row rank.
    """
    p = len(H)
    nothing = np.zeros((len(root), noise_root.shape[1]))
    joint = np.block([[noise_root, H @ root], [nothing, root]])
    L = _triangular(joint)
    gain = scipy.linalg.solve_triangular(L[:p, :p], L[p:, :p].T, lower=True, trans="T").T
    return np.asarray(gain), L[p:, p:]


def covariance_root(P: Array) -> Array:
    """Root of a positive semidefinite covariance (n, n)."""
    scaled, unit = balanced(P)
    values, vectors = np.linalg.eigh(scaled)
    return np.asarray(unit[:, None] * (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _triangular(wide: Array) -> Array:
    """Lower triangular L (n, n) with L L' = M M' for M of shape (n, k), k >= n."""
    return triangular(wide.T).T


FAR = 4096.0  # ratio of the states' noise up to which their units are left as they are
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
        S, unit = balanced(self.innovation[np.ix_(there, there)])
        weighed = np.linalg.solve(S, innovation[there] / unit) / unit
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
    unit = power_near(np.sqrt(np.maximum(np.diagonal(Q), 0.0)))
    if unit.max() <= FAR * unit.min():  # what is common to all states does not matter
        unit = np.ones(len(F))
    F, H, Q = F / unit[:, None] * unit, H * unit, Q / unit[:, None] / unit
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
    return unit[:, None] * best * unit if least <= SETTLED else None


def _symmetric(M: Array) -> Array:
    return np.asarray(0.5 * (M + M.T))


class SteadyFilter:
    """z+ = A z + B u, corrected by a constant gain; with offsets d, the outputs are C z + d.

    Args:
        model: The model.
        gain: Of lifted states, followed by offsets if there are any.
        offsets: Whether there are.
    """

    def __init__(self, model: LiftedModel, gain: SteadyGain, offsets: bool) -> None:
        self._model, self._sensor = model, Sensor(model)
        self._gain, self._offsets = gain, offsets
        p = self._sensor.size
        finite_array("gain", gain.shared, shape=(model.n_lifted + p * offsets, p))
        finite_array("innovation", gain.innovation, shape=(p, p))

    @classmethod
    def of(cls, model: LiftedModel, Q: Array, R: Array, offset_noise: Array | None) -> Self:
        """Make one for covariances of the noise.

        Args:
            model: The model.
            Q: Of the process noise, shape (n, n).
            R: Of the measurement noise, shape (p, p).
            offset_noise: Of the steps of the offsets, shape (p, p); None: no offsets.
        """
        p = model.coordinates.n_outputs
        F, H, noise = model.A, model.C[:p], Q
        if offset_noise is not None:
            F = scipy.linalg.block_diag(F, np.eye(p))
            H, noise = np.hstack([H, np.eye(p)]), scipy.linalg.block_diag(noise, offset_noise)
        return cls(model, steady_gain(F, H, noise, R), offset_noise is not None)

    def settled(self) -> dict[str, Any]:
        """Return what it takes, beside the model, to make it again."""
        return {"gain": self._gain, "offsets": self._offsets}

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


@dataclass(frozen=True)
class Uncertain(Estimate):
    """An estimate with a root of its covariance, shape (k, k): of the states, then of offsets."""

    root: Array | None = None


class ExtendedFilter:
    """The re-lifted one-step map and its Jacobian, with covariances in square-root form.

    Args:
        model: The model.
        noise: Root of the covariance of the process noise, shape (d, d).
        measurement: Root of that of the measurement noise, shape (p, p).
        offset: Root of that of the steps of the offsets, shape (p, p); (0, 0) without offsets.
    """

    def __init__(self, model: LiftedModel, noise: Array, measurement: Array, offset: Array) -> None:
        self._model, self._sensor = model, Sensor(model)
        d, p, k = model.n_states, self._sensor.size, len(offset)
        finite_array("noise", noise, shape=(d, d))
        finite_array("measurement", measurement, shape=(p, p))
        finite_array("offset", offset, shape=(p, p) if k else (0, 0))
        self._given = {"noise": noise, "measurement": measurement, "offset": offset}
        self._noise, self._R_root = noise, measurement
        self._H, self._spread, self._offset_root = np.eye(p, d), state_scale(model), offset
        if k:
            self._noise = scipy.linalg.block_diag(noise, offset)
            self._H = np.hstack([self._H, np.eye(p)])

    @classmethod
    def of(cls, model: LiftedModel, Q: Array, R: Array, offset_noise: Array | None) -> Self:
        """Make one for covariances as of `SteadyFilter.of`, but Q of the states, shape (d, d)."""
        offset = np.zeros((0, 0)) if offset_noise is None else covariance_root(offset_noise)
        return cls(model, covariance_root(Q), covariance_root(R), offset)

    def settled(self) -> dict[str, Any]:
        """Return what it takes, beside the model, to make it again."""
        return self._given

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


@dataclass(frozen=True)
class KalmanObserver(CheckedFields):
    """Estimate the state from noisy, partial or missing observations.

    With a linear roll-out it is the steady-state Kalman filter of the lifted state, otherwise an
    extended Kalman filter of the states. An observation may lack entries (NaN); with none at all
    the model predicts. What the first observation of an episode lacks is taken to be as in the
    data on average. For states that are never measured, give a linear roll-out a model whose
    read-out C leaves them out (`LiftedModel.from_arrays` with a `lift` that guesses them), or leave
    them NaN.

    Args:
        measurement_noise: Standard deviation of the noise of observed states, a number or one for
            each, in their units; or its covariance (p, p).
        process_noise: Standard deviation of what a step adds unforeseen, in multiples of the
            states' spread in the data (for a linear roll-out, the lifted states'); or its
            covariance in the model's units, (d, d), for a linear roll-out (n, n).

    Example:
        >>> observer = KalmanObserver(0.05)
        >>> mpc = KoopmanMPC(model, 30, estimator=observer)  # doctest: +SKIP
    """

    measurement_noise: ArrayLike
    process_noise: ArrayLike = 0.01

    def attached(self, model: LiftedModel, rollout: Rollout) -> Estimator:
        """Make the filter for a model; see `Observer`."""
        return _filter(model, rollout, self.process_noise, self.measurement_noise, None)


@dataclass(frozen=True)
class OffsetFree(CheckedFields):
    """As `KalmanObserver`, and estimate a constant offset of every observed state.

    Predictions are moved by the offset, so a constant reference is reached exactly in spite of
    a wrong gain or a constant load, if the loop settles within its bounds and the cost does not
    pull elsewhere: weigh input changes (S) rather than inputs (R). A model that integrates does not
    show an offset of what it integrates; with a linear roll-out that is an error.

    Args:
        measurement_noise: As for `KalmanObserver`.
        process_noise: As for `KalmanObserver`.
        offset_noise: Standard deviation of what a step adds to an offset, in multiples of the
            state's spread in the data, a number or one for each; larger is faster, and noisier.
    """

    measurement_noise: ArrayLike
    process_noise: ArrayLike = 0.01
    offset_noise: ArrayLike = 0.1

    def attached(self, model: LiftedModel, rollout: Rollout) -> Estimator:
        """Make the filter for a model; see `Observer`."""
        unit = state_scale(model)[: model.coordinates.n_outputs]
        offset = covariance("offset_noise", self.offset_noise, unit, definite=True)
        return _filter(model, rollout, self.process_noise, self.measurement_noise, offset)


def _filter(
    model: LiftedModel,
    rollout: Rollout,
    process: ArrayLike,
    measurement: ArrayLike,
    offset: Array | None,
) -> SteadyFilter | ExtendedFilter:
    ones = np.ones(model.coordinates.n_outputs)
    R = covariance("measurement_noise", measurement, ones, definite=True)
    if rollout == "linear":
        return SteadyFilter.of(model, lifted_noise(model, process), R, offset)
    Q = covariance("process_noise", process, state_scale(model))
    return ExtendedFilter.of(model, Q, R, offset)


def lifted_noise(model: LiftedModel, process: ArrayLike) -> Array:
    """Covariance (n, n) of the process noise on the lifted state."""
    if np.ndim(process):
        return covariance("process_noise", process, np.ones(model.n_lifted))
    unit = covariance("process_noise", process, np.ones(1))
    return np.asarray(unit * lifted_spread(model))
