"""The price of predicted states beyond the training data, where a model knows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
from cvxpy.atoms.elementwise.maximum import maximum
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control.common.arrays import Array, positive_float
from koopman_control.identification import LiftedModel
from koopman_control.mpc.statement.terms import Term


def pull_back(model: LiftedModel, weight: float) -> tuple[Term, ...]:
    """State the price as a term of the problem; none for a weight of zero.

    Args:
        model: Tells where its training data lie.
        weight: Price per squared distance beyond their edge, where 1 is half their width, of each
            axis and step. Angles and the past are not priced.

    Raises:
        ValueError: If the weight is negative, or the model does not know its data.
    """
    if weight == 0.0:
        return ()
    positive_float("trust_weight", weight)
    if model.ground is None:
        raise ValueError(
            f"trust_weight is {weight}, but the model does not know where its training data lie; "
            "fit it with EDMDc, or bound its states by output_bounds"
        )
    return (Term("penalize", Beyond(*_present(model), weight)),)


@dataclass(frozen=True)
class Beyond:
    """The price as a function of y, u and parameters; y along axes is rows y + middle.

    Args:
        rows: Shape (k, d).
        middle: Shape (k,).
        weight: Price.
    """

    rows: Array
    middle: Array
    weight: float

    def __call__(self, y: cp.Expression, u: cp.Expression, p: Any) -> cp.Expression:
        """State the price of outputs y, shape (N, d)."""
        along = y @ self.rows.T + np.tile(self.middle, (y.shape[0], 1))
        beyond: cp.Expression = sum_squares(maximum(along - 1.0, -1.0 - along, 0.0))
        beyond *= self.weight
        return beyond


def _present(model: LiftedModel) -> tuple[Array, Array]:
    """Rows (k, d) and offsets (k,) of the known ground that see present states alone."""
    coordinates, ground = model.coordinates, model.ground
    assert ground is not None
    states = np.flatnonzero(~coordinates.is_angle[: coordinates.n_outputs])
    n = len(states)  # feature inputs begin with them
    own = ground[~ground[:, 1 + n :].any(axis=1)]
    scaled = own[:, 1 : 1 + n] / model.scale[:n]
    rows = np.zeros((len(own), coordinates.n_outputs))
    rows[:, states] = scaled
    return rows, own[:, 0] - scaled @ model.center[:n]
