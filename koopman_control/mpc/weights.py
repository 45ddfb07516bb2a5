"""Weights and bounds of the control problem: checked, spread over the horizon, tightened."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, Index, balanced, finite_array, real_array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.settings import Bounds, Cost, Tube
from koopman_control.mpc.solvers.program import opened

Mask = NDArray[np.bool_]

NEVER = 1e3  # times as far as two inputs can lie apart; rates beyond that are no bound


def weight_matrix(name: str, value: ArrayLike, size: int) -> Array:
    """Expand a number, a diagonal (size,) or a matrix (size, size) to a checked weight."""
    given = finite_array(name, value)
    if given.ndim == 0:
        matrix = float(given) * np.eye(size)
    elif given.shape == (size,):
        matrix = np.diag(given)
    elif given.shape == (size, size):
        matrix = 0.5 * (given + given.T)
    else:
        raise ValueError(
            f"{name} has shape {given.shape}; expected a number, a diagonal ({size},) or a matrix "
            f"({size}, {size})"
        )
    scaled, _ = balanced(matrix)
    if float(np.linalg.eigvalsh(scaled)[0]) < -1e-12 * float(np.abs(scaled).max()):
        lowest = float(np.linalg.eigvalsh(matrix)[0])
        raise ValueError(
            f"{name} has eigenvalue {lowest:.3g}; expected a positive semidefinite weight, so that "
            "the cost is convex"
        )
    return matrix


def stage_weights(name: str, value: ArrayLike, size: int, horizon: int) -> Array:
    """Expand a weight, or one for each step, to shape (horizon, size, size).

    Where a shape can be read both ways, it is one weight for all steps.
    """
    given = finite_array(name, value)
    if given.shape in ((), (size,), (size, size)):
        return np.stack([weight_matrix(name, given, size)] * horizon)
    if given.shape in ((horizon,), (horizon, size), (horizon, size, size)):
        return np.stack([weight_matrix(name, of_step, size) for of_step in given])
    raise ValueError(
        f"{name} has shape {given.shape}; expected a number, a diagonal ({size},), a matrix "
        f"({size}, {size}), or one of these for each of the {horizon} steps, {horizon} rows first"
    )


def widened(array: Array, size: int, axes: int = 1) -> Array:
    """Fill the last axes of an array up with zeros to the given size."""
    padding = [(0, 0)] * (array.ndim - axes) + [(0, size - n) for n in array.shape[-axes:]]
    return np.pad(array, padding)


def stage_rows(name: str, value: ArrayLike, size: int, horizon: int) -> Array:
    """Expand a number, a row (size,) or rows (horizon, size) to shape (horizon, size)."""
    given, rows = finite_array(name, value), np.empty((horizon, size))
    try:
        rows[...] = given
    except ValueError:
        short = given.ndim == 2 and given.shape[1] == size and 1 < len(given) < horizon
        raise ValueError(
            f"{name} has shape {given.shape}; expected a number, shape ({size},) or shape "
            f"{rows.shape}{_lengthened(name, len(given), horizon) if short else ''}"
        ) from None
    return rows


def _lengthened(name: str, length: int, horizon: int) -> str:
    """Say how rows that do not reach the horizon's end come to do so."""
    return (
        f": its {length} rows end {horizon - length} steps before the horizon of {horizon}; to "
        f"hold the last one from there on, give np.concatenate([{name}, np.repeat({name}[-1:], "
        f"{horizon - length}, axis=0)]), or shorten the horizon"
    )


def box(
    name: str, value: ArrayLike | None, size: int, horizon: int, default: Array | None = None
) -> Array:
    """Expand bounds to shape (2, horizon, size): lows and highs; infinite where there is none."""
    if value is None:
        value = (-np.inf, np.inf) if default is None else default
    given = opened(real_array(name, value))
    if given.shape == (2,):
        given = np.repeat(given[:, None], size, axis=1)
    if given.shape == (2, size):
        given = np.repeat(given[:, None], horizon, axis=1)
    if given.shape != (2, horizon, size):
        raise ValueError(
            f"{name} has shape {given.shape}; expected (low, high), shape (2, {size}) or, for each "
            f"step, (2, {horizon}, {size})"
        )
    if np.isnan(given).any() or np.any(given[0] > given[1]):
        raise ValueError(f"{name} is {given.tolist()}; expected each low at or below its high")
    if np.any(given[0] == np.inf) or np.any(given[1] == -np.inf):
        raise ValueError(
            f"{name} is {given.tolist()}; expected lows below infinity and highs above its negative"
        )
    return given


