"""The condensed multi-step map Y = Phi z0 + Gamma U against data, reduced to one R factor.

The map is linear in the lifted start z0 and the inputs U, so all windows of the data shrink to the
triangular factor of [z0, U | Y]: its few hundred rows have exactly the squared error of the
thousands of windows they came from, for every (A, B). The gradient follows by the chain rule
through Phi_k+1 = Phi_k A, backwards, with nothing larger than (d, n) carried along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.data.snapshots import Run
from koopman_control.identification.least_squares.factor import RFactor
from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.model.rollouts import linear_response

MAX_WINDOWS = 6_000  # per factor; overlapping windows say little new


@dataclass(frozen=True)
class CondensedData:
    """Windows of H steps as pseudo-windows, scaled so that squares sum to the mean squared error.

    Args:
        Z: Lifted starts, shape (r, n); the entries of angles are zero.
        U: Inputs, shape (r, H m).
        Y: States in units of `scale` (angles: travelled since the start), shape (r, H d).
        C: Read-out in units of `scale`, shape (d, n).
        horizon: Steps H.
    """

    Z: Array
    U: Array
    Y: Array
    C: Array
    horizon: int

    @classmethod
    def of(
        cls, factors: Sequence[RFactor], model: LiftedModel, scale: Array, horizon: int
    ) -> CondensedData:
        """Merge factors made by `window_factor` with the same model, scale and horizon."""
        merged = RFactor.merged(factors)
        R = merged.R / np.sqrt(merged.n_samples * horizon * model.n_states)
        n = model.n_lifted
        edge = n + horizon * model.B.shape[1]
        return cls(R[:, :n], R[:, n:edge], R[:, edge:], model.C / scale[:, None], horizon)

    def error(self, A: Array, B: Array) -> float:
        """Root mean square of the error over windows, steps and states, in units of `scale`."""
        return float(np.linalg.norm(self._residual(*linear_response(A, B, self.C, self.horizon))))

    def squared_error(self, A: Array, B: Array) -> tuple[float, Array, Array]:
        """Return the mean squared error and its gradients to A, (n, n), and B, (n, m)."""
        H, d, n, m = self.horizon, len(self.C), len(A), B.shape[1]
        Phi, Gamma = linear_response(A, B, self.C, H)
        E = self._residual(Phi, Gamma)
        dPhi = 2.0 * (E.T @ self.Z).reshape(H, d, n)
        dGamma = 2.0 * (E.T @ self.U).reshape(H, d, H, m)
        dMarkov = np.zeros((H, d, m))  # of C A^k B, which stands in H - k places of Gamma
        for j in range(H):
            dMarkov[: H - j] += dGamma[j:, :, j]
        adjoint = np.empty((H, d, n))  # of C A^(k + 1)
        adjoint[-1] = dPhi[-1]
        for k in range(H - 1, 0, -1):
            adjoint[k - 1] = dPhi[k - 1] + dMarkov[k] @ B.T + adjoint[k] @ A.T
        before = np.concatenate([self.C, Phi[: (H - 1) * d]])  # C A^k
        dA = before.T @ adjoint.reshape(H * d, n)
        dB = before.T @ dMarkov.reshape(H * d, m)
        return float(np.sum(E**2)), dA, dB

    def _residual(self, Phi: Array, Gamma: Array) -> Array:
        return self.Z @ Phi.T + self.U @ Gamma.T - self.Y


def window_factor(model: LiftedModel, runs: Sequence[Run], scale: Array, horizon: int) -> RFactor:
    """Reduce all windows of `horizon` steps (evenly thinned to MAX_WINDOWS) to an R factor.

    At least one run is that long.
    """
    starts = [(i, t) for i, run in enumerate(runs) for t in range(len(run.U) - horizon + 1)]
    starts = starts[:: -(-len(starts) // MAX_WINDOWS)]
    X = np.stack([runs[i].X[t : t + horizon + 1] for i, t in starts])
    U = model.lifted_inputs(np.stack([runs[i].U[t : t + horizon] for i, t in starts]))
    angles = model.coordinates.is_angle
    Y = X[:, 1:].copy()
    travelled = np.cumsum(model.coordinates.wrap(np.diff(X, axis=1)), axis=1)
    Y[:, :, angles] = travelled[:, :, angles]
    Z = model.lift(X[:, 0])
    Z[:, model.n_lifted - int(angles.sum()) :] = 0.0
    n_windows = len(starts)
    regressors = np.hstack([Z, U.reshape(n_windows, -1)])
    return RFactor.of(regressors, (Y / scale).reshape(n_windows, -1))
