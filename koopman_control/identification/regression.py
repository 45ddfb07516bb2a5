"""The regression behind EDMDc: which columns stand beside which targets, and back to a model.

`Frame` is what all candidates of a fit share; saturating states are read from a first fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.features.base import constant_columns, spread
from koopman_control.identification.least_squares import (
    ROWS_PER_COLUMN,
    Accumulator,
    RFactor,
    fold_in_parallel,
    n_workers,
    whitening,
)
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import (
    Embedding,
    InputLift,
    OneStepMap,
    folded,
    read_out,
)
from koopman_control.identification.snapshots import (
    Chunk,
    Run,
    Snapshots,
    at_limit,
    chunks_of,
    known_ground,
    stack,
    stacked,
)
from koopman_control.trajectories import Trajectory

Coupling = Literal["linear", "bilinear"]
Targets = Literal["increments", "states"]


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
        input_scale: Standard deviation of what enters, shape (q,): the inputs, or inputs and their
            features; infinite for what never moves, which takes it out of the regression and makes
            its effect zero.
        action_bounds: Input box, shape (2, m), or None.
        dt: Sampling time in seconds, or None.
        state_names: d names.
        input_features: Fitted feature map of the inputs, or None.
        targets: "increments" of the lifted state or lifted "states" themselves.
        ground: Where the feature inputs lie, shape (k, 1 + e); see `known_ground`.
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
    input_features: FeatureMap | None = None
    targets: Targets = "increments"
    ground: Array | None = None

    @classmethod
    def of(
        cls,
        data: Sequence[Trajectory],
        runs: Sequence[Run],
        coordinates: Coordinates,
        coupling: Coupling,
        limits: Array,
        input_features: FeatureMap | None = None,
        targets: Targets = "increments",
    ) -> Frame:
        """Measure scales on the data."""
        E = Embedding(coordinates)(np.concatenate([run.X for run in runs]))
        U = np.concatenate([run.U for run in runs])
        V = U if input_features is None else InputLift(input_features)(U)
        center, scale = E.mean(axis=0), spread(E)
        n_present = int((~coordinates.is_angle[: coordinates.n_outputs]).sum())
        return cls(
            coordinates=coordinates,
            coupling=coupling,
            limits=limits,
            saturating=np.zeros(coordinates.dim, dtype=bool),
            center=center,
            scale=scale,
            input_scale=np.where(constant_columns(V), np.inf, spread(V)),
            action_bounds=data[0].action_bounds,
            dt=data[0].dt,
            state_names=coordinates.names(data[0].observation_names),
            input_features=input_features,
            targets=targets,
            ground=known_ground(E, center, scale, n_present),
        )

    @property
    def n_inputs(self) -> int:
        """Number of inputs m, without their features."""
        if self.input_features is None:
            return len(self.input_scale)
        return int(self.input_features.n_features_in_)

    def snapshots(self, runs: Sequence[Run]) -> Snapshots:
        """Form the snapshot pairs of runs."""
        return stack(runs, self.coordinates, self.limits)

    def lifted_inputs(self, U: Array) -> Array:
        """Return what enters the regression for inputs U, shape (..., m) to (..., q)."""
        return U if self.input_features is None else InputLift(self.input_features)(U)

    def feature_inputs(self, X: Array) -> Array:
        """Embed states (..., d) as feature inputs (..., e)."""
        return Embedding(self.coordinates)(X)


CHUNK = 512  # rows at a time; they stay in the cache


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

    @property
    def n_targets(self) -> int:
        """Number of targets q, one per lifted state."""
        angles = int(self.frame.coordinates.is_angle.sum())
        return 1 + len(self.frame.center) + self.features._n_features_out + angles

    @property
    def state_targets(self) -> list[int]:
        """Columns of the targets that move the states themselves, one per state."""
        coordinates, n = self.frame.coordinates, self.n_targets
        plain = [1 + j for j, (_, kind) in enumerate(coordinates.embedded) if kind == "id"]
        return [*plain, *range(n - int(coordinates.is_angle.sum()), n)]

    def factor(self, runs: Sequence[Run]) -> RFactor:
        """Reduce the uncensored snapshot pairs of runs to an R factor."""
        return Accumulator.merged(self.sums([runs]))

    def sums(self, parts: Sequence[Sequence[Run]], basis: Array | None = None) -> list[Accumulator]:
        """Accumulate the uncensored snapshot pairs of each part, each part by itself.

        Args:
            parts: Runs by part; the sums of all parts add up cheaply.
            basis: What whitens the rows, from `whitening`; None takes a sample of the runs.
        """
        k, q = self.n_regressors, self.n_targets
        n_pairs = sum(len(run.U) for runs in parts for run in runs)
        if basis is None:
            basis = self._basis([run for runs in parts for run in runs], n_pairs)
        workers = n_workers(float(n_pairs) * k * (k + q))

        def make() -> Accumulator:
            return Accumulator(k, q, basis)

        def add(sums: Accumulator, runs: Sequence[Run]) -> None:
            sums.add(*self.rows(stacked(runs, self.frame.limits)))

        whole = []
        for runs in parts:
            found = fold_in_parallel(chunks_of(runs, CHUNK), make, add, workers)
            for other in found[1:]:
                found[0].absorb(other)
            whole.append(found[0])
        return whole

    def rows(self, chunk: Chunk) -> tuple[Array, Array, Array | None]:
        """Return regressors (S - 1, k), targets (S - 1, q) and weights of a chunk of S states."""
        frame = self.frame
        phi = self._phi(chunk.X)
        U = frame.lifted_inputs(chunk.U) / frame.input_scale
        n_phi, now = phi.shape[1], phi[:-1]
        Phi = np.empty((len(U), self.n_regressors))
        Phi[:, :n_phi] = now
        if frame.coupling == "bilinear":
            for i in range(U.shape[1]):
                np.multiply(now, U[:, [i]], out=Phi[:, (1 + i) * n_phi : (2 + i) * n_phi])
        else:
            Phi[:, n_phi:] = U
        Y = np.empty((len(U), self.n_targets))
        if frame.targets == "increments":
            np.subtract(phi[1:], now, out=Y[:, :n_phi])
        else:
            Y[:, :n_phi] = phi[1:]
            Y[:, 0] = 0.0  # the constant stays what it is, whatever the penalty
        if self.n_targets > n_phi:
            is_angle = frame.coordinates.is_angle
            turned = frame.coordinates.wrapped_difference(chunk.X[1:], chunk.X[:-1])
            Y[:, n_phi:] = turned[:, is_angle]
        return Phi, Y, chunk.weight

    def _basis(self, runs: Sequence[Run], n_pairs: int) -> Array | None:
        """Whiten by evenly spaced snapshot pairs; few pairs need no whitening at all."""
        n_rows = ROWS_PER_COLUMN * self.n_regressors
        if n_pairs < 2 * n_rows:
            return None
        first = np.cumsum([0, *(len(run.U) for run in runs)])
        chosen = np.random.default_rng(0).choice(n_pairs, n_rows, replace=False)
        owner = np.searchsorted(first, chosen, side="right") - 1
        sample = [
            runs[i].piece(t, t + 1)
            for i, t in zip(owner.tolist(), (chosen - first[owner]).tolist(), strict=True)
        ]
        Phi, Y, weight = self.rows(stacked(sample, self.frame.limits))
        used = np.full(len(Phi), True) if weight is None else weight > 0.0
        if used.sum() < n_rows // 2:
            return None
        return whitening(RFactor.of(Phi[used], Y[used, :0]))

    def model(self, K: Array, summary: Mapping[str, Any] | None = None) -> LiftedModel:
        """Arrange coefficients K of shape (k, n) as a model in the units of the data."""
        frame = self.frame
        n, m = K.shape[1], len(frame.input_scale)
        n_phi = n - int(frame.coordinates.is_angle.sum())
        A = np.eye(n)
        if frame.targets == "states":
            A[1:n_phi, 1:n_phi] = 0.0
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
            C=read_out(frame.coordinates, frame.center, frame.scale, n),
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
            input_features=frame.input_features,
            ground=frame.ground,
        )

    def _phi(self, X: Array) -> Array:
        e = self.frame.feature_inputs(X)
        n_e = e.shape[1]
        phi = np.empty((len(X), 1 + n_e + self.features._n_features_out))
        phi[:, 0] = 1.0
        np.subtract(e, self.frame.center, out=phi[:, 1 : 1 + n_e])
        phi[:, 1 : 1 + n_e] /= self.frame.scale
        phi[:, 1 + n_e :] = self.features.values(e)
        return phi


OVERSHOOT = 1e-3  # in standard deviations: a prediction this far beyond a limit means a stop
REACTION = 0.05  # share of a state's typical increment that its inputs must be able to cause
ROWS = 4096  # evaluated at a time, to keep memory small


def with_saturating_states(regression: Regression, factor: RFactor, runs: Sequence[Run]) -> Frame:
    """Decide which states the plant holds at their limit, by a fit to the samples that are free.

    A limited state counts as held if its inputs can move it noticeably everywhere, so that a stop
    can be expressed as an effective input, unless the data speak against it: samples that end on
    the limit without the fit going beyond it (a cosine at 1, say). Inputs with features need not
    be able to express a stop, so with them no state counts as held.
    """
    frame = regression.frame
    if not np.isfinite(frame.limits).any() or frame.input_features is not None:
        return frame
    pairs = frame.snapshots(runs)
    step_map = folded(regression.model(factor.solver().solve(1e-10)))
    drift, gain = _drift_and_gain(step_map, pairs.X)
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


def _drift_and_gain(step_map: OneStepMap, X: Array) -> tuple[Array, Array]:
    parts = [step_map.drift_and_gain(X[i : i + ROWS]) for i in range(0, len(X), ROWS)]
    drift, gain = zip(*parts, strict=True)
    return np.concatenate(drift), np.concatenate(gain)
