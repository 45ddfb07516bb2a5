"""Left-out errors of least squares in which regressors can be dropped at no further pass.

One R factor per fold is kept. A fit to the other folds without some regressors needs these alone:
their columns are struck out and what is left is made triangular again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from koopman_control.common import Array
from koopman_control.identification import RFactor, RidgeSolver

C = TypeVar("C", bound=Hashable)
N_FOLDS = 5
STRETCHES = 4  # of a fold; neighbours in time are alike, so folds are made of stretches
RIDGES = tuple(10.0**k for k in range(-14, 1, 2))  # on columns of spread one
KEPT = 0.85  # share of the samples that a smooth fit is judged by
TYPICAL = 0.95  # share of the left-out residuals that errors are made of
TRIMS = 4
WORTHWHILE = 2.0  # times smaller typical residuals make trimming worth it


def folds_of(n_rows: int) -> NDArray[np.int64]:
    """Say which fold each of many rows in a sequence belongs to."""
    return np.arange(n_rows) * N_FOLDS * STRETCHES // max(1, n_rows) % N_FOLDS


class LeftOut:
    """Least squares of many targets, judged on stretches of data left out of the fit.

    Args:
        Phi: Regressors of spread about one, shape (T, k).
        Y: Targets of spread one, shape (T, q).
        rows: Rows that fits may use, shape (T,); all of them are judged.
    """

    def __init__(self, Phi: Array, Y: Array, rows: NDArray[np.bool_] | None = None) -> None:
        self.regressors, self.targets, self._fold = Phi, Y, folds_of(len(Phi))
        self._factors: list[RFactor] = []
        self._ridges = np.full(Y.shape[1], RIDGES[0])
        self.rows = np.ones(len(Phi), dtype=bool) if rows is None else rows
        self._all = np.arange(Phi.shape[1])
        self._factorise()
        self._untrimmed = self._factors
        self._choose_ridges()

    def _factorise(self) -> None:
        fit = [self.rows & (self._fold == i) for i in range(N_FOLDS)]
        self._factors = [RFactor.of(self.regressors[rows], self.targets[rows]) for rows in fit]

    def _choose_ridges(self) -> None:
        """Let each target have the strength of least left-out error."""
        squares = np.zeros((len(RIDGES), self.targets.shape[1]))
        for i in range(N_FOLDS):
            solver = self._solver(self._others(i), self._all)
            rows = self.rows & (self._fold == i)
            Phi, Y = self.regressors[rows], self.targets[rows]
            for j, ridge in enumerate(RIDGES):
                squares[j] += ((Y - Phi @ solver.solve(ridge)) ** 2).sum(axis=0)
        self._ridges = np.array(RIDGES)[np.argmin(squares, axis=0)]

    def _others(self, fold: int) -> list[RFactor]:
        return [factor for i, factor in enumerate(self._factors) if i != fold]

    def trimmed(self) -> LeftOut:
        """Leave samples with the largest residuals to contacts, if the others then fit far better.

        Fit, keep the share with the smallest residuals, and fit again (least trimmed squares).
        """
        usable, ridges = self.rows, self._ridges
        before = self._typical(usable)
        for _ in range(TRIMS):
            worst = np.abs(self.residuals() / self.errors()).max(axis=1)
            self.rows = usable & (worst <= np.quantile(worst[usable], KEPT))
            self._factorise()
        self._choose_ridges()
        if not (self._typical(usable) < before / WORTHWHILE).any():
            self.rows, self._ridges, self._factors = usable, ridges, self._untrimmed
        return self

    def _typical(self, rows: NDArray[np.bool_]) -> Array:
        """Return the median of the residuals of each target, trimmed rows included."""
        return np.asarray(np.median(np.abs(self.residuals()[rows]), axis=0))

    def solution(self, keep: NDArray[np.int64], trimmed: bool = True) -> Array:
        """Fit to all folds with some regressors only, shape (len(keep), q)."""
        factors = self._factors if trimmed else self._untrimmed
        return self._solver(factors, keep).solve(self._ridges)

    def _solver(self, factors: Sequence[RFactor], columns: NDArray[np.int64]) -> RidgeSolver:
        """Put the factors of some folds together, with some regressors only."""
        k = self.regressors.shape[1]
        struck = np.concatenate([columns, np.arange(k, k + self.targets.shape[1])])
        parts = [RFactor(f.R[:, struck], len(columns), f.n_samples) for f in factors]
        return RFactor.merged(parts).solver()

    def residuals(self, keep: Sequence[int] | NDArray[np.int64] | None = None) -> Array:
        """Return left-out residuals of all rows with some regressors only, shape (T, q)."""
        columns = self._all if keep is None else np.asarray(keep, dtype=np.int64)
        found = np.empty_like(self.targets)
        for i in range(N_FOLDS):
            K = self._solver(self._others(i), columns).solve(self._ridges)
            rows = self._fold == i
            found[rows] = self.targets[rows] - self.regressors[np.ix_(rows, columns)] @ K
        return found

    def errors(self, keep: Sequence[int] | NDArray[np.int64] | None = None) -> Array:
        """Return the root mean square of most left-out residuals of each target, shape (q,).

        The largest few are those of samples far from all others, and would hide what the rest tell.
        """
        squares = np.sort(self.residuals(keep)[self.rows] ** 2, axis=0)
        most = squares[: max(1, int(np.ceil(TYPICAL * len(squares))))]
        return np.asarray(np.sqrt(most.mean(axis=0))) + np.finfo(float).tiny


def dropped_in_turn(
    candidates: Sequence[C], rise: Callable[[frozenset[C]], float], limit: float
) -> tuple[dict[C, float], float]:
    """Drop one after the other what can be done without.

    Where many can be, the better half of them is tried at once.

    Args:
        candidates: What may be dropped.
        rise: Tells what dropping some costs.
        limit: What it may cost.

    Returns:
        What was dropped, with the cost at that time, and the cost of the cheapest further one;
        infinite where nothing is left.
    """
    dropped: dict[C, float] = {}
    left, cheapest = list(candidates), np.inf
    while left:
        gone = frozenset(dropped)
        cost = {candidate: rise(gone | {candidate}) for candidate in left}
        order = sorted((c for c in left if cost[c] < limit), key=lambda c: cost[c])
        half = order[: max(1, len(order) // 2)]
        if len(half) > 1 and rise(gone | {*half}) >= limit:
            half = half[:1]
        cheapest = min((cost[c] for c in left if c not in half), default=np.inf)
        if not half:
            break
        dropped |= {c: cost[c] for c in half}
        left = [c for c in left if c not in half]
    return dropped, cheapest if left else np.inf
