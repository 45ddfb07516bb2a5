"""The regression behind EDMDc: which columns stand beside which targets, and back to a model.

Regressors are phi = [1, standardised feature inputs, features], the inputs u, and for a bilinear
model the products u_i phi. Targets are the increments of the lifted state over one sample, or
the lifted state after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap
from koopman_control.identification.data.snapshots import Chunk, Run, chunks_of, stacked
from koopman_control.identification.fitting.frame import Frame
from koopman_control.identification.least_squares.accumulation import (
    ROWS_PER_COLUMN,
    Accumulator,
    whitening,
)
from koopman_control.identification.least_squares.factor import RFactor
from koopman_control.identification.least_squares.threads import fold_in_parallel, n_workers
from koopman_control.identification.model.folding import read_out
from koopman_control.identification.model.model import LiftedModel

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
