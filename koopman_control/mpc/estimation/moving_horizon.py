"""Moving-horizon estimation: the likeliest course of the last few steps that respects bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import (
    Array,
    balanced,
    bounds_array,
    finite_array,
    positive_float,
    positive_int,
)
from koopman_control.common.border import CheckedFields
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.estimation.base import Estimate, Estimator, Sensor, covariance
from koopman_control.mpc.estimation.kalman import filter_covariance, lifted_noise
from koopman_control.mpc.solvers import DenseQP, make_solver
from koopman_control.mpc.weights import box

SMALL = 1e-14  # share of the largest variance below which a direction is known exactly


@dataclass(frozen=True)
class MovingHorizonEstimator(CheckedFields):
    """Estimate the state by a small quadratic program over the last steps; linear roll-outs only.

    At each step it minimises

        |z_0 - what was estimated then|^2 + sum_k |w_k|^2 + |y_k - C z_k|^2

    with z_k+1 = A z_k + B u_k + w_k, in the norms of the inverse covariances, that of the first
    term being the steady Kalman filter's. Without active bounds the estimate is that filter's, and
    better where observations lack entries. The program has (window + 1) n variables for n lifted
    states, so it is for a few dozen of these; reduce a larger model first (`reduced`).

    Args:
        measurement_noise: As for `KalmanObserver`.
        process_noise: As for `KalmanObserver`.
        window: Number of steps looked back.
        state_bounds: (low, high) or shape (2, p): what the present states may be, in all steps of
            the window.
        noise_bound: Largest process noise, in standard deviations along each of its principal
            directions; None for no bound.
    """

    measurement_noise: ArrayLike
    process_noise: ArrayLike = 0.01
    window: int = 10
    state_bounds: ArrayLike | None = None
    noise_bound: float | None = None

    def attached(self, model: LiftedModel, rollout: Rollout) -> Estimator:
        """Make the estimator for a model; see `Observer`."""
        if rollout != "linear":
            raise ValueError(
                f"rollout is {rollout!r}; moving-horizon estimation is convex for the linear one "
                "only: use KalmanObserver"
            )
        p = model.coordinates.n_outputs
        R = covariance("measurement_noise", self.measurement_noise, np.ones(p), definite=True)
        bounds = box("state_bounds", self.state_bounds, p, 1)[:, 0]
        largest = np.inf
        if self.noise_bound is not None:
            largest = positive_float("noise_bound", self.noise_bound)
        window = positive_int("window", self.window)
        Q, C = lifted_noise(model, self.process_noise), model.C[:p]
        P = filter_covariance(model.A, C, Q, R)
        S, unit = balanced(C @ P @ C.T + R)
        shown = (C @ P) / unit[:, None]
        prior = _root(P - shown.T @ np.linalg.solve(S, shown))
        return MovingHorizon(model, prior, _root(Q), R, window, bounds, largest)


@dataclass(frozen=True)
class Windowed(Estimate):
    """An estimate and the window it rests on: earlier estimates, measurements and inputs since."""

    before: tuple[Array, ...] = ()
    measured: tuple[Array, ...] = ()
    inputs: tuple[Array, ...] = ()


class MovingHorizon:
    """The estimator of `MovingHorizonEstimator`.

    Args:
        model: The model.
        prior: Root of the covariance of what was estimated before, shape (n, a).
        noise: Root of that of the process noise, shape (n, r).
        R: Covariance of the measurement noise, shape (p, p).
        window: Number of steps looked back.
        bounds: Of the present states, shape (2, p).
        largest: Process noise along each of its directions, in standard deviations.
    """

    def __init__(
        self,
        model: LiftedModel,
        prior: Array,
        noise: Array,
        R: Array,
        window: int,
        bounds: Array,
        largest: float,
    ) -> None:
        self._model, self._sensor, self._window = model, Sensor(model), window
        n, p = model.n_lifted, self._sensor.size
        for name, value, shape in (("prior", prior, (n, None)), ("noise", noise, (n, None))):
            finite_array(name, value, shape=shape)
        finite_array("R", R, shape=(p, p))
        self._C, self._largest = model.C[:p], largest
        self._bounds = bounds_array("bounds", bounds, p)
        self._prior, self._noise, self._R = prior, noise, R

    def settled(self) -> dict[str, Any]:
        """Return what it takes, beside the model, to make it again."""
        return {
            "prior": self._prior,
            "noise": self._noise,
            "R": self._R,
            "window": self._window,
            "bounds": self._bounds,
            "largest": self._largest,
        }

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Solve over the window that ends with an observation; see `Estimator`."""
        measured = self._sensor.read(y)
        if not isinstance(before, Windowed) or before.z is None:
            if np.isnan(measured).all():
                return None
            x = self._sensor.first(measured, u)
            return Windowed(x, z=self._model.lift(x))
        W = self._window - 1
        zs = (*before.before, before.z)[-self._window :]
        now = replace(
            before,
            before=zs,
            measured=(*before.measured[-W:], measured) if W else (measured,),
            inputs=(*before.inputs[-W:], u) if W else (u,),
        )
        z = self._solved(now)
        return replace(now, x=self._model.C @ z, z=z)

    def _solved(self, now: Windowed) -> Array:
        """Return the last lifted state of the likeliest course through the window."""
        A, B, a, r = self._model.A, self._model.B, self._prior.shape[1], self._noise.shape[1]
        n_v = a + len(now.inputs) * r
        z, M = now.before[0], np.zeros((len(A), n_v))  # z_k = z + M v
        M[:, :a] = self._prior
        H, f = np.eye(n_v), np.zeros(n_v)
        rows, low, high = [], [], []
        for k, (u, measured) in enumerate(zip(now.inputs, now.measured, strict=True)):
            z, M = A @ z + B @ u, A @ M
            M[:, a + k * r : a + (k + 1) * r] += self._noise
            expected, reach = self._C @ z, self._C @ M
            there = ~np.isnan(measured)
            e, G = self._sensor.innovation(measured, expected)[there], reach[there]
            R, unit = balanced(self._R[np.ix_(there, there)])
            e, G = e / unit, G / unit[:, None]
            weighed = np.linalg.solve(R, G)
            H, f = H + G.T @ weighed, f - weighed.T @ e
            rows.append(reach)
            low.append(self._bounds[0] - expected)
            high.append(self._bounds[1] - expected)
        v = self._bounded(H, f, np.vstack(rows), np.concatenate(low), np.concatenate(high))
        return np.asarray(z + M @ v)

    def _bounded(self, H: Array, f: Array, rows: Array, low: Array, high: Array) -> Array:
        """Minimise within the bounds; without any, or if they leave nothing, without them."""
        free: Array = np.asarray(np.linalg.solve(H, -f), dtype=np.float64)
        limit = np.full(len(f), self._largest)
        limit[: self._prior.shape[1]] = np.inf
        bounded = np.isfinite(low) | np.isfinite(high)
        reached = rows @ free
        if np.all(np.abs(free) <= limit) and np.all((reached >= low) & (reached <= high)):
            return free
        rows, low, high = rows[bounded], low[bounded], high[bounded]
        hard = np.full(len(rows), np.inf)
        lower, upper = np.concatenate([-limit, low]), np.concatenate([limit, high])
        solution = make_solver("auto").solve(
            DenseQP(H, f, rows, lower, upper, hard, hard), matrices_changed=True
        )
        return free if solution.v is None else solution.v


def _root(P: Array) -> Array:
    """Root (n, r) of a covariance (n, n) of rank r."""
    scaled, unit = balanced(0.5 * (P + P.T))
    values, vectors = np.linalg.eigh(scaled)
    kept = values > SMALL * values[-1]
    return np.asarray(unit[:, None] * (vectors[:, kept] * np.sqrt(values[kept])))
