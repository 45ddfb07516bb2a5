"""Eigenvalues, modes and eigenfunctions of a model, and which of them the data confirm.

An eigenfunction phi = w* psi moves by phi(x+) = lambda phi(x) + w* B u. How well data obey this,

    residual = std(w* (psi(x+) - B u) - lambda w* psi(x)) / std(w* psi(x)),

tells true eigenvalues from spurious ones ("ResDMD", Colbrook & Townsend 2024, arXiv 2111.14889).
Two things are peculiar here: the inputs' known effect is taken off, and functions count up to a
constant (standard deviations, not sums of squares), lest a slow spurious eigenfunction that is the
constant in disguise passes for a true one. Minimised over all w this is the pseudospectrum. Nothing
in a lifted model depends on an angle itself, so angles are left out of the lifted state here: they
would only add eigenvalues 1, and defective ones.

Judge on data the model was not fitted on: with as many features as samples all residuals vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.border import at_least, checked
from koopman_control.identification.analysis.residuals import Complex, eigenpair_residuals
from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.model.structure import core_of
from koopman_control.trajectories import Trajectory

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
    order = np.argsort(-np.abs(values), kind="stable")
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
