"""Programs that nothing holds back, many at once: their solution is a product with a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from koopman_control.common.arrays import Array
from koopman_control.mpc.planning.prepared import Vectors

SINGULAR = 1e-9  # smallest diagonal entry of the factor relative to the largest, squared


class Unbounded:
    """Minima of v'Hv/2 + f'v for many f, and whether [v; A v] keeps within its sides there.

    Where it does, no bound and no row exerts a force, so this is the program's exact solution.

    Args:
        H: Shape (n, n); where it is singular, nothing is said to keep within its sides.
        A: Shape (r, n).
    """

    def __init__(self, H: Array, A: Array) -> None:
        self._by_f: Array | None = None
        try:
            factor: Any = cho_factor(H)
        except (LinAlgError, ValueError):  # not definite, or not finite
            return
        diagonal = np.diagonal(factor[0])
        if diagonal.min() ** 2 > SINGULAR * diagonal.max() ** 2:
            self._by_f = -cho_solve(factor, np.vstack([np.eye(len(H)), A]).T)

    def __call__(self, at: Vectors) -> tuple[Array, NDArray[np.bool_]]:
        """Return minima (S, n) and for which of S programs they are solutions, shape (S,)."""
        if self._by_f is None:
            return at.f, np.zeros(len(at.f), dtype=bool)
        with np.errstate(all="ignore"):  # what is not finite is within no sides
            values = at.f @ self._by_f
        inside = (values >= at.lower) & (values <= at.upper)
        return values[:, : at.f.shape[1]], np.asarray(inside.all(axis=1))
