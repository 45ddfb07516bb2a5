"""Eigenvalues, modes and eigenfunctions of a model, and which of them the data confirm.

Confirmed by residuals: how badly data obey an eigenvalue, and the least residual of any observable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array, positive_int
from koopman_control.common.border import at_least, checked, shown
from koopman_control.identification.least_squares import decomposed, triangular
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.structure import core_of, lifted_pairs
from koopman_control.trajectories import Trajectory

Complex = NDArray[np.complex128]
PRINCIPAL = 1e-13  # relative; lifted directions with less than this say nothing
STILL = 1e-10  # relative to its parts; an eigenfunction that moves less does so by its rounding


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
    """Return residuals and standard deviations of the eigenfunctions on data, shape (n,) each.

    What moves by rounding alone, such as the difference of two equal features, does not move: its
    deviation is zero, and its residual infinite.
    """
    off, size, lifted = _Spread(), _Spread(), _Spread()
    for Z, Z_next in _unforced(model, data, len(values)):
        before = Z @ W.conj()
        size.add(before)
        lifted.add(Z.astype(np.complex128))
        off.add(Z_next @ W.conj() - values * before)
    if not size.count:
        raise ValueError("data holds no step that is free of limits; expected at least one")
    rounding = STILL * (np.abs(W).T @ lifted.deviation)
    moved = np.where(size.deviation > rounding, size.deviation, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = off.deviation / moved
    return np.where(moved > 0.0, ratio, np.inf), moved


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


DEFECTIVE = 1e12  # condition of the eigenvectors beyond which they are no basis
SAME = 1e-12  # eigenvalues this close are one
SPURIOUS = 0.1  # residual of an eigenfunction that the data do not confirm


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a lifted model by falling modulus, with all that belongs to each.

    Args:
        model: The model.
        eigenvalues: Per time step, shape (n,); angles are left out, see the module.
        modes: What an eigenfunction contributes to the states (to the step of an angle), shape
            (d, n): x = sum_i modes_i phi_i(x). Infinite or huge where the model is defective.
        weights: Eigenfunctions' weights w on the lifted state, shape (n, n), one per column, so
            that phi has unit standard deviation on the data; without data, the columns are unit
            vectors (the constant eigenfunction is 1 in both cases).
        condition: Condition number of every eigenvalue, shape (n,); 1 is perfect, 1e8 means that
            half of its digits are gone.
        residuals: Of every eigenpair on the data, shape (n,), or None without data.
        complete: Whether the eigenvectors are a basis, as they must be for an expansion in modes.
    """

    model: LiftedModel = field(repr=False)
    eigenvalues: Complex
    modes: Complex = field(repr=False)
    weights: Complex = field(repr=False)
    condition: Array = field(repr=False)
    residuals: Array | None
    complete: bool

    @property
    def rates(self) -> Complex:
        """Continuous-time eigenvalues log(lambda) / dt in 1/s (per step where dt is None)."""
        moduli, dt = np.abs(self.eigenvalues), self.model.dt or 1.0
        with np.errstate(divide="ignore"):  # an eigenvalue 0 decays at once
            return np.asarray(np.log(moduli) / dt + 1j * np.angle(self.eigenvalues) / dt)

    @property
    def frequencies(self) -> Array:
        """Frequencies in Hz (per step where dt is None), shape (n,); negative for conjugates."""
        return np.asarray(self.rates.imag / (2.0 * np.pi))

    @property
    def growth(self) -> Array:
        """Growth rates in 1/s (per step where dt is None), shape (n,); negative if decaying."""
        return np.asarray(self.rates.real)

    @checked
    def spurious(self, tolerance: float = SPURIOUS) -> NDArray[np.bool_]:
        """Say which eigenvalues the data do not confirm, shape (n,).

        Raises:
            ValueError: If the spectrum was made without data.
        """
        at_least("tolerance", tolerance, 0)
        if self.residuals is None:
            raise ValueError("this spectrum has no residuals; call spectrum(model, data)")
        return np.asarray(~(self.residuals <= tolerance))

    @checked
    def eigenfunctions(self, x: ArrayLike) -> Complex:
        """Evaluate all eigenfunctions at states, shape (..., d) to (..., n)."""
        states = finite_array("x", x)
        if states.shape[-1:] != (self.model.n_states,):
            raise ValueError(
                f"x has shape {states.shape}; expected {self.model.n_states} states in the last "
                "dimension"
            )
        psi = self.model.lift(states)[..., : len(self.weights)]
        return np.asarray(psi @ self.weights.conj())


