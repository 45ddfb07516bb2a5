"""Streaming accumulation: from any number of rows to their R factor, at the cost of a Gram matrix.

A Gram matrix is the fastest way to condense rows, but squares their condition number. So rows are
whitened first: with R0 the triangular factor of a sample of them, W = Phi R0^-1 (a triangular
solve) has a condition number near 1, its Gram matrix G = L L' loses no digits, and L' R0 is the R
factor of Phi ("Cholesky QR", Yamamoto et al. 2015, doi 10.1553/etna_vol44s306, with the first pass
on a sample). Rows that the sample does not stand for, seen by their size once whitened, are
factorised by Householder reflections instead; many of them bring a new R0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import blas

from koopman_control.common.arrays import Array
from koopman_control.identification.least_squares.factor import RFactor

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
        self._far: list[tuple[Array, Array, float]] = []  # rows that wait for it
        self._start(basis)

    def _start(self, basis: Array | None) -> None:
        k, q = self.n_regressors, self.n_targets
        self._basis, self._n_samples = basis, 0.0
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
        W = np.array(Phi, order="C")
        blas.dtrsm(1.0, self._basis, W.T, side=0, lower=0, trans_a=1, overwrite_b=1)
        far = ~(np.einsum("ij,ij->i", W, W) <= FAR * self.n_regressors)  # NaN is far, too
        if weight is not None:
            far &= weight > 0.0
        aside = Phi[far], Y[far], None if weight is None else weight[far]
        if far.any():
            weight = np.where(far, 0.0, 1.0 if weight is None else weight)
        self._n_samples += len(W) if weight is None else float(weight.sum())
        if weight is not None:
            W, Y = _weighted(W, Y, weight)
        Y = np.ascontiguousarray(Y)
        # Transposed views are in Fortran order, so that nothing is copied.
        blas.dsyrk(1.0, W.T, beta=1.0, c=self._gram, overwrite_c=1)
        blas.dgemm(1.0, W.T, Y.T, trans_b=1, beta=1.0, c=self._cross, overwrite_c=1)
        if far.any():
            self._set_aside(*aside)

    @property
    def basis(self) -> Array | None:
        """What whitens the rows at present, or None while too few have come."""
        return self._basis

    def factor(self) -> RFactor:
        """Return the R factor of all rows added so far; more may be added afterwards."""
        return self.merged([self])

    @staticmethod
    def merged(parts: Sequence[Accumulator]) -> RFactor:
        """Return the R factor of the rows of all parts together."""
        k = parts[0].n_regressors
        sums: dict[int, list[Accumulator]] = {}
        for part in parts:
            if part._basis is not None:
                sums.setdefault(id(part._basis), []).append(part)
        factors = [f for part in parts for f in (*part._closed, *part._far_factor())]
        factors += [_whole(alike) for alike in sums.values()]
        if not factors:
            return RFactor(np.zeros((0, k + parts[0].n_targets)), k, 0)
        return factors[0] if len(factors) == 1 else RFactor.merged(factors)

    def absorb(self, other: Accumulator) -> None:
        """Add the rows of another accumulator, which stays as it is."""
        self._far += other._far
        self._closed += other._closed
        if other._basis is self._basis and self._basis is not None:
            self._gram += other._gram
            self._cross += other._cross
            self._n_samples += other._n_samples
        elif other._basis is not None:
            self._closed.append(_whole([other]))
        self._tidy()

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


def _whole(parts: Sequence[Accumulator]) -> RFactor:
    """Turn the sums of parts with one basis into an R factor of k rows (or fewer)."""
    basis = parts[0]._basis
    assert basis is not None  # for the type checker
    G = np.sum([part._gram for part in parts], axis=0)
    cross = np.sum([part._cross for part in parts], axis=0)
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
