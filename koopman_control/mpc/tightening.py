"""What predictions may be off by: margins of bounds, tubes, and the price of unknown ground."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np
from cvxpy.atoms.elementwise.maximum import maximum
from cvxpy.atoms.sum_squares import sum_squares
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, positive_float, positive_int
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.problem import Term
from koopman_control.mpc.terminal import riccati
from koopman_control.mpc.weights import Mask, Weights, weight_matrix, widened


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


MOST = 0.45  # of the distance between two bounds; a tenth of it always stays


def tightened(
    weights: Weights, tighten: Any, model: LiftedModel, rollout: Rollout, delay: int
) -> Weights:
    """Move bounds inwards, and polytopes by the most that margins make of their rows."""
    w, (G_y, G_u, g) = weights, weights.polytope
    by_input = np.zeros(w.R.shape[:2])
    if isinstance(tighten, Tube):
        by_input = finite_array("tighten's input margins", tighten.inputs, shape=by_input.shape)
        tighten = tighten.outputs
    concerned = np.isfinite(w.output_bounds).any(axis=(0, 1)) | G_y.any(axis=0)
    hard = (concerned & ~w.soft)[: model.coordinates.n_outputs]
    margin = widened(margins(tighten, model, rollout, hard, len(w.Q), delay), model.n_states)
    return replace(
        w,
        input_bounds=moved_inwards(w.input_bounds, by_input, "input"),
        output_bounds=moved_inwards(w.output_bounds, margin, "state"),
        polytope=(G_y, G_u, g - margin @ np.abs(G_y).T - by_input @ np.abs(G_u).T),
    )


def margins(
    tighten: Any, model: LiftedModel, rollout: Rollout, hard: Mask, horizon: int, delay: int
) -> Array:
    """Check and spread the margins of a controller's output bounds.

    Args:
        tighten: "auto", False or margins, as for `KoopmanMPC`.
        model: The model; "auto" takes its error quantiles.
        rollout: How it is rolled out.
        hard: Which outputs have hard bounds, shape (d,); the others get no margin from "auto".
        horizon: Number of steps N.
        delay: Steps that predictions already reach ahead.

    Returns:
        Margins, shape (N, d).

    Raises:
        ValueError: If margins are negative, not finite or of the wrong shape.
        UserWarning: If the model's quantiles are unknown for some steps.
    """
    shape = (horizon, len(hard))
    if tighten is False or (isinstance(tighten, str) and tighten == "auto"):
        known = {} if tighten is False else model.error_quantiles
        if rollout not in known or not hard.any():
            return np.zeros(shape)
        kept = np.zeros(shape)
        kept[:, hard] = _over_horizon(known[rollout][:, hard], horizon, delay)
        return kept
    if isinstance(tighten, (str, bool)):
        raise ValueError(f'tighten is {tighten!r}; expected "auto", False or margins {shape}')
    given = finite_array("tighten", tighten)
    if not given.size or given.shape not in ((), shape[1:], shape) or (given < 0.0).any():
        raise ValueError(
            f"tighten has shape {given.shape}, smallest entry {given.min(initial=np.inf):g}; "
            f"expected margins of at least 0: a number, one per state {shape[1:]}, or one per "
            f"step, {shape}"
        )
    return np.broadcast_to(given, shape)


def moved_inwards(bounds: Array, margin: Array, what: str) -> Array:
    """Move bounds (2, N, d) of `what` inwards by margins (N, d), but never across each other.

    Raises:
        UserWarning: If there is not enough room between them.
    """
    low, high = bounds
    with np.errstate(invalid="ignore"):  # both may be infinite
        room = np.where(np.isfinite(bounds).all(axis=0), MOST * (high - low), np.inf)
    if np.any(margin > room):
        k, i = np.argwhere(margin > room)[0]
        warnings.warn(
            f"{what} {i} may be off by {margin[k, i]:.3g} after step {k + 1}, which "
            f"leaves nothing between its bounds {low[k, i]:g} and {high[k, i]:g}; a tenth of "
            "the distance is kept: shorten the horizon, improve the model or set tighten=False",
            UserWarning,
            stacklevel=5,
        )
    margin = np.minimum(margin, room)
    return np.stack([low + margin, high - margin])


def _over_horizon(quantiles: Array, horizon: int, delay: int) -> Array:
    """Pick the rows of steps delay + 1 ... delay + N; unknown ones are taken as the last known."""
    reach = int(np.isfinite(quantiles).all(axis=1).cumprod().sum())
    if reach < delay + horizon:
        warnings.warn(
            f"the model's error quantiles reach {reach} steps, the plan {delay + horizon}; beyond, "
            "bounds are tightened as at the last one known: fit with a longer horizon",
            UserWarning,
            stacklevel=5,
        )
    known = np.maximum.accumulate(np.where(np.isfinite(quantiles), quantiles, 0.0), axis=0)
    return np.asarray(known[np.minimum(delay + np.arange(horizon), len(known) - 1)])


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
    if model.signals.ground is None:
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
    coordinates, ground = model.coordinates, model.signals.ground
    assert ground is not None
    states = np.flatnonzero(~coordinates.is_angle[: coordinates.n_outputs])
    n = len(states)  # feature inputs begin with them
    own = ground[~ground[:, 1 + n :].any(axis=1)]
    scaled = own[:, 1 : 1 + n] / model.signals.scale[:n]
    rows = np.zeros((len(own), coordinates.n_outputs))
    rows[:, states] = scaled
    return rows, own[:, 0] - scaled @ model.signals.center[:n]
