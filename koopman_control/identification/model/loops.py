"""Loops of `compiled`, for numba; importing this needs it.

The mathematics is that of `relift`, step by step. Sums may be reordered so that they use vector
instructions, so the last bits differ.
"""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from __future__ import annotations

import math

import numpy as np
from numba import njit

from koopman_control.common.arrays import Array
from koopman_control.identification.model.compiled import Constants, Feedback

TURN = 2.0 * np.pi
compiled = njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})


@compiled
def tanh_in_place(a: Array) -> None:
    """Replace a by tanh(a) = q / (q + 2) with q = exp(2 a) - 1, without branches.

    2 a / 64 is small, so that its series is short; six doublings q (q + 2) lead back.
    """
    for i in range(len(a)):
        r = min(max(a[i], -20.0), 20.0) / 32.0
        q = r * (1.0 / 15.0) + 1.0
        q = q * r * (1.0 / 14.0) + 1.0
        q = q * r * (1.0 / 13.0) + 1.0
        q = q * r * (1.0 / 12.0) + 1.0
        q = q * r * (1.0 / 11.0) + 1.0
        q = q * r * (1.0 / 10.0) + 1.0
        q = q * r * (1.0 / 9.0) + 1.0
        q = q * r * (1.0 / 8.0) + 1.0
        q = q * r * (1.0 / 7.0) + 1.0
        q = q * r * (1.0 / 6.0) + 1.0
        q = q * r * (1.0 / 5.0) + 1.0
        q = q * r * (1.0 / 4.0) + 1.0
        q = q * r * (1.0 / 3.0) + 1.0
        q = (q * r * 0.5 + 1.0) * r
        for _ in range(6):
            q *= q + 2.0
        a[i] = q / (q + 2.0) if a[i] == a[i] else a[i]


@compiled
def activate(code: int, a: Array, value: Array, slope: Array) -> None:
    """Evaluate the activation and its slope."""
    if code == 0:
        value[:] = a
        tanh_in_place(value)
        for i in range(len(a)):
            slope[i] = 1.0 - value[i] * value[i]
    elif code == 1:
        for i in range(len(a)):
            slope[i] = 1.0 if a[i] > 0.0 else 0.0
            value[i] = slope[i] * a[i]
    elif code == 2:
        for i in range(len(a)):
            value[i], slope[i] = math.sin(a[i]), math.cos(a[i])
    else:
        for i in range(len(a)):
            value[i] = max(a[i], 0.0) + math.log1p(math.exp(-abs(a[i])))
            slope[i] = 1.0 / (1.0 + math.exp(-a[i]))


@compiled
def evaluate(c: Constants, x: Array, e: Array, a: Array, h: Array, slope: Array) -> None:
    """Evaluate feature inputs e, features h and their slopes at a state x (d,)."""
    n, k = len(c.plain), len(c.angles)
    for j in range(n):
        e[j] = x[c.plain[j]]
    for j in range(k):
        e[n + j], e[n + k + j] = math.cos(x[c.angles[j]]), math.sin(x[c.angles[j]])
    a[:] = c.biases
    for j in range(len(e)):
        for i in range(len(a)):
            a[i] += c.weights[j, i] * e[j]
    activate(c.activation, a, h, slope)


