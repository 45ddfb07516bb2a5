"""Loops of `output_error`, for numba; importing this needs it."""

from __future__ import annotations

import math

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.kernel_arrays import FreeRun, Point
from koopman_control.identification.kernels import compiled, evaluate, pull_back, somewhere

# mypy: disable-error-code="no-untyped-call, untyped-decorator"


@compiled
def regressors(c: FreeRun, x: Array, v: Array, at: Point, psi: Array, row: Array) -> None:
    """Find psi = [1, standardised feature inputs, features] and all regressors at (x, v)."""
    e = at.inputs
    n, k = len(c.plain), len(c.angles)
    for j in range(n):
        e[j] = x[c.plain[j]]
    for j in range(k):
        e[n + j], e[n + k + j] = math.cos(x[c.angles[j]]), math.sin(x[c.angles[j]])
    evaluate(c.features, at)
    psi[0] = 1.0
    for j in range(len(e)):
        psi[1 + j] = (e[j] - c.center[j]) / c.scale[j]
    first = 1 + len(e)
    for i in range(len(c.places)):
        psi[first + i] = at.values[c.places[i]]
    n_psi = len(psi)
    row[:n_psi] = psi
    if c.bilinear:
        for b in range(len(v)):
            for i in range(n_psi):
                row[(1 + b) * n_psi + i] = v[b] * psi[i]
    else:
        for b in range(len(v)):
            row[n_psi + b] = v[b]


@compiled
def slopes(c: FreeRun, theta: Array, v: Array, at: Point, weights: Array, out: Array) -> None:
    """Differentiate theta (k,) times the regressors to the state; `out` has shape (d,)."""
    n_psi = len(weights)
    for i in range(n_psi):
        weights[i] = theta[i]
        if c.bilinear:
            for b in range(len(v)):
                weights[i] += v[b] * theta[(1 + b) * n_psi + i]
    e, adjoint, J = at.inputs, at.adjoint, at.gradient
    adjoint[:] = 0.0
    first = 1 + len(e)
    for i in range(len(c.places)):
        adjoint[c.places[i]] += weights[first + i]
    pull_back(c.features, at)
    for j in range(len(e)):
        J[j] += weights[1 + j] / c.scale[j]
    n, k = len(c.plain), len(c.angles)
    for j in range(n):
        out[c.plain[j]] = J[j]
    for j in range(k):
        out[c.angles[j]] = e[n + j] * J[n + k + j] - e[n + k + j] * J[n + j]


@compiled
def free_run(c: FreeRun, theta: Array, x0: Array, U: Array, V: Array, Y: Array) -> int:
    """Simulate outputs Y (H, p) from a state x0 (d,); return the steps that stayed finite."""
    p, memory, m = Y.shape[1], c.memory, U.shape[1]
    x, now = x0.copy(), np.empty(p)
    at = somewhere(c.features)
    psi, row = np.empty(1 + len(c.center) + len(c.places)), np.empty(theta.shape[1])
    for t in range(len(U)):
        regressors(c, x, V[t], at, psi, row)
        for a in range(p):
            now[a] = 0.0
            for i in range(len(row)):
                now[a] += theta[a, i] * row[i]
        if not advance(c, x, now, U[t], p, m, memory):
            return t
        for a in range(p):
            Y[t, a] = x[a]
    return len(U)


@compiled
def free_runs(c: FreeRun, theta: Array, X0: Array, U: Array, V: Array, Y: Array) -> bool:
    """Simulate outputs Y (W, H, p) from states X0 (W, d); stop at the first that diverges."""
    for w in range(len(X0)):
        if free_run(c, theta, X0[w], U[w], V[w], Y[w]) < U.shape[1]:
            return False
    return True


@compiled
def advance(c: FreeRun, x: Array, now: Array, u: Array, p: int, m: int, memory: int) -> bool:
    """Move a state on by increments `now` (p,), in place; say whether it is still finite."""
    for j in range(memory - 1, 0, -1):
        for a in range(p):
            x[p + j * p + a] = x[p + (j - 1) * p + a]
    first = p * (1 + memory)
    for j in range(memory - 1, 0, -1):
        for b in range(m):
            x[first + j * m + b] = x[first + (j - 1) * m + b]
    if memory > 0:
        for a in range(p):
            x[p + a] = now[a]
        for b in range(m):
            x[first + b] = u[b]
    for a in range(p):
        x[a] = min(max(x[a] + now[a], c.low[a]), c.high[a])
        if not abs(now[a]) < c.largest[a]:
            return False
    return True


@compiled
def sensitive_run(
    c: FreeRun, theta: Array, x0: Array, U: Array, V: Array, Y: Array, J: Array
) -> int:
    """Simulate as `free_run` does, with derivatives J (H, p, s + p k).

    The first s = p (1 + memory) columns are those to the present outputs and steps of x0, the
    others those to theta (p, k) by rows.
    """
    p, memory, m = Y.shape[1], c.memory, U.shape[1]
    k, d, s = theta.shape[1], len(x0), p * (1 + memory)
    n = J.shape[2]
    x, now, row = x0.copy(), np.empty(p), np.empty(k)
    at = somewhere(c.features)
    n_psi = 1 + len(c.center) + len(c.places)
    psi, weights, F = np.empty(n_psi), np.empty(n_psi), np.empty(d)
    S, D = np.zeros((s, n)), np.empty((p, n))  # derivatives of the state, and of its increments
    for i in range(s):
        S[i, i] = 1.0
    for t in range(len(U)):
        regressors(c, x, V[t], at, psi, row)
        for a in range(p):
            now[a] = 0.0
            for i in range(k):
                now[a] += theta[a, i] * row[i]
            slopes(c, theta[a], V[t], at, weights, F)
            D[a] = 0.0
            for j in range(s):
                w = F[j]
                if w != 0.0:
                    for i in range(n):
                        D[a, i] += w * S[j, i]
            for i in range(k):
                D[a, s + a * k + i] += row[i]
        for j in range(memory - 1, 0, -1):
            for a in range(p):
                S[p + j * p + a] = S[p + (j - 1) * p + a]
        for a in range(p):
            free = x[a] + now[a]
            if memory > 0:
                S[p + a] = D[a]
            if free < c.low[a] or free > c.high[a]:
                S[a] = 0.0
            else:
                S[a] += D[a]
        if not advance(c, x, now, U[t], p, m, memory):
            return t
        for a in range(p):
            Y[t, a] = x[a]
            J[t, a] = S[a]
    return len(U)


@compiled
def sensitive_runs(
    c: FreeRun, theta: Array, X0: Array, U: Array, V: Array, Y: Array, J: Array
) -> bool:
    """Simulate as `free_runs` does, with derivatives J (W, H, p, s + p k)."""
    for w in range(len(X0)):
        if sensitive_run(c, theta, X0[w], U[w], V[w], Y[w], J[w]) < U.shape[1]:
            return False
    return True
