"""Make the linear roll-out of a model stable at the least cost in one-step error.

The price is that of the nearest stable matrix in a weighted norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.optimize import nnls

from koopman_control.common.arrays import Array, balanced, positive_float, positive_int
from koopman_control.common.border import checked
from koopman_control.identification.errors import (
    bounded_score,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.least_squares import decomposed, triangular
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.structure import core_of, lifted_pairs
from koopman_control.trajectories import Trajectory

Complex = NDArray[np.complex128]

ROUNDS = 8
SHRINKAGES = (0.0, *(10.0**k for k in range(-12, 3)))  # of increments, relative to the covariance
NEARLY = 1.01  # times the radius: near enough for linearisation
SETTLED = 1e-2  # relative change of the correction
INSIDE = 1e-9  # aim this far inside the circle, so that rounding does not lead out
BAND = 0.02  # eigenvalues this close to the circle are watched
WORST_CONDITION = 1e8  # of an eigenvalue; beyond it, its derivative means nothing


def nearest_stable(F: Array, L: Array, radius: float) -> Array:
    """Find a matrix near F, in |(. - F) L|_F, with spectral radius at most `radius`.

    Coefficients of lifted states that the data hardly excite can be huge, and the eigenvalues then
    mere rounding. So F is also tried with its increments F - 1 shrunk, the more the less the data
    say about a direction, just enough to get hold of the eigenvalues.

    Args:
        F: Shape (n, n).
        L: Invertible, lower triangular, shape (n, n).
        radius: Largest modulus of an eigenvalue, above zero.

    Returns:
        A local minimum, or failing that a point that merely satisfies the bound; shape (n, n).
    """
    directions, s, _ = decomposed(L)
    identity = np.eye(len(F))
    candidates: list[Array] = []
    for shrinkage in SHRINKAGES:
        kept = s**2 / (s**2 + shrinkage * s[0] ** 2)
        start = identity + (F - identity) @ ((directions * kept) @ directions.T) if shrinkage else F
        in_hand = spectral_radius(start) <= NEARLY * max(radius, 1.0)
        if shrinkage and not in_hand:
            continue
        white = triangular(np.vstack([L.T, np.sqrt(shrinkage) * s[0] * identity])).T
        found = list(_stable_from(start, white, radius))
        candidates += found
        if found and in_hand:
            break
    if not candidates:
        return _shrunk(_clipped(F, L, radius), radius)
    return min(candidates, key=lambda c: float(np.linalg.norm((c - F) @ L)))


def _stable_from(F: Array, L: Array, radius: float) -> Iterator[Array]:
    """Yield stable matrices: the clipped one, then what successive linearisation makes of it."""
    goal = radius * (1.0 - INSIDE)
    rho = spectral_radius(F)
    if rho <= radius:
        yield F
        return
    clipped = _inside(_clipped(F, L, goal), radius)
    if clipped is not None:
        yield clipped
    elif rho > NEARLY * radius:
        return  # eigenvalues that are mere rounding cannot be followed
    now = F if rho <= NEARLY * radius or clipped is None else clipped
    change, visited = np.inf, []
    for _ in range(ROUNDS):
        moved, rho = _corrected(F, now, L, goal)
        visited.append(now * min(1.0, goal / max(rho, 1e-300)))
        if moved is None:
            break
        previous, change = change, float(np.linalg.norm((moved - now) @ L))
        now = moved
        if change <= SETTLED * float(np.linalg.norm((now - F) @ L)) or change > 10.0 * previous:
            visited.append(now)
            break
    visited.sort(key=lambda M: float(np.linalg.norm((M - F) @ L)))
    for candidate in visited:  # the cheapest that is stable indeed, beyond rounding
        inside = _inside(candidate, radius)
        if inside is not None:
            yield inside
            return


def _inside(F: Array, radius: float) -> Array | None:
    """Shrink F the little that is left, or give up on eigenvalues that do not follow."""
    for _ in range(3):
        rho = spectral_radius(F)
        if rho <= radius:
            return F
        if rho > NEARLY * radius:
            return None
        F = F * (radius * (1.0 - INSIDE) / rho)
    return None


def _shrunk(F: Array, radius: float) -> Array:
    """Scale F down until it is stable; the last resort."""
    while (rho := spectral_radius(F)) > radius:
        F = F * min(0.9, radius / rho)
    return F


def _clipped(F: Array, L: Array, goal: float) -> Array:
    """Clip the diagonal of the Schur form of F in white coordinates L^-1 F L."""
    W = scipy.linalg.solve_triangular(L, F @ L, lower=True)
    T, Q = scipy.linalg.schur(W, output="complex")
    diagonal = np.diagonal(T)
    shrink = np.minimum(1.0, goal / np.maximum(np.abs(diagonal), 1e-300))
    # Only the change is transformed back, so that what is inside stays to the last bits.
    change = ((Q * ((shrink - 1.0) * diagonal)) @ Q.conj().T).real
    return np.asarray(F + scipy.linalg.solve_triangular(L, (L @ change).T, trans="T", lower=True).T)


def _corrected(F: Array, now: Array, L: Array, goal: float) -> tuple[Array | None, float]:
    """Solve the problem linearised about `now`; None if its eigenvalues have no derivatives.

    Also returns the spectral radius of `now`.
    """
    values, left, right = scipy.linalg.eig(now, left=True, right=True)  # type: ignore[misc]
    rho = float(np.abs(values).max())
    watched = np.flatnonzero((np.abs(values) > (1.0 - BAND) * goal) & (values.imag >= 0.0))
    y, x = left[:, watched], right[:, watched]
    overlap = np.einsum("iw,iw->w", y.conj(), x)
    usable = np.abs(overlap) > 1.0 / WORST_CONDITION
    if not usable.any():
        return None, rho
    y, x, lam = y[:, usable], x[:, usable], values[watched][usable]
    phase = (lam.conj() / np.abs(lam)) / overlap[usable]
    # d|lambda_w| = Re(phase y* E x) = <P_w Q_w', E> with real factors of rank two.
    p, q = y.conj() * phase, x
    P = np.stack([p.real, -p.imag], axis=2)
    Q = np.stack([q.real, q.imag], axis=2)
    deviation = now - F
    gradient_of_deviation = np.einsum("iws,ij,jws->w", P, deviation, Q, optimize=True)
    excess = np.abs(lam) - goal - gradient_of_deviation
    white = scipy.linalg.solve_triangular(L, Q.reshape(len(L), -1), lower=True)
    n_w = len(lam)
    PP = (P.reshape(len(L), -1).T @ P.reshape(len(L), -1)).reshape(n_w, 2, n_w, 2)
    QQ = (white.T @ white).reshape(n_w, 2, n_w, 2)
    H = np.einsum("isjt,isjt->ij", PP, QQ)
    multipliers = _multipliers(H, excess)
    if multipliers is None:
        return None, rho
    back = scipy.linalg.solve_triangular(L, white, lower=True, trans="T").reshape(len(L), n_w, 2)
    E = -np.einsum("w,iws,jws->ij", multipliers, P, back, optimize=True)
    return (np.asarray(F + E) if np.isfinite(E).all() else None), rho


def _multipliers(H: Array, excess: Array) -> Array | None:
    """Minimise m' H m / 2 - excess' m over m >= 0, for H positive semi-definite."""
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(H), 1e-300))
    scaled = H * scale * scale[:, None]
    try:
        R = np.linalg.cholesky(scaled + 1e-12 * np.eye(len(H))).T
        b = scipy.linalg.solve_triangular(R, excess * scale, trans="T")
        solution, _ = nnls(R, b, maxiter=50 * len(H))
    except (np.linalg.LinAlgError, RuntimeError):
        return None
    return np.asarray(solution * scale)


def spectral_radius(F: Array) -> float:
    """Largest modulus of the eigenvalues, 0 for an empty matrix."""
    return float(np.abs(np.linalg.eigvals(F)).max()) if len(F) else 0.0


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
    runs = model.signals.runs(data)
    windows = windows_of(runs, horizon)
    X = np.concatenate([run.X for run in runs])
    middle = X.mean(axis=0)
    reach = ESCAPED * np.maximum(np.abs(X - middle).max(axis=0), np.finfo(float).tiny)
    reach += ESCAPED * 2.0 * np.pi * model.coordinates.is_angle
    with np.errstate(all="ignore"):
        away = np.abs(model.rolled_out(windows.x0, windows.U, model.lifted_rollout) - middle)
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
    runs = model.signals.runs(data)
    windows, scale = windows_of(runs, horizon), state_scale(runs, model.coordinates)
    candidates = [model, stabilized(model, 1.0, data)]
    rollout = model.lifted_rollout
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
    scaled, unit = balanced(own)  # inputs are in units of their own
    compensation = np.linalg.lstsq(scaled, cross / unit[:, None], rcond=1e-12)[0] / unit[:, None]
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
