"""How badly data obey an eigenvalue: residuals of given pairs, and the least of any observable.

The formulas are in `spectrum`. Data are lifted piece by piece, so their number costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked, shown
from koopman_control.identification.least_squares.factor import decomposed, triangular
from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.model.structure import core_of, lifted_pairs
from koopman_control.trajectories import Trajectory

Complex = NDArray[np.complex128]
PRINCIPAL = 1e-13  # relative; lifted directions with less than this say nothing


@checked
def pseudospectrum(
    model: LiftedModel,
    data: Trajectory | Sequence[Trajectory],
    points: ArrayLike | NDArray[np.complex128],
    n_directions: int = 100,
) -> Array:
    """Compute the smallest residual that any observable has at given complex numbers.

    Where it is small, data contain dynamics like lambda^k to that accuracy.

    Args:
        model: The model, which gives the lifting and the effect of the inputs.
        data: Trajectories.
        points: Complex numbers, any shape.
        n_directions: Only the lifted directions with the most variance in data are combined;
            so the result may be too large, never too small.

    Returns:
        Residuals, of the shape of points.
    """
    z = np.asarray(points, dtype=np.complex128)
    if not np.isfinite(z).all():
        raise ValueError(f"points is {shown(points)}; expected finite complex numbers")
    positive_int("n_directions", n_directions)
    P, Y = _whitened(model, data, n_directions)
    # The data are real: conjugate points have the same residual.
    distinct, where = np.unique(z.real + 1j * np.abs(z.imag), return_inverse=True)
    found = np.empty(len(distinct))
    for i, point in enumerate(distinct):
        found[i] = np.linalg.svd(Y - point * P, compute_uv=False)[-1]
    return np.asarray(found[where.ravel()].reshape(z.shape))


def eigenpair_residuals(
    model: LiftedModel, values: Complex, W: Complex, data: Trajectory | Sequence[Trajectory]
) -> tuple[Array, Array]:
    """Return residuals and standard deviations of the eigenfunctions on data, shape (n,) each."""
    off, size = _Spread(), _Spread()
    for Z, Z_next in _unforced(model, data, len(values)):
        before = Z @ W.conj()
        size.add(before)
        off.add(Z_next @ W.conj() - values * before)
    if not size.count:
        raise ValueError("data holds no step that is free of limits; expected at least one")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = off.deviation / size.deviation
    return np.where(np.isnan(ratio), np.inf, ratio), size.deviation


class _Spread:
    """Standard deviation of complex columns that come in pieces."""

    def __init__(self) -> None:
        self.count = 0
        self._origin: Complex = np.zeros(0, dtype=np.complex128)
        self._sum: Complex = np.zeros(0, dtype=np.complex128)
        self._squares: Array = np.zeros(0)

    def add(self, columns: Complex) -> None:
        """Add rows; deviations are taken from the first piece's mean, to lose no digits."""
        if not self.count:
            self._origin = columns.mean(axis=0)
            self._sum, self._squares = np.zeros_like(self._origin), np.zeros(columns.shape[1])
        away = columns - self._origin
        self._sum = self._sum + away.sum(axis=0)
        self._squares = self._squares + np.sum(np.abs(away) ** 2, axis=0)
        self.count += len(columns)

    @property
    def deviation(self) -> Array:
        """Shape (n,)."""
        variance = self._squares / self.count - np.abs(self._sum / self.count) ** 2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _unforced(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory], n: int
) -> Iterator[tuple[Array, Array]]:
    """Yield lifted states before and after a step, the inputs' effect taken off, (T, n) each."""
    for Z, Z_next, U in lifted_pairs(model, data):
        forced = U @ model.B.T
        if model.N is not None:
            forced += np.einsum("ti,ijk,tk->tj", U, model.N, Z, optimize=True)
        yield Z[:, :n], (Z_next - forced)[:, :n]


def _whitened(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory], n_directions: int
) -> tuple[Array, Array]:
    """Return P with orthonormal columns and Y, (2 n, r) each: lifted data before and after."""
    core = core_of(model)
    n = core.stop - core.start
    R = np.zeros((0, 1 + 2 * n))
    for Z, Z_next in _unforced(model, data, core.stop):
        rows = np.hstack([np.ones((len(Z), 1)), Z[:, core], Z_next[:, core]])
        R = triangular(np.vstack([R, rows]))
    if len(R) < 2:
        raise ValueError("data holds too few steps that are free of limits; expected at least two")
    R = R[1:, 1:]  # what the constant does not explain: deviations from the mean
    _, s, Vt = decomposed(R[:, :n])
    r = min(n_directions, int(np.sum(s > PRINCIPAL * s[0])))
    whiten = Vt[:r].T / s[:r]
    return R[:, :n] @ whiten, R[:, n:] @ whiten
