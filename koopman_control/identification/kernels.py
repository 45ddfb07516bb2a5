"""Loops of `compiled_rollouts`, for numba; importing this needs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

from koopman_control.common.arrays import Array
from koopman_control.identification.kernel_arrays import Constants, Features, Point, Regulator
from koopman_control.identification.smoothing_loops import filter_run, smooth_back

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

Loop = TypeVar("Loop", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract"},
    "forceinline": True,
}


def compiled(loop: Loop, **changes: Any) -> Loop:
    """Compile a loop, and keep it beside this file or in the user's cache for the next process.

    Where neither can be written, every process compiles for itself.
    """
    options = OPTIONS | changes
    try:
        fast: Loop = njit(cache=True, **options)(loop)
    except RuntimeError:  # numba: "no locator available"
        fast = njit(**options)(loop)
    return fast


def compiled_once(loop: Loop) -> Loop:
    """Compile a long loop that several call once, not into each of them."""
    return compiled(loop, forceinline=False)


def forget_kept() -> None:
    """Forget compiled loops that earlier processes kept: numba cannot tell an older version's."""
    for loop in globals().values():
        cache = getattr(loop, "_cache", None)
        if cache is not None:
            cache.flush()


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
def activate(code: int, a: Array, slope: Array) -> None:
    """Replace arguments a by the activation, and find its slopes."""
    if code == 0:
        tanh_in_place(a)
        for i in range(len(a)):
            slope[i] = 1.0 - a[i] * a[i]
    elif code == 1:
        for i in range(len(a)):
            slope[i] = 1.0 if a[i] > 0.0 else 0.0
            a[i] *= slope[i]
    elif code == 2:
        for i in range(len(a)):
            slope[i], a[i] = math.cos(a[i]), math.sin(a[i])
    else:
        for i in range(len(a)):
            slope[i] = 1.0 / (1.0 + math.exp(-a[i]))
            a[i] = max(a[i], 0.0) + math.log1p(math.exp(-abs(a[i])))


@compiled
def somewhere(f: Features) -> Point:
    """Make room for a point."""
    e, n = f.weights.shape
    v = n + e + len(f.parents)
    return Point(np.empty(e), np.empty(v), np.empty(n), np.empty(v), np.empty(e))


@compiled
def evaluate(f: Features, at: Point) -> None:
    """Evaluate features at a point's inputs."""
    weights, biases, center, scale = f.weights, f.biases, f.center, f.scale
    inputs, values = at.inputs, at.values
    e, n = weights.shape
    neurons = values[:n]
    for i in range(n):
        neurons[i] = biases[i]
    for j in range(e):
        values[n + j] = (inputs[j] - center[j]) / scale[j]
        for i in range(n):
            neurons[i] += weights[j, i] * inputs[j]
    start, codes, ends, slopes = 0, f.codes, f.ends, at.slopes
    for k in range(len(codes)):
        end = ends[k]
        activate(codes[k], neurons[start:end], slopes[start:end])
        start = end
    parents, factors = f.parents, f.factors
    for i in range(len(parents)):
        values[n + e + i] = values[parents[i]] * values[factors[i]]


@compiled
def pull_back(f: Features, at: Point) -> None:
    """Turn a point's adjoint into its gradient; what the adjoint held is lost."""
    weights, scale, parents, factors = f.weights, f.scale, f.parents, f.factors
    adjoint, values, slopes, gradient = at.adjoint, at.values, at.slopes, at.gradient
    e, n = weights.shape
    for i in range(len(parents) - 1, -1, -1):
        along = adjoint[n + e + i]
        adjoint[parents[i]] += along * values[factors[i]]
        adjoint[factors[i]] += along * values[parents[i]]
    for i in range(n):
        adjoint[i] *= slopes[i]
    for j in range(e):
        total = adjoint[n + j] / scale[j]
        for i in range(n):
            total += adjoint[i] * weights[j, i]
        gradient[j] = total


TURN = 2.0 * np.pi


@compiled
def embed(c: Constants, x: Array, e: Array) -> None:
    """Find the feature inputs e of a state x (d,)."""
    plain, angles = c.plain, c.angles
    n, k = len(plain), len(angles)
    for j in range(n):
        e[j] = x[plain[j]]
    for j in range(k):
        e[n + j], e[n + k + j] = math.cos(x[angles[j]]), math.sin(x[angles[j]])


