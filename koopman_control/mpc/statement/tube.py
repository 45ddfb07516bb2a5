"""Margins for bounded noise: the tube about a plan in which feedback keeps the plant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, positive_int
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel
from koopman_control.mpc.regulator import riccati
from koopman_control.mpc.statement.settings import weight_matrix


class Tube(NamedTuple):
    """How far states, shape (N, d), and inputs, shape (N, m), may stray from a plan.

    Row k of the states is after k + 1 steps, of the inputs before it; the first one is as planned.
    """

    outputs: Array
    inputs: Array


@checked
def tube_margins(
    model: LiftedModel,
    horizon: int,
    noise: ArrayLike,
    Q: ArrayLike = 1.0,
    R: ArrayLike = 1.0,
) -> Tube:
    """Bound how far the plant strays from a plan under bounded noise and feedback.

    With |w| <= noise added to the states at each step, and the deviation from the plan e fed back
    by the regulator, e+ = (F - G K) e + w, so |e_k| <= sum_j<k |(F - G K)^j| noise, entry by
    entry. Constraints tightened by that leave the plan of the next step room to react (Chisci,
    Rossiter & Zappa, Automatica 37, 2001). The feedback takes |K e_k| of each input for itself, so
    input bounds move inwards, too, all but those of the present step (Mayne, Seron & Rakovic,
    Automatica 41, 2005). Rate bounds stay.

    Args:
        model: The model, linearised at zero.
        horizon: Number of steps N.
        noise: Largest |w| of each state: a number or shape (d,).
        Q: State weight of the regulator: a number, a diagonal (d,) or a matrix (d, d).
        R: Input weight of the regulator, likewise in m.

    Returns:
        Margins for `KoopmanMPC(tighten=...)`.

    Raises:
        ValueError: If a setting has the wrong shape, or the regulator does not stabilise the model.

    Example:
        >>> model = LiftedModel.from_arrays([[0.5]], [[0.0]])
        >>> tube_margins(model, 3, 0.1).outputs.ravel()
        array([0.1  , 0.15 , 0.175])
    """
    d, m = model.n_states, model.n_inputs
    N, w = positive_int("horizon", horizon), finite_array("noise", noise)
    if w.shape not in ((), (d,)) or (w < 0.0).any():
        raise ValueError(f"noise is {noise!r}; expected a bound of at least 0, or {d} of them")
    x, u = np.zeros(d), np.zeros(m)
    K, _ = riccati(model, x, u, weight_matrix("Q", Q, d), weight_matrix("R", R, m))
    F, G = (J[0] for J in model.one_step.jacobians(x[None], u[None]))
    closed = F - G @ K
    if np.abs(np.linalg.eigvals(closed)).max() >= 1.0:
        raise ValueError("the regulator does not stabilise the model; choose other Q and R")
    power, spread = np.eye(d), np.broadcast_to(w, (d,))
    strays = [(np.zeros(d), np.zeros(m))]
    for _ in range(N):
        states, inputs = strays[-1]
        step = np.abs(power) @ spread, np.abs(K @ power) @ spread
        strays.append((states + step[0], inputs + step[1]))
        power = closed @ power
    states, inputs = (np.array(part) for part in zip(*strays, strict=True))
    return Tube(states[1:, : model.coordinates.n_outputs], inputs[:-1])
