"""Known ground: where the training data lie, as a box along the axes and along principal axes.

Beyond it a fitted model extrapolates. A box alone would miss states whose entries go together (a
speed that follows a position), principal axes alone the corners of data that fill a box.
"""

from __future__ import annotations

import numpy as np

from koopman_control.common.arrays import Array

SHARE = 0.999  # of the training states that are on known ground
NARROWEST = 1e-2  # half a width of the ground, in standard deviations of the feature inputs
MOST = 100_000  # states that are looked at


def known_ground(E: Array, center: Array, scale: Array, n_present: int) -> Array:
    """Describe where feature inputs lie.

    Args:
        E: Feature inputs, shape (T, e).
        center: Their mean, shape (e,).
        scale: Their standard deviation, shape (e,).
        n_present: How many of them, the first ones, are present states themselves; principal axes
            do not mix these with others.

    Returns:
        G of shape (k, 1 + e): with standardised feature inputs s, a state is as far from the
        ground's middle as the largest entry of |G [1, s]|, at most 1 for SHARE of the data.
    """
    if len(E) > MOST:
        E = E[np.linspace(0, len(E) - 1, MOST).astype(int)]
    S = (E - center) / scale
    e, rows = S.shape[1], []
    for block in (slice(n_present), slice(n_present, e)):
        own = np.eye(e)[:, block]
        if own.size:
            covariance = np.atleast_2d(np.cov(S[:, block], rowvar=False, bias=True))
            principal = own @ np.linalg.eigh(covariance)[1]
            axes = np.hstack([own, principal]) if own.shape[1] > 1 else own
            rows.append(_between(S @ axes, axes))
    G = np.vstack(rows)
    edge = float(np.quantile(distances(G, S), SHARE))
    return G / edge if edge > 0.0 else G


def distances(G: Array, S: Array) -> Array:
    """Return how far standardised feature inputs (..., e) are from the ground's middle, (...)."""
    return np.asarray(np.abs(S @ G[:, 1:].T + G[:, 0]).max(axis=-1))


def _between(along: Array, axes: Array) -> Array:
    """Rows that are -1 and 1 at the ends of what data (T, k) reach along axes (e, k)."""
    low, high = np.quantile(along, [0.5 * (1.0 - SHARE), 0.5 * (1.0 + SHARE)], axis=0)
    half = np.maximum(0.5 * (high - low), NARROWEST)
    return np.column_stack([-0.5 * (low + high) / half, (axes / half).T])
