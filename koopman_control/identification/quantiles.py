"""Conformal quantiles: bounds that new errors stay below as often as promised.

With W left-out windows, the error bound at level q is the ceil(q (W + 1))-th smallest absolute
error, so a new window from the same distribution stays below it with probability at least q,
whatever the distribution (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005).
That assumes independent windows; those of one run are not quite.
"""

from __future__ import annotations

import numpy as np

from koopman_control.common.arrays import Array

LEVEL = 0.9  # of the quantiles kept with a model


def conformal_quantiles(errors: Array, levels: Array) -> Array:
    """Return the bounds (L, ...) that new absolute errors stay below, from those of W windows.

    Args:
        errors: Absolute errors, NaN where unknown, shape (W, ...).
        levels: Shares, shape (L,).
    """
    known = (~np.isnan(errors)).sum(axis=0)
    ordered = np.sort(errors, axis=0)  # NaN sorts last
    bounds = np.full((len(levels), *errors.shape[1:]), np.inf)
    for i, level in enumerate(levels):
        rank = np.ceil(level * (known + 1) - 1e-9).astype(int)
        there = rank <= known
        picked = np.take_along_axis(ordered, np.where(there, rank - 1, 0)[None], axis=0)[0]
        bounds[i] = np.where(there, picked, np.inf)
    return bounds
