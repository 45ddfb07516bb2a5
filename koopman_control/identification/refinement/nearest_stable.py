"""The nearest stable matrix, in a weighted norm.

Eigenvalues are brought inside a circle by a small change E in |E L|_F. The problem is not convex
(Noferini & Poloni, "Nearest Omega-stable matrix via Riemannian optimization", 2021, arXiv
2002.07052). Here it is solved by successive linearisation: to first order an eigenvalue with left
and right vectors y, x moves by y* E x / y* x, so each round is a small non-negative least-squares
problem in the multipliers of the eigenvalues at the circle, and every correction is of low rank. A
clipped Schur form, in coordinates where L = 1, is always there as a start and as the last resort,
whatever the eigenvectors are like.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.optimize import nnls

from koopman_control.common.arrays import Array
from koopman_control.identification.least_squares.factor import decomposed, triangular

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
    values, left, right = _eigen(now)
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


def _eigen(F: Array) -> tuple[Complex, Complex, Complex]:
    """Return eigenvalues, left and right eigenvectors."""
    values, left, right = scipy.linalg.eig(F, left=True, right=True)  # type: ignore[misc]
    return values, left, right


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
