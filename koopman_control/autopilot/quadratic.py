"""Rewards that are concave quadratics of states and inputs: these the convex controller states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koopman_control.autopilot.modelling import MOST_RELIFTED
from koopman_control.autopilot.reward import MOST, EndModel, Samples
from koopman_control.autopilot.surface import fitted_surface
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, KoopmanMPC, Search

ALIKE = 0.999  # share of the variance of rewards that has to be explained
MOST_VARIABLES = 200  # of a program that is solved in a step
GROWN = 1e3  # times that a disturbance may grow along a plan; programs are ill-conditioned beyond
GUESSES, FIRST_GUESSES = 2, 64  # random plans beside the one before


@dataclass(frozen=True, eq=False)
class QuadraticReward:
    """The reward of a step, c - |x - x_r|_Q^2 - |u - u_r|_R^2, deviations of angles wrapped.

    Args:
        Q: Positive semidefinite, shape (d, d).
        R: Positive semidefinite, shape (m, m).
        state: Target x_r, shape (d,).
        input: Target u_r, shape (m,).
        explained: Share of the variance of the rewards that it explains.
    """

    Q: Array
    R: Array
    state: Array
    input: Array
    explained: float

    @classmethod
    def fit(cls, samples: Samples, model: LiftedModel) -> QuadraticReward | None:
        """Learn it from steps that ended no episode; None where the reward is of another kind.

        Where columns are many, only squares are fitted, and products with what stays the same in
        an episode: set-points.
        """
        going = np.flatnonzero(~samples.ended)
        if len(going) > MOST:
            going = going[np.linspace(0, len(going) - 1, MOST).astype(int)]
        x, after, u, r = (a[going] for a in (samples.x, samples.x_next, samples.u, samples.r))
        if model.coordinates.memory or len(going) < 2 or np.ptp(r) == 0.0:
            return None
        fixed = np.flatnonzero((x == after).all(axis=0) & (np.ptp(x, axis=0) > 0.0))
        sizes = model.signals.state_sizes, np.maximum(np.abs(u).max(axis=0), np.ptp(u, axis=0))
        effort = fitted_surface(u, r[:, None], [None])
        if effort.r2[0] >= ALIKE:  # it says nothing of states: what is aimed at is paid at the end
            return None
        found = (cls._of(at, u, r, sizes, fixed, model) for at in (after, x))
        return next((each for each in found if each.explained >= ALIKE), None)

    @classmethod
    def _of(
        cls,
        x: Array,
        u: Array,
        r: Array,
        sizes: tuple[Array, Array],
        fixed: NDArray[np.int64],
        model: LiftedModel,
    ) -> QuadraticReward:
        d = x.shape[1]
        surface = fitted_surface(np.hstack([x, u]), r[:, None], [None], beside=fixed)
        M = -0.5 * (surface.quadratic[0] + surface.quadratic[0].T)
        slope = -surface.linear[0]
        Q, state = _centred(M[:d, :d], slope[:d], sizes[0])
        R, rest = _centred(M[d:, d:], slope[d:], sizes[1])
        away = model.coordinates.wrap(x - state)
        paid = -((away @ Q) * away).sum(axis=1) - (((u - rest) @ R) * (u - rest)).sum(axis=1)
        left = r - paid
        explained = 1.0 - float(left.var() / r.var())
        return cls(Q, R, state, rest, explained)

    def farthest(self, model: LiftedModel) -> int:
        """Return for how many steps to plan at most, as the model grows at the target."""
        J = model.one_step.jacobians(self.state[None], self.input[None])[0][0]
        growth = float(np.abs(np.linalg.eigvals(J)).max())
        return int(np.log(GROWN) / np.log(growth)) if growth > 1.01 else MOST_VARIABLES

    def controller(
        self, model: LiftedModel, end: EndModel, box: Array, horizon: int, price: float, seed: int
    ) -> KoopmanMPC:
        """Return the convex controller that states it, and keeps away from where episodes end.

        Args:
            model: The learned model.
            end: When episodes end.
            box: Lowest and highest inputs, shape (2, m).
            horizon: Steps; fewer where the plant is so unstable that plans get out of hand.
            price: Of an input at the edge of its box, beside the reward.
            seed: Of random plans.
        """
        half = 0.5 * (box[1] - box[0])
        rate = price / np.where(half > 0.0, half, np.inf) ** 2
        large = len(model.signals.center) > MOST_RELIFTED
        held = np.isfinite(end.box).any()
        return KoopmanMPC(
            model,
            max(1, min(horizon, MOST_VARIABLES // box.shape[1], self.farthest(model))),
            cost=Cost(Q=self.Q, R=self.R + np.diag(rate), input_reference=self.input),
            bounds=Bounds(inputs=box, outputs=end.box if held else None),
            reference=self.state,
            rollout="linear" if large and model.N is None else "relifted",
            search=Search() if large else Search(1, 10, GUESSES, FIRST_GUESSES, seed),
        )


class Unobserved:
    """Plans of a controller from states of its model, in the order that these are met.

    Args:
        controller: The controller, of a model without memory.
    """

    def __init__(self, controller: KoopmanMPC) -> None:
        self._controller = controller
        controller.reset()

    def __call__(self, x: Array) -> Array:
        """Return the input (1, m) for a state (d,)."""
        coordinates = self._controller.model.coordinates
        y = np.zeros(coordinates.n_observations)
        for value, column in zip(x, coordinates.columns, strict=True):
            if isinstance(column, tuple) and len(column) == 2:
                y[column[0]], y[column[1]] = np.cos(value), np.sin(value)
            else:
                y[np.min(column)] = value
        return self._controller.act(y)[None]


def _centred(M: Array, slope: Array, size: Array) -> tuple[Array, Array]:
    """Write z' M z + slope' z as |z - center|_W^2 and a constant, as far as W >= 0 allows it."""
    s = np.where(size > 0.0, size, 1.0)
    values, vectors = np.linalg.eigh(M * np.outer(s, s))
    values = np.where(values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300), values, 0.0)
    W = (vectors * values) @ vectors.T
    inverse = np.where(values > 0.0, 1.0 / np.where(values > 0.0, values, 1.0), 0.0)
    center = -0.5 * vectors @ (inverse * (vectors.T @ (slope * s)))
    return W / np.outer(s, s), center * s
