"""The least-squares engine: the R factor of [regressors | targets] is all a fit needs to keep.

It is accumulated from any number of rows at the cost of a Gram matrix, on one thread or several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import scipy.linalg
from scipy.linalg import blas
from threadpoolctl import ThreadpoolController

from koopman_control.common.arrays import Array


@dataclass(frozen=True)
class RFactor:
    """Triangular factor of [Phi | Y], with Phi of shape (T, k) and Y of shape (T, q).

    Args:
        R: Upper triangular (or trapezoidal) factor, shape (r, k + q), r <= k + q. Rows below the
            k-th say how well the regressors explain the targets; a factor accumulated from a
            stream has none.
        n_regressors: Number of regressors k.
        n_samples: Number of rows T seen so far, or the sum of their weights.
    """

    R: Array
    n_regressors: int
    n_samples: float

    @classmethod
    def of(cls, Phi: Array, Y: Array) -> RFactor:
        """Factorise regressors of shape (T, k) beside targets of shape (T, q)."""
        return cls(triangular(np.hstack([Phi, Y])), Phi.shape[1], len(Phi))

    @classmethod
    def merged(cls, factors: Iterable[RFactor]) -> RFactor:
        """Combine the factors of disjoint data; the result is that of all rows together."""
        parts = list(factors)
        R = triangular(np.vstack([part.R for part in parts]))
        return cls(R, parts[0].n_regressors, sum(part.n_samples for part in parts))

    def solver(self, truncate: bool = False) -> RidgeSolver:
        """Decompose the regressor block, once for all regularisations; see `RidgeSolver`."""
        k = self.n_regressors
        U, s, Vt = decomposed(self.R[:k, :k])
        return RidgeSolver(s, Vt.T, U.T @ self.R[:k, k:], self.n_samples, truncate)


@dataclass(frozen=True)
class RidgeSolver:
    """Ridge regression min |Phi K - Y|^2 / T + regularization |K|^2 for any regularisation.

    Args:
        singular_values: Singular values of the regressors, descending, shape (r,).
        directions: Right singular vectors, shape (k, r).
        projections: Targets in the left singular basis, shape (r, q).
        n_samples: Number of samples T, or the sum of their weights.
        truncate: Drop the directions that ridge would shrink to less than half, and shrink none
            (truncated singular value decomposition).
    """

    singular_values: Array
    directions: Array
    projections: Array
    n_samples: float
    truncate: bool = False

    def solve(self, regularization: float | Array, targets: Sequence[int] | None = None) -> Array:
        """Return K of shape (k, q); singular directions at rounding level are dropped.

        Args:
            regularization: One strength, or one for each target, shape (q,).
            targets: The targets to solve for, which q then counts; None: all.
        """
        projections = self.projections if targets is None else self.projections[:, targets]
        if isinstance(regularization, np.ndarray):
            K = np.empty((len(self.directions), len(regularization)))
            for value in np.unique(regularization):
                alike = regularization == value
                K[:, alike] = self._shrunk(float(value), projections[:, alike])
            return K
        return self._shrunk(regularization, projections)

    def _shrunk(self, regularization: float, projections: Array) -> Array:
        s, ridge = self.singular_values, regularization * self.n_samples
        kept = s > self._floor
        gain = np.zeros_like(s)
        if self.truncate:
            kept &= s**2 >= ridge
            ridge = 0.0
        gain[kept] = s[kept] / (s[kept] ** 2 + ridge)
        return self.directions @ (gain[:, None] * projections)

    @property
    def rank(self) -> int:
        """Number of directions that the data determine beyond rounding."""
        return int((self.singular_values > self._floor).sum())

    @property
    def _floor(self) -> float:
        eps = float(np.finfo(np.float64).eps)
        return float(self.singular_values.max(initial=0.0)) * len(self.directions) * eps

    @property
    def condition_number(self) -> float:
        """Ratio of the largest to the smallest singular value of the regressors."""
        s = self.singular_values
        full = len(s) == len(self.directions) and s[-1] > 0.0
        return float(s[0] / s[-1]) if full else float("inf")


def decomposed(M: Array) -> tuple[Array, Array, Array]:
    """Decompose into U, s, V', by QR iterations where divide and conquer does not converge.

    That was seen on a finite matrix of 225 columns with singular values at rounding level.
    """
    try:
        U, s, Vt = np.linalg.svd(M, full_matrices=False)
    except np.linalg.LinAlgError:
        if not np.isfinite(M).all():
            raise
        U, s, Vt = scipy.linalg.svd(M, full_matrices=False, lapack_driver="gesvd")
    return U, s, Vt


def triangular(M: Array) -> Array:
    """Return R of M = Q R, a factor of M' M, shape (min(rows, columns), columns)."""
    return np.asarray(np.linalg.qr(M, mode="r"), dtype=np.float64)


