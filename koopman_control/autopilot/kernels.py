"""Loops of `search`, for numba; importing this needs it.

Plans are rolled out LANES at a time in single precision, each array's last axis running over the
plans of a block, so that every inner loop is one vector instruction or a few. Nothing is kept that
the return does not need: each neuron's value is added to what it leads to as soon as it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

Array = NDArray[np.float32]

LANES = 64
F = np.float32
ZERO, HALF, ONE, TWO = F(0.0), F(0.5), F(1.0), F(2.0)
EDGE = F(7.9)
# tanh(x) = x P(x^2) / Q(x^2), a minimax approximation to a few units in the last place.
P0, P1, P2, P3 = (
    F(4.89352455891786e-03),
    F(6.37261928875436e-04),
    F(1.48572235717979e-05),
    F(5.12229709037114e-08),
)
P4, P5, P6 = F(-8.60467152213735e-11), F(2.00018790482477e-13), F(-2.76076847742355e-16)
Q0, Q1, Q2, Q3 = (
    F(4.89352518554385e-03),
    F(2.26843463243900e-03),
    F(1.18534705686654e-04),
    F(1.19825839466702e-06),
)
TURN, PER_TURN = F(2.0 * np.pi), F(0.5 / np.pi)
# Taylor coefficients of sine and cosine, for arguments up to a quarter turn.
S3, S5, S7, S9 = F(-1.0 / 6.0), F(1.0 / 120.0), F(-1.0 / 5040.0), F(1.0 / 362880.0)
C2, C4, C6, C8 = F(-0.5), F(1.0 / 24.0), F(-1.0 / 720.0), F(1.0 / 40320.0)
C10 = F(-1.0 / 3628800.0)

NOTHING = F(-1e30)  # what a plan is worth that drives the model out of its range


class Dynamics(NamedTuple):
    """A re-lifted map: dx = (constant + linear e + e' quadratic e + K tanh(W e + b)) [1, u].

    Args:
        plain: States that are feature inputs themselves.
        angles: States that are angles.
        W: Shape (n, e), both filled up with zeros to multiples of 4 and 2.
        b: Shape (n,).
        K: Shape ((1 + m) d, n): drift first, then the gain of each input.
        linear: Shape ((1 + m) d, e).
        quadratic: Upper triangular, shape ((1 + m) d, e, e), or (0, e, e) for none.
        constant: Shape ((1 + m) d,).
        low: Lower limits of the states, shape (d,).
        high: Upper limits, shape (d,).
        stops: Whether the plant holds a state at its limit, by an effective input, shape (d,).
    """

    plain: np.ndarray
    angles: np.ndarray
    W: Array
    b: Array
    K: Array
    linear: Array
    quadratic: Array
    constant: Array
    low: Array
    high: Array
    stops: np.ndarray


class ReadOut(NamedTuple):
    """Functions constant + linear z + z' quadratic z + K tanh(W z + b), clipped; r of them.

    Args:
        W: Shape (n, z), filled up with zeros to multiples of 4 and 2.
        b: Shape (n,).
        K: Shape (r, n).
        linear: Shape (r, z).
        quadratic: Upper triangular, shape (r, z, z), or (0, z, z) for none.
        constant: Shape (r,).
        low: Shape (r,).
        high: Shape (r,).
    """

    W: Array
    b: Array
    K: Array
    linear: Array
    quadratic: Array
    constant: Array
    low: Array
    high: Array


class Objective(NamedTuple):
    """What a plan is worth.

    Args:
        reward: Of [e, u]: the reward, and what of it belongs to the state before.
        after: Whether e is that of the state after the step, or before it.
        of_state: Of e after each step: whether the episode ends (above a half), the reward of a
            step that ends it, and how little is known of the place.
        end_low: The episode ends below, shape (d,).
        end_high: The episode ends above, shape (d,).
        value: Of e after the last step: what is still to come.
        discount: Of each step.
        unknown: Worth of unknown places, per step.
        hold: Steps of the model that each input of a plan is held for.
        trusted_low: The model is not to be trusted below, shape (d,).
        trusted_high: Nor above, shape (d,).
        distrust: Worth of every step outside.
    """

    reward: ReadOut
    after: bool
    of_state: ReadOut
    end_low: Array
    end_high: Array
    value: ReadOut
    discount: float
    unknown: float
    hold: int
    trusted_low: Array
    trusted_high: Array
    distrust: float


Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile a loop, and keep it beside this file or in the user's cache for the next process."""
    options: dict[str, Any] = {
        "error_model": "numpy",
        "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    }
    try:
        fast: Loop = njit(cache=True, **options)(loop)
    except RuntimeError:  # numba: "no locator available"
        fast = njit(**options)(loop)
    return fast


@compiled
def angle_pair(x: Array, cosine: Array, sine: Array) -> None:
    """Find cosines and sines of LANES angles, through those of half the angle."""
    for v in range(LANES):
        r = x[v] * PER_TURN
        h = (r - np.floor(r + HALF)) * TURN * HALF
        q = h * h
        s = h * (ONE + q * (S3 + q * (S5 + q * (S7 + q * S9))))
        c = ONE + q * (C2 + q * (C4 + q * (C6 + q * (C8 + q * C10))))
        sine[v], cosine[v] = TWO * s * c, ONE - TWO * s * s


@compiled
def curve(P: Array, Z: Array, out: Array, H: Array) -> None:
    """Add z' P z to `out` (r, LANES), for inputs Z (e, LANES) and upper triangular P (r, e, e)."""
    for r in range(P.shape[0]):
        for i in range(P.shape[1]):
            for v in range(LANES):
                H[0, v] = ZERO
            for j in range(i, P.shape[1]):
                a = P[r, i, j]
                for v in range(LANES):
                    H[0, v] += a * Z[j, v]
            for v in range(LANES):
                out[r, v] += H[0, v] * Z[i, v]


@compiled
def read_out(W: Array, b: Array, K: Array, Z: Array, out: Array, H: Array) -> None:
    """Add K tanh(W z + b) to `out` (r, LANES), for inputs Z (e, LANES).

    Four neurons and two inputs at a time, so that what is in registers is used more than once; W
    (n, e) and K (r, n) are filled up with zeros to multiples of that. H (4, LANES) is room.
    """
    n, e = W.shape
    for i in range(0, n, 4):
        for v in range(LANES):
            H[0, v], H[1, v], H[2, v], H[3, v] = b[i], b[i + 1], b[i + 2], b[i + 3]
        for j in range(0, e, 2):
            a0, a1, a2, a3 = W[i, j], W[i + 1, j], W[i + 2, j], W[i + 3, j]
            c0, c1, c2, c3 = W[i, j + 1], W[i + 1, j + 1], W[i + 2, j + 1], W[i + 3, j + 1]
            for v in range(LANES):
                y, z = Z[j, v], Z[j + 1, v]
                H[0, v] += a0 * y + c0 * z
                H[1, v] += a1 * y + c1 * z
                H[2, v] += a2 * y + c2 * z
                H[3, v] += a3 * y + c3 * z
        for r in range(4):
            for v in range(LANES):
                x = min(max(H[r, v], -EDGE), EDGE)
                q = x * x
                p = P0 + q * (P1 + q * (P2 + q * (P3 + q * (P4 + q * (P5 + q * P6)))))
                H[r, v] = x * p / (Q0 + q * (Q1 + q * (Q2 + q * Q3)))
        for r in range(K.shape[0]):
            a0, a1, a2, a3 = K[r, i], K[r, i + 1], K[r, i + 2], K[r, i + 3]
            for v in range(LANES):
                out[r, v] += a0 * H[0, v] + a1 * H[1, v] + a2 * H[2, v] + a3 * H[3, v]


@compiled
def evaluate(f: ReadOut, Z: Array, out: Array, H: Array) -> None:
    """Fill `out` (r, LANES) with functions of Z (z, LANES)."""
    z = f.linear.shape[1]
    for r in range(len(f.constant)):
        c = f.constant[r]
        for v in range(LANES):
            out[r, v] = c
        for j in range(z):
            a = f.linear[r, j]
            for v in range(LANES):
                out[r, v] += a * Z[j, v]
    curve(f.quadratic, Z, out, H)
    read_out(f.W, f.b, f.K, Z, out, H)
    for r in range(len(f.constant)):
        low, high = f.low[r], f.high[r]
        for v in range(LANES):
            out[r, v] = min(max(out[r, v], low), high)


@compiled
def embed(c: Dynamics, X: Array, Z: Array) -> None:
    """Fill the first rows of Z with the feature inputs of states X (d, LANES)."""
    n, k = len(c.plain), len(c.angles)
    for j in range(n):
        i = c.plain[j]
        for v in range(LANES):
            Z[j, v] = X[i, v]
    for j in range(k):
        angle_pair(X[c.angles[j]], Z[n + j], Z[n + k + j])


@compiled
def advance(c: Dynamics, X: Array, Z: Array, U: Array, rates: Array, H: Array) -> None:
    """Advance states X (d, LANES), whose feature inputs are Z, under inputs U (m, LANES)."""
    d, m = X.shape[0], U.shape[0]
    for r in range((1 + m) * d):
        a = c.constant[r]
        for v in range(LANES):
            rates[r, v] = a
        for j in range(c.linear.shape[1]):
            a = c.linear[r, j]
            for v in range(LANES):
                rates[r, v] += a * Z[j, v]
    curve(c.quadratic, Z, rates, H)
    read_out(c.W, c.b, c.K, Z, rates, H)
    for i in range(d):
        for v in range(LANES):
            X[i, v] += rates[i, v]
        for b in range(m):
            for v in range(LANES):
                X[i, v] += U[b, v] * rates[(1 + b) * d + i, v]
    for i in range(d):
        if c.stops[i] and m == 1:
            for v in range(LANES):
                excess = min(max(X[i, v], c.low[i]), c.high[i]) - X[i, v]
                gain = rates[d + i, v]
                if excess != ZERO and gain != ZERO:
                    for k in range(d):
                        X[k, v] += excess / gain * rates[d + k, v]
    for i in range(d):
        low, high = c.low[i], c.high[i]
        for v in range(LANES):
            X[i, v] = min(max(X[i, v], low), high)


@compiled
def returns(c: Dynamics, g: Objective, x0: Array, plans: Array, J: NDArray[np.float64]) -> None:
    """Fill J (S,) with what plans (S, N, m) are worth from x0 (d,)."""
    S, N, m = plans.shape
    d, e = len(x0), len(c.plain) + 2 * len(c.angles)
    f32 = np.float32
    X, U = np.zeros((d, LANES), f32), np.zeros((m, LANES), f32)
    Z = np.zeros((max(c.W.shape[1], g.of_state.W.shape[1]), LANES), f32)
    V = np.zeros((g.reward.W.shape[1], LANES), f32)
    rates, H = np.zeros(((1 + m) * d, LANES), f32), np.zeros((4, LANES), f32)
    paid, told = np.zeros((2, LANES), f32), np.zeros((3, LANES), f32)
    worth, alive, due = np.zeros(LANES, f32), np.zeros(LANES, f32), np.zeros(LANES, f32)
    discount, unknown, distrust = f32(g.discount), f32(g.unknown), f32(g.distrust)
    n_told, n_paid = len(g.of_state.constant), len(g.reward.constant)
    for first in range(0, S, LANES):
        size = min(LANES, S - first)
        for i in range(d):
            for v in range(LANES):
                X[i, v] = x0[i]
        for v in range(LANES):
            worth[v], alive[v] = ZERO, ONE
        embed(c, X, Z)
        factor = ONE
        for k in range(N * g.hold):
            for b in range(m):
                for v in range(size):
                    U[b, v] = plans[first + v, k // g.hold, b]
                for v in range(LANES):
                    V[e + b, v] = U[b, v]
            if not g.after:
                for j in range(e):
                    for v in range(LANES):
                        V[j, v] = Z[j, v]
                evaluate(g.reward, V, paid, H)
            elif n_paid > 1:  # the state before has been evaluated as the one after
                for v in range(LANES):
                    due[v] = paid[1, v] if k else ZERO
            advance(c, X, Z, U, rates, H)
            embed(c, X, Z)
            if g.after:
                for j in range(e):
                    for v in range(LANES):
                        V[j, v] = Z[j, v]
                evaluate(g.reward, V, paid, H)
            if n_told:
                evaluate(g.of_state, Z, told, H)
            for v in range(LANES):
                over = lost = False
                for i in range(d):
                    over |= (X[i, v] < g.end_low[i]) | (X[i, v] > g.end_high[i])
                    lost |= (X[i, v] < g.trusted_low[i]) | (X[i, v] > g.trusted_high[i])
                if lost:
                    worth[v] += factor * alive[v] * distrust
                if n_told:
                    over |= told[0, v] > HALF
                    worth[v] += factor * alive[v] * unknown * told[2, v]
                if over:
                    worth[v] += factor * alive[v] * told[1, v]
                    alive[v] = ZERO
                worth[v] += factor * alive[v] * (paid[0, v] + due[v])
            factor *= discount
        if len(g.value.constant):
            evaluate(g.value, Z, told, H)
            for v in range(LANES):
                worth[v] += factor * alive[v] * told[0, v]
        for v in range(size):
            J[first + v] = worth[v] if np.isfinite(worth[v]) else NOTHING
