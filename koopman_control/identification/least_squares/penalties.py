"""What holds the coefficients of a regression back: ridge, truncation or sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from koopman_control.common.arrays import Array
from koopman_control.identification.least_squares.factor import RFactor
from koopman_control.identification.least_squares.sparse import SparseSolver

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