@compiled
def free_step(
    c: Constants, x: Array, u: Array, at: Point, entering: Point, gain: Array, x_next: Array
) -> None:
    """Advance x without limits to x_next (d,); also find the input matrix `gain` (q, d)."""
    embed(c, x, at.inputs)
    evaluate(c.features, at)
    entering.inputs[:] = u
    evaluate(c.inputs, entering)
    d, psi, v = len(x), at.values, entering.values
    constant, coefficients = c.constant, c.coefficients
    for b in range(1 + len(gain)):
        for j in range(d):
            r = b * d + j
            rate = constant[r]
            for i in range(len(psi)):
                rate += coefficients[r, i] * psi[i]
            if b == 0:
                x_next[j] = x[j] + rate
            else:
                gain[b - 1, j] = rate
                x_next[j] += v[b - 1] * rate


@compiled
def pseudo_inverse(c: Constants, gain: Array, held: Array) -> Array:
    """Pseudo-invert (q, d) where only the held states count, shape (d, q); zero if not finite.

    States and inputs count in their sizes.
    """
    scale = c.input_sizes.reshape(-1, 1) / c.state_sizes
    limited = gain * held * scale
    if len(gain) == 1:
        size = np.sum(limited * limited)
        return np.ascontiguousarray((limited / (size if size > 0.0 else 1.0) * scale).T)
    if not np.all(np.isfinite(limited)):
        return np.zeros_like(limited.T)
    return np.ascontiguousarray(np.linalg.pinv(limited)) * scale.T


@compiled
def stop(c: Constants, gain: Array, x_next: Array, excess: Array, correction: Array) -> None:
    """Let an effective input stop states at their limits; find its difference from the input."""
    hit, low, high, saturating = False, c.low, c.high, c.saturating
    correction[:] = 0.0
    for i in saturating:
        excess[i] = min(max(x_next[i], low[i]), high[i]) - x_next[i]
        hit |= excess[i] != 0.0
    if not hit:
        return
    inverse = pseudo_inverse(c, gain, excess != 0.0)
    for b in range(len(gain)):
        for i in saturating:
            correction[b] += excess[i] * inverse[i, b]
        for i in range(len(x_next)):
            x_next[i] += correction[b] * gain[b, i]


@compiled
def clip(c: Constants, excess: Array, x_next: Array) -> None:
    """Put states at the limits they would exceed."""
    low, high = c.low, c.high
    for i in range(len(x_next)):
        if excess[i] > 0.0 or x_next[i] < low[i]:
            x_next[i] = low[i]
        elif excess[i] < 0.0 or x_next[i] > high[i]:
            x_next[i] = high[i]


@compiled
def regulate(c: Constants, r: Regulator, x: Array, before: Array, u: Array) -> None:
    """Replace an input u (m,) by the regulator's at a state x, after an input `before`."""
    u[:] = r.u
    for i in range(len(x)):
        deviation = x[i] - r.target[i]
        for k in c.angles:
            if k == i:
                deviation -= TURN * np.round(deviation / TURN)
        for j in range(len(u)):
            u[j] -= r.K[j, i] * deviation
    for i in range(r.L.shape[1]):
        change = before[i] - r.u[i]
        for j in range(len(u)):
            u[j] -= r.L[j, i] * change
    for j in range(len(u)):
        u[j] = min(max(u[j], r.box[0, j]), r.box[1, j])


@compiled
def roll_out(c: Constants, x0: Array, plans: Array, heads: Array, r: Regulator, X: Array) -> None:
    """Fill the states X (S, H, d); plans (S, H, m) from steps heads (S,) on are the regulator's."""
    d, q = len(x0), len(c.constant) // len(x0) - 1
    at, entering = somewhere(c.features), somewhere(c.inputs)
    x_next, gain, excess, correction = np.empty(d), np.empty((q, d)), np.zeros(d), np.zeros(q)
    for s in range(len(plans)):
        x = x0
        for k in range(plans.shape[1]):
            if k >= heads[s]:
                regulate(c, r, x, plans[s, k - 1] if k else r.before, plans[s, k])
            free_step(c, x, plans[s, k], at, entering, gain, x_next)
            if len(c.saturating):
                stop(c, gain, x_next, excess, correction)
            clip(c, excess, x_next)
            X[s, k] = x_next
            x = X[s, k]


