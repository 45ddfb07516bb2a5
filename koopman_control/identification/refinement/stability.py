"""Make the linear roll-out of a model stable at the least cost in one-step error.

The eigenvalues of the core of A are brought inside a circle by the change E that costs least one
step ahead: |E L|_F with L L' the covariance of the lifted states that constant and inputs, which
adapt, do not explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.common.border import checked
from koopman_control.identification.data.snapshots import runs_of
from koopman_control.identification.errors import (
    bounded_score,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.least_squares.factor import triangular
from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.model.structure import core_of, lifted_pairs, own_rollout
from koopman_control.identification.refinement.nearest_stable import (
    INSIDE,
    nearest_stable,
    spectral_radius,
)
from koopman_control.trajectories import Trajectory, check_trajectories

RIDGE = 1e-10  # of the covariance, relative; below it a direction says nothing
ESCAPED = 10.0  # times the range of the data about their mean: the roll-out has diverged


@dataclass(frozen=True)
class _Metric:
    """Cost |E L|_F of a change E of the core, and who makes up for it.

    Args:
        L: Lower triangular factor, shape (n, n).
        compensation: What the constant and the inputs take over, shape (1 + m, n).
    """

    L: Array
    compensation: Array


@checked
def stabilized(
    model: LiftedModel, radius: float = 1.0, data: Trajectory | Sequence[Trajectory] | None = None
) -> LiftedModel:
    """Return the model nearest in one-step error whose core has a spectral radius in bounds.

    The rows of the constant and of angles, which are exact, stay as they are.

    Args:
        model: The model.
        radius: Largest modulus allowed for the eigenvalues of the core (beside the constant's and
            the angles' own, which are 1 by construction).
        data: Trajectories that say which lifted states matter, best those of the fit. None weighs
            all entries of the core alike.

    Returns:
        The model itself if nothing had to be done. Otherwise a model whose `summary` holds the
        price: "one_step_error" and "one_step_error_before" (root mean square over the lifted
        states' own, on data; absent without data), "spectral_radius_before" and "radius".

    Raises:
        ValueError: If radius is no positive number.

    Example:
        >>> stable = stabilized(model, data=data)  # doctest: +SKIP
        >>> stable.summary["one_step_error"]  # doctest: +SKIP
    """
    radius = positive_float("radius", radius)
    core = core_of(model)
    F = model.A[core, core]
    before = spectral_radius(F)
    if before <= radius:
        return model
    metric = _metric(model, core, data)
    F_stable = _also_inside(model.A, core, nearest_stable(F, metric.L, radius), radius)
    change = F_stable - F
    A, B = model.A.copy(), model.B.copy()
    A[core, core] = F_stable
    taken_over = change @ metric.compensation.T
    if core.start:
        A[core, 0] -= taken_over[:, 0]
    B[core] -= taken_over[:, 1:]
    facts = {"radius": radius, "spectral_radius_before": before}
    summary = dict(model.summary) | facts
    stable = replace(model, A=A, B=B, summary=summary, error_quantiles={})
    if data is None:
        return stable
    price = {
        "one_step_error_before": one_step_error(model, data),
        "one_step_error": one_step_error(stable, data),
    }
    return replace(stable, summary=dict(stable.summary) | price)


def diverges(model: LiftedModel, data: Trajectory | Sequence[Trajectory], horizon: int) -> bool:
    """Say whether the roll-out of a model with z+ = A z + B u leaves the data behind.

    It has diverged if within the horizon a state is further from its mean than ten times the data
    ever were (an angle: than ten turns more than the data turned).
    """
    positive_int("horizon", horizon)
    runs = runs_of(check_trajectories(data), model.coordinates)
    windows = windows_of(runs, horizon)
    X = np.concatenate([run.X for run in runs])
    middle = X.mean(axis=0)
    reach = ESCAPED * np.maximum(np.abs(X - middle).max(axis=0), np.finfo(float).tiny)
    reach += ESCAPED * 2.0 * np.pi * model.coordinates.is_angle
    with np.errstate(all="ignore"):
        away = np.abs(model.rolled_out(windows.x0, windows.U, own_rollout(model)) - middle)
    return bool((~(away <= reach))[windows.valid].any())


def stabilized_if_needed(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory], horizon: int
) -> LiftedModel:
    """Stabilise a model whose linear roll-out diverges within the horizon, if that helps.

    A plant that is unstable itself may well need an eigenvalue outside the circle. So nothing is
    done unless the roll-out diverges, and the outcome is kept only if it predicts better.

    Args:
        model: The model.
        data: Trajectories, at best not those of the fit.
        horizon: Longest prediction that matters, in steps.

    Returns:
        The model itself, or the stabilised one.
    """
    if not diverges(model, data, horizon):
        return model
    runs = runs_of(check_trajectories(data), model.coordinates)
    windows, scale = windows_of(runs, horizon), state_scale(runs, model.coordinates)
    candidates = [model, stabilized(model, 1.0, data)]
    rollout = own_rollout(model)
    scores = [bounded_score(scaled_errors(m, windows, scale, rollout)) for m in candidates]
    return candidates[int(np.argmin(scores))]


def one_step_error(model: LiftedModel, data: Trajectory | Sequence[Trajectory]) -> float:
    """Root-mean-square one-step error of z+ = A z + B u, over samples and lifted states."""
    total, count = 0.0, 0
    for Z, Z_next, U in lifted_pairs(model, data):
        error = Z_next - Z @ model.A.T - U @ model.B.T
        if model.N is not None:
            error -= np.einsum("ti,ijk,tk->tj", U, model.N, Z, optimize=True)
        total, count = total + float(np.sum(error**2)), count + error.size
    return float(np.sqrt(total / max(count, 1)))


def _metric(
    model: LiftedModel, core: slice, data: Trajectory | Sequence[Trajectory] | None
) -> _Metric:
    """Measure what a change of the core costs once constant and inputs have adapted to it."""
    n, m = core.stop - core.start, model.B.shape[1]
    if data is None:
        return _Metric(np.eye(n), np.zeros((1 + m, n)))
    G = np.zeros((1 + m + n, 1 + m + n))
    count = 0
    for Z, _, U in lifted_pairs(model, data):
        constant = np.ones((len(Z), 1)) if core.start else np.zeros((len(Z), 1))
        columns = np.hstack([constant, U, Z[:, core]])
        G += columns.T @ columns
        count += len(Z)
    if not count:
        return _Metric(np.eye(n), np.zeros((1 + m, n)))
    G /= count
    own, cross = G[: 1 + m, : 1 + m], G[: 1 + m, 1 + m :]
    compensation = np.linalg.lstsq(own, cross, rcond=1e-12)[0]
    M = G[1 + m :, 1 + m :] - cross.T @ compensation
    size = float(np.trace(M)) / n
    if not size > 0.0:  # data that stand still say nothing
        return _Metric(np.eye(n), np.zeros((1 + m, n)))
    ridge = max(RIDGE, float(model.summary.get("regularization", 0.0) or 0.0))
    M = 0.5 * (M + M.T) + ridge * size * np.eye(n)
    values, vectors = np.linalg.eigh(M)
    root = vectors * np.sqrt(np.maximum(values, ridge * values[-1]))
    return _Metric(triangular(root.T).T, np.asarray(compensation))


def _also_inside(A: Array, core: slice, F: Array, radius: float) -> Array:
    """Shrink F a little more if beside the constant its eigenvalues come out larger, by rounding.

    An eigenvalue of the core close to the constant's is known to half the digits only.
    """
    whole, bound = A.copy(), max(radius, 1.0)
    for _ in range(10):
        whole[core, core] = F
        rho = spectral_radius(whole)
        if rho <= bound + INSIDE:
            break
        F = F * (bound / rho) ** 2
    return F
