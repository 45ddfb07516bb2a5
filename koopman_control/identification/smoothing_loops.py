"""The loops of the smoother: along one run, forwards and back.

Plain Python, which `kernels.compiled` makes fast where numba is installed; number by number, as
products of whole arrays would take longer to compile than all else together.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array

TURN = 2.0 * math.pi
JUMP = 25.0  # mean square of normalised innovations beyond which the plant did what no model says
Linearized = tuple[Array, Array, Array]  # a (T, d), f (T, d), F (T, d, d): x+ = f + F (x - a)
# States before a measurement (T + 1, d), their covariances (T + 1, d, d), gains (T + 1, p, d),
# variances of the innovations, zero where there was no measurement (T + 1, p), innovations.
Filtered = tuple[Array, Array, Array, Array, Array]
# Pulls of measurements and their variances, drives of steps and theirs, (T + 1, p) each.
Forces = tuple[Array, Array, Array, Array]


def filter_run(
    Y: Array,
    linearized: Linearized,
    start: tuple[Array, Array],
    noise: tuple[Array, Array],
    turning: NDArray[np.bool_],
) -> Filtered:
    """Filter one run by a linearised model, one measured entry after the other.

    Args:
        Y: Measured states, NaN where there is none, shape (T + 1, p); they are the first of d.
        linearized: The model along the run.
        start: First state before its measurement, shape (d,), and its covariance, (d, d).
        noise: Covariance of a step (d, d), variances of the measurements (p,).
        turning: Which states are angles, shape (d,).
    """
    a, f, F = linearized
    Q, r = noise
    n, p = Y.shape
    d = len(Q)
    x_before, P_before = np.empty((n, d)), np.empty((n, d, d))
    gains, sizes, misses = np.zeros((n, p, d)), np.zeros((n, p)), np.zeros((n, p))
    x, P, away, W = np.empty(d), np.empty((d, d)), np.empty(d), np.empty((d, d))
    for t in range(n):
        for i in range(d):  # predict
            if t == 0:
                x_before[t, i] = start[0][i]
                for j in range(d):
                    P_before[t, i, j] = start[1][i, j]
                continue
            away[i] = x[i] - a[t - 1, i]
            if turning[i]:
                away[i] -= TURN * round(away[i] / TURN)
            for j in range(d):
                W[i, j] = 0.0
                for k in range(d):
                    W[i, j] += F[t - 1, i, k] * P[k, j]
        for i in range(d):
            if t == 0:
                continue
            x_before[t, i] = f[t - 1, i]
            for j in range(d):
                x_before[t, i] += F[t - 1, i, j] * away[j]
            for j in range(i + 1):
                P_before[t, i, j] = Q[i, j]
                for k in range(d):
                    P_before[t, i, j] += W[i, k] * F[t - 1, j, k]
                P_before[t, j, i] = P_before[t, i, j]  # asymmetry would grow
        for attempt in range(2):  # correct, again from a doubted prediction after a jump
            total, count = 0.0, 0
            for i in range(d):
                x[i] = x_before[t, i]
                for j in range(d):
                    P[i, j] = P_before[t, i, j]
            for i in range(p):
                sizes[t, i] = 0.0
                if math.isnan(Y[t, i]):
                    continue
                miss = Y[t, i] - x[i]
                if turning[i]:
                    miss -= TURN * round(miss / TURN)
                size = P[i, i] + r[i]
                for j in range(d):
                    gains[t, i, j] = P[j, i] / size
                for j in range(d):
                    x[j] += gains[t, i, j] * miss
                    if j != i:
                        for k in range(d):
                            if k != i:
                                P[j, k] -= gains[t, i, j] * P[i, k]
                for j in range(d):  # what is left of P[i], without a difference
                    P[i, j] *= r[i] / size
                    P[j, i] = P[i, j]
                sizes[t, i], misses[t, i] = size, miss
                total, count = total + miss * miss / size, count + 1
            if attempt == 1 or total <= JUMP * count:
                break
            for i in range(d):
                for j in range(d):
                    P_before[t, i, j] *= 0.25 * total / count
    return x_before, P_before, gains, sizes, misses


def smooth_back(F: Array, filtered: Filtered, X: Array, V: Array, forces: Forces) -> None:
    """Go back along a filtered run, and fill states X and their variances V, (T + 1, d) each.

    With the adjoint variables of Bierman's form of the smoother, which inverts no covariance
    (Bierman, Automatica 9, 1973). They also tell what measurements and steps had to be off by:
    R times a pull, Q times a drive, of which the variances are those of the forces expected (de
    Jong, Biometrika 76, 1989).
    """
    pulls, expected_pulls, drives, expected_drives = forces
    x_before, P_before, gains, sizes, misses = filtered
    n, p, d = gains.shape
    away, W = np.empty(d), np.empty((d, d))
    adjoint, information = np.zeros(d), np.zeros((d, d))
    for t in range(n - 1, -1, -1):
        for i in range(p - 1, -1, -1):
            if sizes[t, i] == 0.0:
                continue
            pull, curvature = misses[t, i] / sizes[t, i], 1.0 / sizes[t, i]
            for j in range(d):
                pull += gains[t, i, j] * adjoint[j]
                away[j] = 0.0
                for k in range(d):
                    away[j] += information[j, k] * gains[t, i, k]
            for j in range(d):
                curvature += gains[t, i, j] * away[j]
            pulls[t, i], expected_pulls[t, i] = pull, curvature
            adjoint[i] -= pull
            for j in range(d):
                information[j, i] -= away[j]
                information[i, j] -= away[j]
            information[i, i] += curvature
        for i in range(p):  # what moves a state moves its step, too
            drives[t, i], expected_drives[t, i] = adjoint[i], information[i, i]
            if p + i < d:  # with a memory the state holds its newest step, too
                drives[t, i] += adjoint[p + i]
                expected_drives[t, i] += information[p + i, p + i] + 2.0 * information[i, p + i]
        for i in range(d):
            X[t, i] = x_before[t, i]
            for j in range(d):
                X[t, i] -= P_before[t, i, j] * adjoint[j]
                W[i, j] = 0.0
                for k in range(d):
                    W[i, j] += P_before[t, i, k] * information[k, j]
        for i in range(d):
            V[t, i] = P_before[t, i, i]
            for j in range(d):
                V[t, i] -= W[i, j] * P_before[t, j, i]
            V[t, i] = max(0.0, V[t, i])
        if t == 0:
            break
        for i in range(d):
            away[i] = 0.0
            for j in range(d):
                away[i] += F[t - 1, j, i] * adjoint[j]
                W[i, j] = 0.0
                for k in range(d):
                    W[i, j] += information[i, k] * F[t - 1, k, j]
        for i in range(d):
            adjoint[i] = away[i]
            for j in range(i + 1):
                information[i, j] = 0.0
                for k in range(d):
                    information[i, j] += F[t - 1, k, i] * W[k, j]
                information[j, i] = information[i, j]
