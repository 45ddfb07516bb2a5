"""The regression behind EDMDc: which columns stand beside which targets, and back to a model.

Regressors are phi = [1, standardised feature inputs, features], the inputs u, and for a bilinear
model the products u_i phi. Targets are the increments of the lifted state over one sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.features.scaling import constant_columns, spread
from koopman_control.identification.least_squares import RFactor
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.relift import Embedding
from koopman_control.identification.snapshots import Run, Snapshots, at_limit, stack
from koopman_control.trajectories import Trajectory

Coupling = Literal["linear", "bilinear"]

OVERSHOOT = 1e-3  # in standard deviations: a prediction this far beyond a limit means a stop
REACTION = 0.05  # share of a state's typical increment that its inputs must be able to cause


@dataclass(frozen=True)
class Frame:
    """What all candidate features share: coordinates, scales, limits and labels.

    Args:
        coordinates: From observations to states.
        coupling: "linear" or "bilinear".
        limits: Known limits of the states, shape (2, d).
        saturating: States held at their limit by the plant, shape (d,).
        center: Mean of the feature inputs, shape (e,).
        scale: Standard deviation of the feature inputs, shape (e,).
        input_scale: Standard deviation of the inputs, shape (m,); infinite for an input that never
            moves, which takes it out of the regression and makes its effect zero.
        action_bounds: Input box, shape (2, m), or None.
        dt: Sampling time in seconds, or None.
        state_names: d names.
    """

    coordinates: Coordinates
    coupling: Coupling
    limits: Array
    saturating: NDArray[np.bool_]
    center: Array
    scale: Array
    input_scale: Array
    action_bounds: Array | None
    dt: float | None
    state_names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        data: Sequence[Trajectory],
        runs: Sequence[Run],
        coordinates: Coordinates,
        coupling: Coupling,
        limits: Array,
    ) -> Frame:
        """Measure scales on the data."""
        E = Embedding(coordinates)(np.concatenate([run.X for run in runs]))
        U = np.concatenate([run.U for run in runs])
        return cls(
            coordinates=coordinates,
            coupling=coupling,
            limits=limits,
            saturating=np.zeros(coordinates.dim, dtype=bool),
            center=E.mean(axis=0),
            scale=spread(E),
            input_scale=np.where(constant_columns(U), np.inf, spread(U)),
            action_bounds=data[0].action_bounds,
            dt=data[0].dt,
            state_names=coordinates.names(data[0].observation_names),
        )

    def snapshots(self, runs: Sequence[Run]) -> Snapshots:
        """Form the snapshot pairs of runs."""
        return stack(runs, self.coordinates, self.limits)

    def feature_inputs(self, X: Array) -> Array:
        """Embed states (..., d) as feature inputs (..., e)."""
        return Embedding(self.coordinates)(X)


@dataclass(frozen=True)
class Regression:
    """One candidate: a frame and a fitted feature map."""

    frame: Frame
    features: FeatureMap

    @property
    def n_regressors(self) -> int:
        """Number of unknowns k per lifted state."""
        n_phi = 1 + len(self.frame.center) + self.features._n_features_out
        m = len(self.frame.input_scale)
        return n_phi + m * (n_phi if self.frame.coupling == "bilinear" else 1)

    def factor(self, runs: Sequence[Run]) -> RFactor:
        """Reduce the uncensored snapshot pairs of runs to an R factor."""
        pairs = self.frame.snapshots(runs)
        free = ~pairs.censored
        X, dX, U = pairs.X[free], pairs.dX[free], pairs.U[free] / self.frame.input_scale
        phi, phi_next = self._phi(X), self._phi(X + dX)
        by_input = [phi * U[:, [i]] for i in range(U.shape[1])]
        Phi = np.hstack([phi, *by_input] if self.frame.coupling == "bilinear" else [phi, U])
        angles = dX[:, self.frame.coordinates.is_angle]
        return RFactor.of(Phi, np.hstack([phi_next - phi, angles]))

    def model(self, K: Array, summary: Mapping[str, Any] | None = None) -> LiftedModel:
        """Arrange coefficients K of shape (k, n) as a model in the units of the data."""
        frame = self.frame
        n, m = K.shape[1], len(frame.input_scale)
        n_phi = n - int(frame.coordinates.is_angle.sum())
        A = np.eye(n)
        A[:, :n_phi] += K[:n_phi].T
        N = None
        if frame.coupling == "linear":
            B = K[n_phi:].T / frame.input_scale
        else:
            N = np.zeros((m, n, n))
            couplings = K[n_phi:].reshape(m, n_phi, n).transpose(0, 2, 1)
            N[:, :, :n_phi] = couplings / frame.input_scale[:, None, None]
            B = N[:, :, 0].T.copy()
            N[:, :, 0] = 0.0
        return LiftedModel(
            A=A,
            B=B,
            C=self._read_out(n),
            N=N,
            coordinates=frame.coordinates,
            features=self.features,
            center=frame.center,
            scale=frame.scale,
            limits=frame.limits,
            saturating=frame.saturating,
            action_bounds=frame.action_bounds,
            dt=frame.dt,
            state_names=frame.state_names,
            summary=dict(summary or {}),
        )

    def _phi(self, X: Array) -> Array:
        e = self.frame.feature_inputs(X)
        standard = (e - self.frame.center) / self.frame.scale
        return np.hstack([np.ones((len(X), 1)), standard, self.features.values(e)])

    def _read_out(self, n: int) -> Array:
        """Return C of shape (d, n), which recovers the states from the lifted state."""
        frame = self.frame
        C = np.zeros((frame.coordinates.dim, n))
        for j, (state, kind) in enumerate(frame.coordinates.embedded):
            if kind == "id":
                C[state, 0], C[state, 1 + j] = frame.center[j], frame.scale[j]
        angles = np.flatnonzero(frame.coordinates.is_angle)
        C[angles, n - len(angles) + np.arange(len(angles))] = 1.0
        return C


def with_saturating_states(frame: Frame, features: FeatureMap, runs: Sequence[Run]) -> Frame:
    """Decide which states the plant holds at their limit, by a fit to the samples that are free.

    A limited state counts as held if its inputs can move it noticeably everywhere, so that a stop
    can be expressed as an effective input, unless the data speak against it: samples that end on
    the limit without the fit going beyond it (a cosine at 1, say).
    """
    if not np.isfinite(frame.limits).any():
        return frame
    pairs = frame.snapshots(runs)
    regression = Regression(frame, features)
    step_map = regression.model(regression.factor(runs).solver().solve(1e-10)).one_step
    drift, gain = step_map.drift_and_gain(pairs.X)
    X_free = pairs.X + drift + np.einsum("sm,smd->sd", pairs.U, gain)
    beyond = np.maximum(X_free - frame.limits[1], frame.limits[0] - X_free) / spread(pairs.X)
    ends_there = at_limit(pairs.X + pairs.dX, frame.limits)
    spoken_against = (ends_there.sum(axis=0) >= 2) & (
        (ends_there & (beyond > OVERSHOOT)).sum(axis=0) < 2
    )
    noticeable = REACTION * pairs.dX.std(axis=0) / frame.input_scale[:, None]
    driven = (np.quantile(np.abs(gain), 0.1, axis=0) > noticeable).any(axis=0)
    limited = np.isfinite(frame.limits).any(axis=0)
    return replace(frame, saturating=limited & driven & ~spoken_against)
