"""Horizon-aware identification: refine (A, B) on the multi-step map that the convex QP uses.

The condensed map Y = Phi z0 + Gamma U against data is reduced to one R factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.identification.errors import state_scale
from koopman_control.identification.least_squares import RFactor, decomposed
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import linear_response
from koopman_control.identification.snapshots import Run, split_into_folds
from koopman_control.trajectories import Trajectory

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
    U = model.signals.lifted_inputs(np.stack([runs[i].U[t : t + horizon] for i, t in starts]))
    angles = model.coordinates.is_angle
    Y = X[:, 1:].copy()
    travelled = np.cumsum(model.coordinates.wrap(np.diff(X, axis=1)), axis=1)
    Y[:, :, angles] = travelled[:, :, angles]
    Z = model.lift(X[:, 0])
    Z[:, model.n_lifted - int(angles.sum()) :] = 0.0
    n_windows = len(starts)
    regressors = np.hstack([Z, U.reshape(n_windows, -1)])
    return RFactor.of(regressors, (Y / scale).reshape(n_windows, -1))


PULLS = (10.0, 1.0, 0.1, 1e-2, 1e-3, 0.0)  # weights of the distance from the start
MAX_ITERATIONS = 40
TRUNCATION = 1e-5  # directions in which lifted states hardly vary are left alone


@checked
def refine_over_horizon(
    model: LiftedModel,
    data: Trajectory | Sequence[Trajectory],
    horizon: int = 30,
    *,
    n_folds: int = 3,
) -> LiftedModel:
    """Lower the error of the linear roll-out over a horizon, where left-out data confirm it.

    How far to go is chosen by cross-validation over trajectories; if no refinement beats the given
    model on left-out data, it is returned with its A and B unchanged.

    Args:
        model: Start, from one-step least squares; linear coupling.
        data: The trajectories it was fitted to, some of at least `horizon` steps.
        horizon: Steps H of the roll-out; about the controller's.
        n_folds: Folds of the cross-validation.

    Returns:
        A model with the same features and one-step predictions. Its `summary` holds
        `horizon_steps`, `horizon_error_start` and `horizon_error` (left-out root-mean-square error
        over 1 ... H steps before and after, in standard deviations of the states) and
        `horizon_pull` (weight of the distance from the start; infinite: unchanged).

    Raises:
        ValueError: If the model is bilinear, or the data too short for the horizon.

    Example:
        >>> model = EDMDc(rollout="linear").fit(data).model_  # doctest: +SKIP
        >>> model = refine_over_horizon(model, data, 50)  # doctest: +SKIP
        >>> model.summary["horizon_error"]  # doctest: +SKIP
        0.061
    """
    if model.N is not None:
        raise ValueError(
            "model has input couplings N; only the linear roll-out is refined: fit with "
            'coupling="linear"'
        )
    H = positive_int("horizon", horizon)
    runs = model.signals.runs(data)
    scale = state_scale(runs, model.coordinates)
    folds = split_into_folds(runs, positive_int("n_folds", n_folds, minimum=2))
    long = [fold for fold in folds if any(len(run.U) >= H for run in fold)]
    if len(long) < 2:  # one long run, which the folds have cut up
        factors = [window_factor(model, [run], scale, H) for run in _halves(runs, H)]
    else:
        factors = [window_factor(model, fold, scale, H) for fold in long]
    start, errors = _cross_validated(model, factors, scale, H)
    best = int(np.argmin(errors))
    facts = {"horizon_steps": H, "horizon_error_start": start}
    if not errors[best] < start:
        unchanged = {"horizon_error": start, "horizon_pull": float("inf")}
        return replace(model, summary={**model.summary, **facts, **unchanged})
    search = Refinement(model, CondensedData.of(factors, model, scale, H))
    A, B = search.path(PULLS[: best + 1])[-1]
    facts |= {"horizon_error": float(errors[best]), "horizon_pull": PULLS[best]}
    summary = {**model.summary, **facts}
    return replace(model, A=A, B=B, summary=summary, error_quantiles={})


class Refinement:
    """Candidates A = A0 + L X W and B = B0 + L x, which leave the states' one-step rows alone.

    Args:
        model: The start (A0, B0).
        seen: Data to fit.
    """

    def __init__(self, model: LiftedModel, seen: CondensedData) -> None:
        self._A0, self._B0, self._seen = model.A, model.B, seen
        H, d = seen.horizon, len(seen.C)
        _, sizes, rotation = decomposed(seen.Z * np.sqrt(H * d))
        kept = sizes > TRUNCATION * sizes[0]
        self._W = rotation[kept] / sizes[kept, None]  # whitens lifted states, (r, n)
        L = rotation[kept].T * sizes[kept]
        fixed = np.vstack([np.eye(1, len(self._A0)), seen.C]) @ L  # the constant and the states
        basis, triangle = np.linalg.qr(fixed.T, mode="complete")
        rank = int((np.abs(np.diag(triangle)) > 1e-12 * np.abs(triangle).max()).sum())
        self._L = L @ basis[:, rank:]
        used = np.sqrt(H * d * np.mean(seen.U.reshape(len(seen.U), H, -1) ** 2, axis=1).sum(axis=0))
        self._input_size = np.where(used > 0.0, used, np.inf)
        self._shape = (self._L.shape[1], len(self._W))

    def path(self, pulls: Sequence[float]) -> list[tuple[Array, Array]]:
        """Solve for each weight of the distance from the start, one after the other."""
        point = np.zeros(self._shape[0] * (self._shape[1] + self._B0.shape[1]))
        if not len(point):  # every row is that of a state; older SciPy fails without unknowns
            return [self.matrices(point)] * len(pulls)
        options: Any = {"maxiter": MAX_ITERATIONS, "maxcor": 10}
        solutions = []
        for pull in pulls:
            found = minimize(
                self.objective, point, args=(pull,), jac=True, method="L-BFGS-B", options=options
            )
            point = found.x
            solutions.append(self.matrices(point))
        return solutions

    def matrices(self, point: Array) -> tuple[Array, Array]:
        """Return (A, B) at a point of the search space."""
        X, x = np.split(point, [self._shape[0] * self._shape[1]])
        A = self._A0 + self._L @ X.reshape(self._shape) @ self._W
        B = self._B0 + self._L @ x.reshape(self._shape[0], self._B0.shape[1]) / self._input_size
        return A, B

    def objective(self, point: Array, pull: float) -> tuple[float, Array]:
        """Return the penalised mean squared error and its gradient."""
        error, dA, dB = self._seen.squared_error(*self.matrices(point))
        dX = self._L.T @ dA @ self._W.T
        dx = self._L.T @ dB / self._input_size
        gradient = np.concatenate([dX.ravel(), dx.ravel()])
        return error + pull * float(point @ point), gradient + 2.0 * pull * point


def _cross_validated(
    model: LiftedModel, factors: Sequence[RFactor], scale: Array, horizon: int
) -> tuple[float, Array]:
    """Return left-out errors of the start and of every pull in PULLS, shape (len(PULLS),)."""
    start, squares = [], []
    for i, factor in enumerate(factors):
        others = [other for j, other in enumerate(factors) if j != i]
        left_out = CondensedData.of([factor], model, scale, horizon)
        search = Refinement(model, CondensedData.of(others, model, scale, horizon))
        with np.errstate(all="ignore"):  # a candidate may explode on data it has not seen
            start.append(left_out.error(model.A, model.B) ** 2)
            squares.append([left_out.error(A, B) ** 2 for A, B in search.path(PULLS)])
    errors = np.sqrt(np.mean(squares, axis=0))
    return float(np.sqrt(np.mean(start))), np.where(np.isfinite(errors), errors, np.inf)


def _halves(runs: Sequence[Run], horizon: int) -> list[Run]:
    """Cut the longest run in two, each long enough for a window if the run allows it."""
    longest = max(runs, key=lambda run: len(run.U))
    middle = len(longest.U) // 2
    if middle < horizon:
        raise ValueError(
            f"horizon is {horizon}, but data hold {len(longest.U)} steps at a stretch; expected "
            f"two trajectories of {horizon} steps or one of {2 * horizon}, to leave some out"
        )
    first = Run(longest.X[: middle + 1], longest.U[:middle])
    return [first, Run(longest.X[middle:], longest.U[middle:])]
