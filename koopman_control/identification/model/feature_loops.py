"""Loops that evaluate and differentiate features, for numba; importing this needs it.

They are compiled into those of `loops`, whose cache does not notice a change here: touch that file.
"""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from __future__ import annotations

import math

import numpy as np
from numba import njit

from koopman_control.common.arrays import Array
from koopman_control.identification.model.covered_features import Features, Point

compiled = njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"}, forceinline=True)


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
