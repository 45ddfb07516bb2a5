"""Weights and bounds of the control problem, checked and spread over the horizon."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.inputs import InputLayout
from koopman_control.mpc.statement.settings import (
    Mask,
    box,
    polytope_rows,
    rates,
    slack_weights,
    soft_mask,
    stage_rows,
    stage_weights,
    widened,
)


@dataclass(frozen=True)
class Weights:
    """Settings of the tracking problem, all checked.

    Args:
        Q: Output weights, shape (N, p, p), positive semidefinite.
        R: Input weights, shape (N, m, m), positive semidefinite.
        S: Weights of input changes, shape (N, m, m), positive semidefinite.
        terminal: Additional weight of the last output, shape (p, p), positive semidefinite.
        linear_output: Cost per unit of each output, shape (N, p).
        linear_input: Cost per unit of each input, shape (N, m).
        input_bounds: Lowest and highest input, shape (2, N, m), finite or infinite.
        rate_bounds: Largest change of each input between two steps, shape (m,), or infinite.
        output_bounds: Lowest and highest output, shape (2, N, p).
        polytope: G_y (k, p), G_u (k, m) and g (N, k) of G_y y + G_u u <= g_i at step i.
        soft: Which outputs' bounds may be broken at a price, shape (p,).
        slack_weight: Prices of a violation v: l1 v + l2 v^2, shape (2, p).
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
            terminal=np.kron(np.eye(n), self.terminal) / n,
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


class Costs(NamedTuple):
    """Costs as `KoopmanMPC` takes them, unchecked; of the same names and meaning as there."""

    Q: ArrayLike
    R: ArrayLike
    S: ArrayLike
    linear_output: ArrayLike
    linear_input: ArrayLike


class Bounds(NamedTuple):
    """Bounds as `KoopmanMPC` takes them, unchecked; of the same names and meaning as there."""

    input_bounds: ArrayLike | None
    rate_bounds: ArrayLike | None
    output_bounds: ArrayLike | None
    terminal_bounds: ArrayLike | None
    polytope: Any
    soft: ArrayLike
    slack_weight: ArrayLike


def weights_for(
    model: LiftedModel, inputs: InputLayout, horizon: int, costs: Costs, bounds: Bounds
) -> Weights:
    """Check the settings of a controller.

    Outputs are the model's present states; behind them, states that lie in the past stay free.
    """
    d, p, m, N = model.coordinates.n_outputs, model.n_states, len(inputs.controlled), horizon
    G_y, G_u, g = _polytope(bounds.polytope, d, m)
    past = np.tile(np.array([-np.inf, np.inf])[:, None, None], (1, N, p - d))
    outputs = _output_bounds(bounds.output_bounds, bounds.terminal_bounds, d, N)
    return Weights(
        Q=widened(stage_weights("Q", costs.Q, d, N), p, axes=2),
        R=stage_weights("R", costs.R, m, N),
        S=stage_weights("S", costs.S, m, N),
        terminal=np.zeros((p, p)),
        linear_output=widened(stage_rows("linear_output", costs.linear_output, d, N), p),
        linear_input=stage_rows("linear_input", costs.linear_input, m, N),
        input_bounds=box("input_bounds", bounds.input_bounds, m, N, inputs.bounds(model)),
        rate_bounds=rates(bounds.rate_bounds, m),
        output_bounds=np.dstack([outputs, past]),
        polytope=(widened(G_y, p), G_u, np.tile(g, (N, 1))),
        soft=np.append(soft_mask(bounds.soft, d), np.zeros(p - d, dtype=bool)),
        slack_weight=widened(slack_weights(bounds.slack_weight, d), p),
    )


def common_box(input_bounds: Array, rollout: Rollout) -> Array:
    """Intersect input bounds (2, N, m) over the steps to (2, m), where guesses are drawn from.

    Raises:
        ValueError: If no input is allowed at all steps, which a nonlinear roll-out needs.
    """
    low, high = input_bounds[0].max(axis=0), input_bounds[1].min(axis=0)
    if rollout != "linear" and np.any(low > high):
        raise ValueError(
            "input_bounds leave no input that is allowed at all steps; expected one for rollout "
            f"{rollout!r}, whose guesses need it: widen them or use rollout='linear'"
        )
    return np.stack([low, high])


def _output_bounds(bounds: Any, terminal: Any, size: int, horizon: int) -> Array:
    """Tighten the bounds of the last step by the terminal ones."""
    both = box("output_bounds", bounds, size, horizon).copy()
    low, high = box("terminal_bounds", terminal, size, 1)[:, 0]
    both[0, -1], both[1, -1] = np.maximum(both[0, -1], low), np.minimum(both[1, -1], high)
    if np.any(both[0, -1] > both[1, -1]):
        raise ValueError(
            f"terminal_bounds {np.asarray(terminal).tolist()} and output_bounds leave nothing for "
            "the last state; expected boxes that meet"
        )
    return both


def _polytope(value: Any, d: int, m: int) -> tuple[Array, Array, Array]:
    if value is None:
        return np.zeros((0, d)), np.zeros((0, m)), np.zeros(0)
    return polytope_rows(value, (d, m))