@compiled
def differentiate(
    c: Constants, at: Point, first: int, stride: int, weights: Array, out: Array
) -> None:
    """Differentiate rates first, first + stride, ..., so weighted, to the state; `out` (d,)."""
    plain, angles, coefficients = c.plain, c.angles, c.coefficients
    n, k, e, J, adjoint = len(plain), len(angles), at.inputs, at.gradient, at.adjoint
    adjoint[:] = 0.0
    for b in range(len(weights)):
        for i in range(len(adjoint)):
            adjoint[i] += weights[b] * coefficients[first + b * stride, i]
    pull_back(c.features, at)
    for j in range(n):
        out[plain[j]] = J[j]
    for j in range(k):
        out[angles[j]] = e[n + j] * J[n + k + j] - e[n + k + j] * J[n + j]


@compiled
def hold(c: Constants, at: Point, gain: Array, excess: Array, F: Array, G: Array) -> None:
    """Let the effective input undo what would move the states that a limit holds."""
    d, q = G.shape
    inverse = pseudo_inverse(c, gain, excess != 0.0)
    for i in range(d):  # without what moves only the others
        if excess[i] == 0.0:
            inverse[i] = 0.0
    undone_F, undone_G = np.zeros((q, d)), np.zeros((q, q))
    for b in range(q):
        for i in range(d):
            undone_F[b] += inverse[i, b] * F[i]
            undone_G[b] += inverse[i, b] * G[i]
    if q > 1:  # the smallest of several corrections turns as the gains change with x
        correction, multiplier, turned = np.zeros(q), np.zeros(d), np.empty(d)
        for i in range(d):
            correction += inverse[i] * excess[i]
        for i in range(d):
            multiplier[i] = np.sum(inverse[i] * correction / c.input_sizes**2)
        for b in range(q):
            differentiate(c, at, (1 + b) * d, 1, multiplier, turned)
            for i in range(d):
                free = G[i, b] - np.sum(G[i] * undone_G[:, b])
                F[i] += free * c.input_sizes[b] ** 2 * turned
    for i in range(d):
        for b in range(q):
            F[i] -= gain[b, i] * undone_F[b]
        for b in range(q):
            G[i, b] -= np.sum(gain[:, i] * undone_G[:, b])


@compiled_once
def linearize(
    c: Constants,
    x: Array,
    u: Array,
    points: tuple[Point, Point],
    room: tuple[Array, Array, Array],
    x_next: Array,
    F: Array,
    G: Array,
) -> None:
    """Advance x to x_next (d,), not yet clipped; find its derivatives F (d, d) and G (d, m)."""
    (at, entering), (gain, excess, correction) = points, room
    free_step(c, x, u, at, entering, gain, x_next)
    if len(c.saturating):
        stop(c, gain, x_next, excess, correction)
    weights = np.ones(1 + len(gain))
    weights[1:] = entering.values + correction
    for i in range(len(x)):
        differentiate(c, at, i, len(x), weights, F[i])
        F[i, i] += 1.0
        entering.adjoint[:] = gain[:, i]
        pull_back(c.inputs, entering)
        G[i] = entering.gradient
    if np.any(excess != 0.0):
        hold(c, at, gain, excess, F, G)
    for i in range(len(x)):
        if x_next[i] < c.low[i] or x_next[i] > c.high[i] or excess[i] != 0.0:
            F[i], G[i] = 0.0, 0.0


@compiled
def step(c: Constants, x: Array, u: Array, x_next: Array, F: Array) -> None:
    """Advance x under u to x_next (d,), and find the derivative F (d, d) to x."""
    d, q = len(x), len(c.constant) // len(x) - 1
    points = somewhere(c.features), somewhere(c.inputs)
    excess = np.zeros(d)
    room = np.empty((q, d)), excess, np.zeros(q)
    linearize(c, x, u, points, room, x_next, F, np.empty((d, len(u))))
    clip(c, excess, x_next)


@compiled
def sensitivity(c: Constants, x0: Array, X: Array, U: Array, Gamma: Array) -> None:
    """Differentiate states X (S, H, d) to inputs U (S, H, m); Gamma (S, H, d, H m) is zero."""
    d, q = len(x0), len(c.constant) // len(x0) - 1
    points, x_next = (somewhere(c.features), somewhere(c.inputs)), np.empty(d)
    room = np.empty((q, d)), np.zeros(d), np.zeros(q)
    F, G = np.empty((d, d)), np.empty((d, U.shape[2]))
    for s in range(len(U)):
        x = x0
        for k in range(U.shape[1]):
            linearize(c, x, U[s, k], points, room, x_next, F, G)
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


compiled_filter_run, compiled_smooth_back = compiled(filter_run), compiled(smooth_back)
