"""Horizon-aware identification: refine (A, B) on the multi-step map that the convex QP uses.

One-step least squares is biased by measurement noise and by what the features cannot express, and
its linear roll-out iterates the bias. Here the rows of A and B that predict the *features* are
moved, from the one-step solution, to lower the error of Y = Phi z0 + Gamma U over the horizon;
quasi-Newton steps on the analytic gradient, in coordinates in which the lifted states are white,
regularised towards the start. The rows that predict the states stay as they are, and with them
every one-step prediction and so the re-lifted roll-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.identification.data.snapshots import Run, runs_of, split_into_folds
from koopman_control.identification.errors import state_scale
from koopman_control.identification.least_squares.factor import RFactor, decomposed
from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.refinement.condensed import CondensedData, window_factor
from koopman_control.trajectories import Trajectory, check_trajectories

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
    runs = runs_of(check_trajectories(data), model.coordinates)
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