def rates(value: ArrayLike | None, input_bounds: Array) -> Array:
    """Expand the largest input change to shape (m,); infinite where there is no bound.

    Nor is there one where a change is far larger than what lies between the inputs' bounds
    (2, N, m).
    """
    size = input_bounds.shape[2]
    if value is None:
        return np.full(size, np.inf)
    given = opened(real_array("rates", value))
    if given.shape not in ((), (1,), (size,)):
        raise ValueError(
            f"rates has shape {given.shape}; expected a number or one per input, ({size},)"
        )
    given = np.broadcast_to(given, (size,)).copy()
    if np.isnan(given).any() or np.any(given <= 0.0):
        raise ValueError(f"rates is {given.tolist()}; expected positive changes per step")
    apart = input_bounds[1].max(axis=0) - input_bounds[0].min(axis=0)
    return np.where(given > NEVER * apart, np.inf, given)


def slack_weights(value: ArrayLike | str, size: int) -> Array:
    """Expand prices of a violation to shape (2, size): per unit, and per unit squared.

    Those of "auto" follow from the rest of the problem; until then they are one.
    """
    if isinstance(value, str):
        return np.ones((2, size))
    given = finite_array("slack_weight", value)
    if given.shape not in ((), (2,), (2, size)):
        raise ValueError(
            f"slack_weight has shape {given.shape}; expected a number, (linear, quadratic) or "
            f"shape (2, {size})"
        )
    if given.shape == (2,):
        given = given[:, None]
    given = np.broadcast_to(given, (2, size)).copy()
    if np.any(given[0] < 0.0) or np.any(given[1] <= 0.0):
        raise ValueError(
            f"slack_weight is {np.asarray(value).tolist()}; expected a linear price of at least 0 "
            "and a quadratic one above 0"
        )
    return given


def soft_mask(value: Any, size: int) -> Mask:
    """Expand True, False or one of them for each output to shape (size,)."""
    given = np.asarray(value)
    if given.dtype != np.bool_ or given.shape not in ((), (size,)):
        raise ValueError(f"soft is {value!r}; expected True, False or {size} of them, per output")
    return np.broadcast_to(given, (size,)).copy()