@compiled
def free_step(
    c: Constants, x: Array, u: Array, e: Array, h: Array, gain: Array, x_next: Array
) -> None:
    """Advance x without limits to x_next (d,); also find the input matrix `gain` (m, d)."""
    d = len(x)
    for q in range(len(c.constant)):
        rate = c.constant[q]
        for j in range(len(e)):
            rate += c.linear[q, j] * e[j]
        for i in range(len(h)):
            rate += c.nonlinear[q, i] * h[i]
        if q < d:
            x_next[q] = x[q] + rate
        else:
            gain[q // d - 1, q % d] = rate
            x_next[q % d] += u[q // d - 1] * rate


@compiled
def stop(c: Constants, gain: Array, x_next: Array, excess: Array) -> float:
    """Let an effective input stop states at their limits; return its difference from the input."""
    hit, size, along = False, 0.0, 0.0
    for i in c.saturating:
        excess[i] = min(max(x_next[i], c.low[i]), c.high[i]) - x_next[i]
        if excess[i] != 0.0:
            hit = True
            size += gain[0, i] * gain[0, i]
            along += excess[i] * gain[0, i]
    if not hit:
        return 0.0
    correction = along / size if size > 0.0 else along
    for i in range(len(x_next)):
        x_next[i] += correction * gain[0, i]
    return correction


@compiled
def clip(c: Constants, excess: Array, x_next: Array) -> None:
    """Put states at the limits they would exceed."""
    for i in range(len(x_next)):
        if excess[i] > 0.0 or x_next[i] < c.low[i]:
            x_next[i] = c.low[i]
        elif excess[i] < 0.0 or x_next[i] > c.high[i]:
            x_next[i] = c.high[i]


@compiled
def regulate(c: Constants, r: Feedback, x: Array, u: Array) -> None:
    """Replace an input u (m,) by the regulator's at a state x."""
    u[:] = r.u
    for i in range(len(x)):
        deviation = x[i] - r.target[i]
        for k in c.angles:
            if k == i:
                deviation -= TURN * np.round(deviation / TURN)
        for j in range(len(u)):
            u[j] -= r.K[j, i] * deviation
    for j in range(len(u)):
        u[j] = min(max(u[j], r.box[0, j]), r.box[1, j])


@compiled
def roll_out(c: Constants, x0: Array, plans: Array, heads: Array, r: Feedback, X: Array) -> None:
    """Fill the states X (S, H, d); plans (S, H, m) from steps heads (S,) on are the regulator's."""
    d, m, n_h = len(x0), plans.shape[2], len(c.biases)
    e, x_next = np.empty(c.weights.shape[0]), np.empty(d)
    a, h, slope = np.empty(n_h), np.empty(n_h), np.empty(n_h)
    gain, excess = np.empty((m, d)), np.zeros(d)
    for s in range(len(plans)):
        x = x0
        for k in range(plans.shape[1]):
            if k >= heads[s]:
                regulate(c, r, x, plans[s, k])
            evaluate(c, x, e, a, h, slope)
            free_step(c, x, plans[s, k], e, h, gain, x_next)
            if len(c.saturating):
                stop(c, gain, x_next, excess)
            clip(c, excess, x_next)
            X[s, k] = x_next
            x = X[s, k]


@compiled
def smooth_jacobian(
    c: Constants, x: Array, u: Array, shift: float, e: Array, slope: Array, J: Array, F: Array
) -> None:
    """Differentiate the map without limits to the state: F (d, d), by way of J (d, e).

    `shift` is added to the first input.
    """
    d, n, k = len(x), len(c.plain), len(c.angles)
    F[:] = 0.0
    for i in range(d):
        for j in range(len(e)):
            total = 0.0
            for b in range(1 + len(u)):
                weight = 1.0 if b == 0 else u[b - 1] + (shift if b == 1 else 0.0)
                q, part = b * d + i, 0.0
                for f in range(len(slope)):
                    part += c.nonlinear[q, f] * slope[f] * c.weights[j, f]
                total += weight * (c.linear[q, j] + part)
            J[i, j] = total
        for j in range(n):
            F[i, c.plain[j]] = J[i, j]
        for j in range(k):
            F[i, c.angles[j]] = e[n + j] * J[i, n + k + j] - e[n + k + j] * J[i, n + j]
        F[i, i] += 1.0


@compiled
def hold(gain: Array, excess: Array, F: Array, G: Array) -> None:
    """Let the effective input undo what would move the states that a limit holds."""
    d, size = len(F), 0.0
    for i in range(d):
        if excess[i] != 0.0:
            size += gain[0, i] * gain[0, i]
    inverse = 1.0 / size if size > 0.0 else 1.0
    for j in range(d):
        moved = 0.0
        for i in range(d):
            if excess[i] != 0.0:
                moved += gain[0, i] * F[i, j]
        for i in range(d):
            F[i, j] -= gain[0, i] * inverse * moved
    for i in range(d):
        G[i, 0] = gain[0, i] * (1.0 - inverse * size)


@compiled
def sensitivity(c: Constants, x0: Array, X: Array, U: Array, Gamma: Array) -> None:
    """Differentiate states X (S, H, d) to inputs U (S, H, m); Gamma (S, H, d, H m) is zero."""
    d, m, n_h = len(x0), U.shape[2], len(c.biases)
    e, x_next = np.empty(c.weights.shape[0]), np.empty(d)
    a, h, slope = np.empty(n_h), np.empty(n_h), np.empty(n_h)
    gain, excess = np.empty((m, d)), np.zeros(d)
    F, G, J = np.empty((d, d)), np.empty((d, m)), np.empty((d, len(e)))
    for s in range(len(U)):
        x = x0
        for k in range(U.shape[1]):
            evaluate(c, x, e, a, h, slope)
            free_step(c, x, U[s, k], e, h, gain, x_next)
            shift = stop(c, gain, x_next, excess) if len(c.saturating) else 0.0
            smooth_jacobian(c, x, U[s, k], shift, e, slope, J, F)
            G[:] = gain.T
            if np.any(excess != 0.0):
                hold(gain, excess, F, G)
            for i in range(d):
                if x_next[i] < c.low[i] or x_next[i] > c.high[i] or excess[i] != 0.0:
                    F[i], G[i] = 0.0, 0.0
            chain(F, G, k, Gamma[s])
            x = X[s, k]


@compiled
def chain(F: Array, G: Array, k: int, Gamma: Array) -> None:
    """Add step k to the derivatives Gamma (H, d, H m) of all states to all inputs."""
    d, m = G.shape
    for i in range(d):
        if k:
            for j in range(d):
                for q in range(k * m):
                    Gamma[k, i, q] += F[i, j] * Gamma[k - 1, j, q]
        for q in range(m):
            Gamma[k, i, k * m + q] = G[i, q]
