"""What holds the coefficients of a regression back: ridge, truncation or sparsity."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import enet_path

from koopman_control.common.arrays import Array
from koopman_control.identification.least_squares import RFactor

SWEEPS = 2000
BLIND = 1e-12  # relative size under which a column is rounding


@dataclass(frozen=True)
class SparseSolver:
    """LASSO min |Phi k - y|^2 / 2T + alpha |k|_1 per target, then least squares on its support.

    The first regressor, the constant, is never penalised; the others count in standard deviations,
    so that the choice does not depend on units.

    Args:
        factor: R factor of the data.
        l1_ratio: 1 is the LASSO, less an elastic net (scikit-learn's `l1_ratio`).
    """

    factor: RFactor
    l1_ratio: float = 1.0

    def solve(self, regularization: float | Array, targets: Sequence[int] | None = None) -> Array:
        """Return K of shape (k, q).

        Args:
            regularization: Penalty relative to the smallest that leaves the constant only, per
                target: 0 keeps every regressor, 1 none. One number, or one per target, (q,).
            targets: The targets to solve for, which q then counts; None: all.
        """
        Y = self._Y if targets is None else self._Y[:, targets]
        strengths = np.broadcast_to(regularization, Y.shape[1:])
        K = np.zeros((self._X.shape[1], Y.shape[1]))
        for j, chosen in enumerate(self._support(Y, strengths)):
            K[chosen, j] = np.linalg.lstsq(self._X[:, chosen], Y[:, j], rcond=None)[0]
        return K

    @cached_property
    def _triangle(self) -> Array:
        return np.asarray(np.linalg.qr(self.factor.R[: self.factor.n_regressors], mode="r"))

    @property
    def _X(self) -> Array:
        return self._triangle[:, : self.factor.n_regressors]

    @property
    def _Y(self) -> Array:
        return self._triangle[:, self.factor.n_regressors :]

    def _support(self, targets: Array, strengths: Array) -> list[NDArray[np.bool_]]:
        """Choose regressors for every target; rows below the first have the mean taken out."""
        X, Y = self._X[1:, 1:], targets[1:]
        size = np.linalg.norm(X, axis=0)
        seen = size > BLIND * np.linalg.norm(self._X[:, 1:], axis=0)
        X = np.divide(X, size, out=np.zeros_like(X), where=seen)
        gram, correlation = X.T @ X, X.T @ Y
        chosen = []
        for j in range(Y.shape[1]):
            strongest = np.abs(correlation[:, j]).max(initial=0.0)
            moves = strongest > BLIND * np.linalg.norm(targets[:, j])
            used = seen if strengths[j] == 0.0 else np.zeros_like(seen)
            if moves and strengths[j] > 0.0:
                alpha = strengths[j] * strongest / len(X) / self.l1_ratio
                used = self._path(X, Y[:, j], gram, correlation[:, j], alpha)
            chosen.append(np.concatenate([[True], used]))
        return chosen

    def _path(
        self, X: Array, y: Array, gram: Array, correlation: Array, alpha: float
    ) -> NDArray[np.bool_]:
        with warnings.catch_warnings():  # the support settles long before the coefficients
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, coefficients, _ = enet_path(
                X,
                y,
                l1_ratio=self.l1_ratio,
                alphas=[alpha],
                precompute=gram,
                Xy=correlation.copy(),
                max_iter=SWEEPS,
                tol=1e-8,
            )
        return np.asarray(coefficients[:, 0] != 0.0)


Penalty = Literal["ridge", "truncation", "lasso", "elasticnet"]
L1_RATIO = {"lasso": 1.0, "elasticnet": 0.5}
RIDGE_PATH = tuple(10.0**k for k in range(-14, -1))
LASSO_PATH = (1e-4, 1e-3, 1e-2, 1e-1)


class Solver(Protocol):
    """Coefficients for any strength of one kind of penalty."""

    def solve(self, regularization: float | Array, targets: Sequence[int] | None = None) -> Array:
        """Return K of shape (k, q), from one strength or one per target, shape (q,).

        With `targets`, q counts only these.
        """
        ...


def solver_for(penalty: Penalty, factor: RFactor) -> Solver:
    """Prepare to solve with the given penalty."""
    if penalty in L1_RATIO:
        return SparseSolver(factor, L1_RATIO[penalty])
    return factor.solver(truncate=penalty == "truncation")


def path_of(penalty: Penalty) -> tuple[float, ...]:
    """Return the strengths worth trying."""
    return LASSO_PATH if penalty in L1_RATIO else RIDGE_PATH