def polytope_rows(value: Any, sizes: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Check (G_y, G_u, g) with shapes (k, d), (k, m) and (k,); (d, m) are the sizes."""
    g = row_sides("polytope's g", value[2])
    G_y = finite_array("polytope's G_y", value[0], shape=(len(g), sizes[0]))
    return G_y, finite_array("polytope's G_u", value[1], shape=(len(g), sizes[1])), g


def row_sides(name: str, value: ArrayLike) -> Array:
    """Check upper sides of rows, shape (k,); infinite where there is none."""
    sides = opened(real_array(name, value, ndim=1))
    if not np.all(sides > -np.inf):  # NaN is not, either
        raise ValueError(
            f"{name} is {sides.tolist()}; expected numbers, or infinity where a row has no side"
        )
    return sides


@dataclass(frozen=True)
class Weights:
    """Settings of the tracking problem, all checked.

    Args:
        Q: Output weights, shape (N, p, p), positive semidefinite.
        R: Input weights, shape (N, m, m), positive semidefinite.
        S: Weights of input changes, shape (N, m, m), positive semidefinite.
        terminal: Additional weight of the last output, shape (p, p), or of the last output and the
            last input, shape (p + m, p + m), positive semidefinite.
        linear_output: Cost per unit of each output, shape (N, p).
        linear_input: Cost per unit of each input, shape (N, m).
        input_bounds: Lowest and highest input, shape (2, N, m), finite or infinite.
        rate_bounds: Largest change of each input between two steps, shape (m,), or infinite.
        output_bounds: Lowest and highest output, shape (2, N, p).
        polytope: G_y (k, p), G_u (k, m) and g (N, k) of G_y y + G_u u <= g_i at step i.
        soft: Which outputs' bounds may be broken at a price, shape (p,).
        slack_weight: Prices of a violation v: l1 v + l2 v^2, shape (2, p).
        priced_by_units: Whether they follow from the states' units, so that what a row combines of
            them has its own.
    """

    Q: Array
    R: Array
    S: Array
    terminal: Array
    linear_output: Array
    linear_input: Array
    input_bounds: Array
    rate_bounds: Array
    output_bounds: Array
    polytope: tuple[Array, Array, Array]
    soft: Mask
    slack_weight: Array
    priced_by_units: bool = False

    def for_models(self, n: int) -> Weights:
        """Weigh the outputs of n models side by side: the mean cost, and the bounds of each."""
        if n == 1:
            return self
        G_y, G_u, g = self.polytope
        led_to = np.tile(G_y.any(axis=1), n)
        led_to[: len(G_y)] = True  # rows of inputs alone are the same for all
        return replace(
            self,
            Q=np.kron(np.eye(n), self.Q) / n,
            terminal=self._side_by_side(n),
            linear_output=np.tile(self.linear_output, n) / n,
            output_bounds=np.tile(self.output_bounds, n),
            polytope=(
                np.asarray(np.kron(np.eye(n), G_y)[led_to]),
                np.tile(G_u, (n, 1))[led_to],
                np.tile(g, n)[:, led_to],
            ),
            soft=np.tile(self.soft, n),
            slack_weight=np.tile(self.slack_weight, n) / n,
        )

    def _side_by_side(self, n: int) -> Array:
        """Terminal weight of the outputs of n models; the last input is the same for all."""
        p = self.Q.shape[1]
        of_state, with_input = np.kron(np.eye(n), self.terminal[:p, :p]) / n, self.terminal[:p, p:]
        if not with_input.size:
            return of_state
        beside = np.tile(with_input, (n, 1)) / n
        return np.block([[of_state, beside], [beside.T, self.terminal[p:, p:]]])


def weights_for(
    model: LiftedModel, horizon: int, controlled: Index, cost: Cost, bounds: Bounds
) -> Weights:
    """Check the settings of a controller against its model.

    Outputs are the model's present states; behind them, states that lie in the past stay free.

    Args:
        model: The model.
        horizon: Number of steps N.
        controlled: Indices of its inputs that are planned, shape (m,).
        cost: All but what depends on a target.
        bounds: All but the terminal set; not tightened yet.
    """
    d, p, m, N = model.coordinates.n_outputs, model.n_states, len(controlled), horizon
    G_y, G_u, g = _polytope(bounds.polytope, d, m)
    past = np.tile(np.array([-np.inf, np.inf])[:, None, None], (1, N, p - d))
    outputs = _output_bounds(bounds.outputs, bounds.terminal, d, N)
    allowed = None if model.action_bounds is None else model.action_bounds[:, controlled]
    inputs = box("input_bounds", bounds.inputs, m, N, allowed)
    Q, R = 1.0 if cost.Q is None else cost.Q, 0.0 if cost.R is None else cost.R
    return Weights(
        Q=widened(stage_weights("Q", Q, d, N), p, axes=2),
        R=stage_weights("R", R, m, N),
        S=stage_weights("S", cost.S, m, N),
        terminal=np.zeros((p, p)),
        linear_output=widened(stage_rows("linear_output", cost.linear_output, d, N), p),
        linear_input=stage_rows("linear_input", cost.linear_input, m, N),
        input_bounds=inputs,
        rate_bounds=rates(bounds.rates, inputs),
        output_bounds=np.dstack([outputs, past]),
        polytope=(widened(G_y, p), G_u, np.tile(g, (N, 1))),
        soft=np.append(soft_mask(bounds.soft, d), np.zeros(p - d, dtype=bool)),
        slack_weight=widened(slack_weights(bounds.slack_weight, d), p),
    )


def common_box(input_bounds: Array) -> Array:
    """Intersect input bounds (2, N, m) over the steps to (2, m), where guesses are drawn from.

    Raises:
        ValueError: If no input is allowed at all steps.
    """
    low, high = input_bounds[0].max(axis=0), input_bounds[1].min(axis=0)
    if np.any(low > high):
        raise ValueError(
            "input_bounds leave no input that is allowed at all steps; expected one for a "
            "nonlinear roll-out, whose guesses need it: widen them or use rollout='linear'"
        )
    return np.stack([low, high])


def _output_bounds(bounds: Any, terminal: Any, size: int, horizon: int) -> Array:
    """Tighten the bounds of the last step by the terminal ones."""
    both = box("output_bounds", bounds, size, horizon).copy()
    low, high = box("Bounds.terminal", terminal, size, 1)[:, 0]
    both[0, -1], both[1, -1] = np.maximum(both[0, -1], low), np.minimum(both[1, -1], high)
    if np.any(both[0, -1] > both[1, -1]):
        raise ValueError(
            f"Bounds.terminal {np.asarray(terminal).tolist()} and output_bounds leave nothing for "
            "the last state; expected boxes that meet"
        )
    return both


def _polytope(value: Any, d: int, m: int) -> tuple[Array, Array, Array]:
    if value is None:
        return np.zeros((0, d)), np.zeros((0, m)), np.zeros(0)
    return polytope_rows(value, (d, m))


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
            stacklevel=6,
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
            stacklevel=6,
        )
    known = np.maximum.accumulate(np.where(np.isfinite(quantiles), quantiles, 0.0), axis=0)
    return np.asarray(known[np.minimum(delay + np.arange(horizon), len(known) - 1)])