FAR = 1e4  # mean square of a whitened row above which a row is factorised by reflections
ROWS_PER_COLUMN = 4  # of the sample that whitens; its Gram matrix then has a condition of about 9
SAFE = 1e-8  # relative eigenvalue of G above which Cholesky's factor keeps enough digits
EPS = float(np.finfo(np.float64).eps)


def whitening(factor: RFactor) -> Array:
    """Return R0 of shape (k, k), in Fortran order, so that sampled rows / R0 have mean square 1.

    Rows at rounding level, relative to each column, are added so that R0 is never singular.
    """
    k = factor.n_regressors
    R = factor.R[:, :k] / np.sqrt(factor.n_samples)
    size = np.linalg.norm(R, axis=0)
    floor = 10.0 * EPS * np.sqrt(k) * np.where(size > 0.0, size, 1.0)
    return np.asfortranarray(np.linalg.qr(np.vstack([R, np.diag(floor)]), mode="r"))


class Accumulator:
    """Running sums over rows of regressors (k columns) beside targets (q columns).

    Memory is O(k (k + q)) however many rows are added.

    Args:
        n_regressors: Number of regressors k.
        n_targets: Number of targets q.
        basis: What whitens, from `whitening`; None takes it from the first rows added.

    Example:
        >>> sums = Accumulator(2, 1)
        >>> for seed in range(3):
        ...     rows = np.random.default_rng(seed).normal(size=(50, 3))
        ...     sums.add(rows[:, :2], rows[:, 2:])
        >>> sums.factor().n_samples
        150
    """

    def __init__(self, n_regressors: int, n_targets: int, basis: Array | None = None) -> None:
        self.n_regressors, self.n_targets = n_regressors, n_targets
        self._closed: list[RFactor] = []  # rows already factorised by reflections
        self._blocks: list[Array] = []  # of the basis, cut up for `_whiten`
        self._far: list[tuple[Array, Array, float]] = []  # rows that wait for it
        self._start(basis)

    def _start(self, basis: Array | None) -> None:
        k, q = self.n_regressors, self.n_targets
        self._basis, self._n_samples, self._blocks = basis, 0.0, []
        shape = (0, 0) if basis is None else (k, k)
        self._gram, self._cross = np.zeros(shape, order="F"), np.zeros((shape[0], q), order="F")

    def add(self, Phi: Array, Y: Array, weight: Array | None = None) -> None:
        """Add rows.

        Args:
            Phi: Regressors, shape (T, k).
            Y: Targets, shape (T, q).
            weight: Weight of each row, shape (T,), None for 1. Rows of weight zero are left out,
                whatever they hold; their targets are overwritten.
        """
        if self._basis is None:
            self._set_aside(Phi, Y, weight)
            return
        W = np.array(Phi, order="F")
        if not self._blocks:
            _cut(self._basis, self._blocks)
        _whiten(W, iter(self._blocks))
        far = ~(np.einsum("ij,ij->i", W, W) <= FAR * self.n_regressors)  # NaN is far, too
        if weight is not None:
            far &= weight > 0.0
        aside = Phi[far], Y[far], None if weight is None else weight[far]
        if far.any():
            weight = np.where(far, 0.0, 1.0 if weight is None else weight)
        self._n_samples += len(W) if weight is None else float(weight.sum())
        if weight is not None:
            W, Y = _weighted(W, Y, weight)
        Y = np.asfortranarray(Y)
        blas.dsyrk(1.0, W, trans=1, beta=1.0, c=self._gram, overwrite_c=1)
        blas.dgemm(1.0, W, Y, trans_a=1, beta=1.0, c=self._cross, overwrite_c=1)
        if far.any():
            self._set_aside(*aside)

    @property
    def basis(self) -> Array | None:
        """What whitens the rows at present, or None while too few have come."""
        return self._basis

    def rest(self) -> Accumulator:
        """Let go of what only adding needs, until more is added; returns itself."""
        self._blocks = []
        return self

    def factor(self) -> RFactor:
        """Return the R factor of all rows added so far; more may be added afterwards."""
        return self.merged([self])

    @staticmethod
    def merged(parts: Sequence[Accumulator]) -> RFactor:
        """Return the R factor of the rows of all parts together."""
        k = parts[0].n_regressors
        sums: list[list[Accumulator]] = []
        for part in parts:
            if part._basis is not None:
                alike = [known for known in sums if known[0]._whitens_like(part)]
                alike[0].append(part) if alike else sums.append([part])
        factors = [f for part in parts for f in (*part._closed, *part._far_factor())]
        factors += [_whole(alike) for alike in sums]
        if not factors:
            return RFactor(np.zeros((0, k + parts[0].n_targets)), k, 0)
        return factors[0] if len(factors) == 1 else RFactor.merged(factors)

    def absorb(self, other: Accumulator) -> None:
        """Add the rows of another accumulator, which stays as it is."""
        self._far += other._far
        self._closed += other._closed
        if self._whitens_like(other):
            self._gram += other._gram
            self._cross += other._cross
            self._n_samples += other._n_samples
        elif other._basis is not None:
            self._closed.append(_whole([other]))
        self._tidy()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is cheap to make again."""
        return self.__dict__ | {"_blocks": []}

    def _whitens_like(self, other: Accumulator) -> bool:
        """Whether sums add up: the same basis, or a copy of it that has been to another process."""
        one, two = self._basis, other._basis
        return one is not None and two is not None and (one is two or np.array_equal(one, two))

    def _set_aside(self, Phi: Array, Y: Array, weight: Array | None) -> None:
        if weight is None:
            self._far.append((Phi.copy(), Y.copy(), float(len(Phi))))
        else:
            used = weight > 0.0
            rows = _weighted(Phi[used], Y[used], weight[used])
            self._far.append((*rows, float(weight.sum())))
        self._tidy()

    def _tidy(self) -> None:
        """Once many rows wait, factorise them and whiten what comes by all that has been seen."""
        waiting = sum(len(rows) for rows, _, _ in self._far)
        if waiting < ROWS_PER_COLUMN * self.n_regressors and len(self._closed) < 8:
            return
        whole = self.factor()
        self._closed, self._far = [whole], []
        self._start(whitening(whole))

    def _far_factor(self) -> list[RFactor]:
        """Factorise the rows that wait."""
        if not self._far:
            return []
        Phi, Y, weights = zip(*self._far, strict=True)
        rows = np.vstack(Phi), np.vstack(Y)
        _check_finite(*rows)
        factor = RFactor.of(*rows)
        return [RFactor(factor.R, factor.n_regressors, _tidy_count(sum(weights)))]


LEAF = 64  # columns that are solved for at once


def _cut(R: Array, blocks: list[Array]) -> None:
    """List the blocks of a triangular matrix in the order in which `_whiten` needs them."""
    n = len(R)
    if n <= LEAF:
        blocks.append(np.asfortranarray(R))
        return
    half = n // 2
    _cut(R[:half, :half], blocks)
    blocks.append(np.asfortranarray(R[:half, half:]))
    _cut(R[half:, half:], blocks)


def _whiten(W: Array, blocks: Iterator[Array]) -> None:
    """Divide W (T, k), in Fortran order, by the triangular matrix from the right, in place.

    Halving leaves nearly all of the work to matrix products, which took 0.6 of the time of one
    triangular solve with 500 columns, and is as stable.
    """
    n = W.shape[1]
    if n <= LEAF:
        blas.dtrsm(1.0, next(blocks), W, side=1, overwrite_b=1)
        return
    left, right = W[:, : n // 2], W[:, n // 2 :]
    _whiten(left, blocks)
    blas.dgemm(-1.0, left, next(blocks), beta=1.0, c=right, overwrite_c=1)
    _whiten(right, blocks)


def _whole(parts: Sequence[Accumulator]) -> RFactor:
    """Turn the sums of parts with one basis into an R factor of k rows (or fewer)."""
    basis = parts[0]._basis
    assert basis is not None  # for the type checker
    G, cross = parts[0]._gram.copy(), parts[0]._cross.copy()
    for part in parts[1:]:
        G += part._gram
        cross += part._cross
    n_samples = _tidy_count(sum(part._n_samples for part in parts))
    _check_finite(G, cross)
    R, Z = _root(G, basis, cross)
    return RFactor(np.hstack([R, Z]), len(G), n_samples)


def _check_finite(*arrays: Array) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(
            "features are not finite numbers on the data; use features that stay bounded "
            "(SampledFeatures), or scale the data down"
        )


def _root(G: Array, basis: Array, cross: Array) -> tuple[Array, Array]:
    """Return L' R0 and L^-1 cross, with L L' = G (upper triangle given)."""
    try:
        U = np.linalg.cholesky(G.T).T  # numpy reads the lower triangle
        pivots = np.diagonal(U)
        if pivots.min() > np.sqrt(SAFE) * pivots.max():
            return np.triu(U @ basis), blas.dtrsm(1.0, U, cross, trans_a=1)
    except np.linalg.LinAlgError:
        pass
    values, V = np.linalg.eigh(G.T)
    kept = values > len(G) * EPS * max(values[-1], 0.0)  # the rest is rounding, not data
    root = np.sqrt(values[kept])
    return (root * V[:, kept]).T @ basis, (V[:, kept] / root).T @ cross


def _weighted(Phi: Array, Y: Array, weight: Array) -> tuple[Array, Array]:
    """Scale rows by the root of their weight; rows without weight become zero, NaN or not."""
    out = weight == 0.0
    if not (weight[~out] == 1.0).all():
        root = np.sqrt(weight)[:, None]
        Phi, Y = Phi * root, Y * root
    Phi[out], Y[out] = 0.0, 0.0
    return Phi, Y


def _tidy_count(weight: float) -> float:
    """Return whole numbers as integers: a count, where nothing is weighted."""
    return int(weight) if float(weight).is_integer() else weight


SMALL = 2e10  # multiplications; about half a second on one core

T = TypeVar("T")
S = TypeVar("S")

_outside: ContextVar[int | None] = ContextVar("threads outside", default=None)


def n_workers(multiplications: float) -> int:
    """Return how many threads suit the work: one, or as many as the BLAS is allowed to use."""
    if multiplications < SMALL:
        return 1
    return _allowed()


@contextmanager
def single_threaded_blas(workers: int | None = None) -> Iterator[None]:
    """Keep each matrix product on one thread; `n_workers` still knows how many are allowed.

    Args:
        workers: How many are allowed from now on; None leaves that to the BLAS.
    """
    token = _outside.set(_allowed() if workers is None else workers)
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _outside.reset(token)


def fold_in_parallel(
    items: Iterable[T], make: Callable[[], S], add: Callable[[S, T], None], workers: int
) -> list[S]:
    """Add items to sums, one sum per worker; which item goes to which worker never varies."""
    if workers == 1:
        whole = make()
        with single_threaded_blas():
            for item in items:
                add(whole, item)
        return [whole]
    listed = list(items)

    def work(i: int) -> S:
        part = make()
        for item in listed[i::workers]:
            add(part, item)
        return part

    with single_threaded_blas(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, range(workers)))


def _allowed() -> int:
    """Return the number of threads that the user lets the BLAS use."""
    known = _outside.get()
    if known is not None:
        return known
    found = [p["num_threads"] for p in _controller().info() if p["user_api"] == "blas"]
    return max(found, default=1)


@cache
def _controller() -> ThreadpoolController:
    """Find the loaded BLAS libraries once; looking takes milliseconds."""
    return ThreadpoolController()
