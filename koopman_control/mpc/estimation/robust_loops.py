"""The algebra of the robust filter as a compiled loop, for the control loop; importing needs numba.

For states as few as these, calls of NumPy's routines take most of the time of a step.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.identification.kernels import compiled

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

TURN = 2.0 * math.pi


@compiled
def triangularize(M: Array) -> None:
    """Replace M (n, k), k >= n, by [L, 0] with L lower triangular and L L' = M M'.

    Householder's reflections from the right, row by row.
    """
    n, k = M.shape
    for i in range(n):
        rest = 0.0
        for j in range(i + 1, k):
            rest += M[i, j] * M[i, j]
        if rest == 0.0:
            continue
        length = math.sqrt(M[i, i] * M[i, i] + rest)
        after = -length if M[i, i] > 0.0 else length
        first = M[i, i] - after
        size = 2.0 / (first * first + rest)
        for r in range(i + 1, n):
            along = first * M[r, i]
            for j in range(i + 1, k):
                along += M[i, j] * M[r, j]
            along *= size
            M[r, i] -= along * first
            for j in range(i + 1, k):
                M[r, j] -= along * M[i, j]
        M[i, i] = after
        for j in range(i + 1, k):
            M[i, j] = 0.0


@compiled
def correct(
    x: Array,
    F: Array,
    before: Array,
    noises: tuple[Array, Array],
    measured: Array,
    turning: NDArray[np.bool_],
    doubted: NDArray[np.bool_],
    farthest: float,
    limits: Array,
) -> tuple[Array, NDArray[np.bool_]]:
    """Correct a predicted state x (d,) in place by what can be believed; see `RobustFilter`.

    Args:
        x: Prediction.
        F: Its derivative to the state before, (d, d).
        before: Root of the covariance before, (d, d).
        noises: Roots of the covariances of a step (d, d) and of the measurements (p, p).
        measured: Present states, NaN where there is none, (p,).
        turning: Which of them are angles, (p,).
        doubted: Which were left out in the step before, (p,).
        farthest: Standard deviations of an innovation beyond which it is doubted.
        limits: Of the states, (2, d).

    Returns:
        Root of the covariance left, (d, d), and which entries are doubted now, (p,).
    """
    step, measurement = noises
    d, p = len(x), len(measured)
    wide = np.empty((d, 2 * d))
    for i in range(d):
        for j in range(d):
            wide[i, d + j], wide[i, j] = step[i, j], 0.0
            for k in range(d):
                wide[i, j] += F[i, k] * before[k, j]
    triangularize(wide)
    miss, sizes, far = np.empty(p), np.zeros(p), np.zeros(p, dtype=np.bool_)
    growth, again = 1.0, False
    for i in range(p):
        miss[i] = measured[i] - x[i]
        if turning[i]:
            miss[i] -= TURN * np.round(miss[i] / TURN)
        for j in range(i + 1):
            sizes[i] += wide[i, j] * wide[i, j]
        for j in range(p):
            sizes[i] += measurement[i, j] * measurement[i, j]
        far[i] = abs(miss[i]) > farthest * math.sqrt(sizes[i])
        if far[i] and doubted[i]:
            standing_out = abs(miss[i]) / math.sqrt(sizes[i])
            growth = max(growth, standing_out) if again else standing_out
            again = True
    count = 0
    used = np.empty(p, dtype=np.int64)
    for i in range(p):
        if not math.isnan(miss[i]) and (again or not far[i]):
            used[count] = i
            count += 1
    joint = np.zeros((count + d, p + d))
    for r in range(count):
        for j in range(p):
            joint[r, j] = measurement[used[r], j]
        for j in range(used[r] + 1):
            joint[r, p + j] = growth * wide[used[r], j]
    for i in range(d):
        for j in range(i + 1):
            joint[count + i, p + j] = growth * wide[i, j]
    triangularize(joint)
    root, normalised = np.zeros((d, d)), np.empty(count)
    for r in range(count):
        normalised[r] = miss[used[r]]
        for j in range(r):
            normalised[r] -= joint[r, j] * normalised[j]
        normalised[r] /= joint[r, r]
    for i in range(d):
        if count:
            for r in range(count):
                x[i] += joint[count + i, r] * normalised[r]
            x[i] = min(max(x[i], limits[0, i]), limits[1, i])
        for j in range(i + 1):
            root[i, j] = joint[count + i, count + j]
    if again:
        for i in range(p):
            far[i] = far[i] and not doubted[i]
    return root, far