@checked
def spectrum(model: LiftedModel, data: Trajectory | Sequence[Trajectory] | None = None) -> Spectrum:
    """Analyse the spectrum of a model; with data, also tell true from spurious eigenvalues.

    Args:
        model: The model. Of a bilinear one, the spectrum is that at u = 0.
        data: Trajectories, best held-out ones. They are gone through once, in pieces.

    Returns:
        The spectrum.

    Example:
        >>> found = spectrum(model, held_out)  # doctest: +SKIP
        >>> found.frequencies[~found.spurious()]  # doctest: +SKIP
    """
    core = core_of(model)
    values, W, V, complete = _decomposed(model.A[: core.stop, : core.stop], core.start)
    residuals = None
    if data is not None:
        residuals, size = eigenpair_residuals(model, values, W, data)
        if core.start:
            residuals[0] = 0.0  # the constant, exact by construction
            size[0] = 1.0
        W = W / np.where(size > 0.0, size, 1.0)
    overlap = np.einsum("ij,ij->j", W.conj(), V)
    with np.errstate(divide="ignore", invalid="ignore"):
        condition = np.linalg.norm(W, axis=0) * np.linalg.norm(V, axis=0) / np.abs(overlap)
        modes = (_step_read_out(model, core.stop) @ V) / overlap
    order = np.argsort(-np.round(np.abs(values) / SAME), kind="stable")
    return Spectrum(
        model,
        values[order],
        modes[:, order],
        W[:, order],
        condition[order],
        None if residuals is None else residuals[order],
        complete,
    )


def _decomposed(A: Array, n_constant: int) -> tuple[Complex, Complex, Complex, bool]:
    """Return eigenvalues, left and right eigenvectors (columns), and whether they are a basis.

    The constant, if there is one, comes first and apart: its eigenvalue 1 is often repeated, and
    eigenvectors of equal eigenvalues would be mixed with it at random.
    """
    F, a = A[n_constant:, n_constant:], A[n_constant:, :n_constant]
    values, W, V = (np.asarray(p, np.complex128) for p in scipy.linalg.eig(F, left=True))
    complete = bool(np.linalg.cond(V) < DEFECTIVE) if len(F) else True
    if complete:  # LAPACK's left vectors of equal eigenvalues are not matched to the right ones
        W = np.asarray(np.linalg.inv(V).conj().T, np.complex128)
        W /= np.linalg.norm(W, axis=0)
    if not n_constant:
        return values, W, V, complete
    gap = values - 1.0
    drift = (W.conj().T @ a)[:, 0]
    apart = np.abs(gap) > SAME
    on_constant = np.where(apart, drift / np.where(apart, gap, 1.0), 0.0)
    resting = np.linalg.lstsq(np.eye(len(F)) - F, a[:, 0], rcond=None)[0]
    whole_W = np.zeros((len(A), len(A)), dtype=np.complex128)
    whole_V = np.zeros_like(whole_W)
    whole_W[0, 0], whole_W[0, 1:], whole_W[1:, 1:] = 1.0, on_constant.conj(), W
    whole_V[:, 0], whole_V[1:, 1:] = np.concatenate([[1.0], resting]), V
    return np.concatenate([[1.0], values]), whole_W, whole_V, complete


def _step_read_out(model: LiftedModel, n: int) -> Array:
    """Read states, and for angles their step, off the lifted state without angles: (d, n)."""
    C = model.C[:, :n].copy()
    if n < model.n_lifted:
        angles = model.coordinates.is_angle
        C[angles] = (model.C @ (model.A - np.eye(model.n_lifted)))[angles, :n]
    return C
