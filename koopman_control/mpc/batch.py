"""One controller for many copies of a plant at once, as in vector environments."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.problem import Parameters
from koopman_control.mpc.state import Rung, Situation, Start, TargetRows, fallback_inputs
from koopman_control.mpc.weights import Weights

Mask = NDArray[np.bool_]


class BatchMPC:
    """Acts for n copies of a plant; made by `KoopmanMPC.batch`.

    Each copy gets the action that a controller of its own would give it. Lifting, prediction and
    the programs that nothing holds back are products of matrices for all copies; the other
    programs go through one solver, whose factorisation stays in fast memory.

    Args:
        model: The model.
        planner: Plans for many states at once, or for a situation.
        targets: Of states and inputs.
        parameters: The user's own.
        weights: The settings; bounds hold whatever happens.
        safe: Input applied where there is no plan, shape (m,).
        n_copies: Number of copies n.

    Attributes:
        solved: Which copies' latest action comes from a solved program, shape (n,); the others
            continued their plan, or went to the safe input where they had none.
        fallback: As `Step.fallback`, for every copy: also where hard bounds were softened.
    """

    def __init__(
        self,
        model: LiftedModel,
        planner: LinearPlanner,
        targets: tuple[TargetRows, TargetRows],
        parameters: Parameters,
        weights: Weights,
        safe: Array,
        n_copies: int,
    ) -> None:
        self._model, self._planner, self._targets = model, planner, targets
        self._parameters, self._weights, self._safe = parameters, weights, safe
        N, m = weights.input_bounds.shape[1:]
        self._plans, self._planned = np.zeros((n_copies, N, m)), np.zeros(n_copies, dtype=bool)
        self._previous, self._steps = np.tile(safe, (n_copies, 1)), np.zeros(n_copies, dtype=int)
        self.solved, self.fallback = np.zeros((2, n_copies), dtype=bool)

    @checked
    def reset(self, copies: Mask | None = None) -> None:
        """Begin an episode of the copies marked in a boolean array (n,), or of all."""
        n = len(self._steps)
        chosen = np.ones(n, dtype=bool) if copies is None else np.asarray(copies)
        if chosen.shape != (n,) or chosen.dtype != np.bool_:
            raise ValueError(f"copies has shape {chosen.shape}; expected ({n},) booleans")
        self._plans[chosen], self._planned[chosen] = 0.0, False
        self._previous[chosen], self._steps[chosen] = self._safe, 0
        self.solved &= ~chosen

    def act(self, observations: ArrayLike) -> Array:
        """Return the actions (n, m) for observations of shape (n, p).

        Raises:
            ValueError: If observations have another shape or are not finite.
        """
        shape = len(self._steps), self._model.coordinates.n_observations
        Y = finite_array("observations", observations, shape=shape)
        X = self._model.coordinates.state(Y)
        (R, some), (V, others) = (target.each(Y, self._steps) for target in self._targets)
        asked = some & others
        own = np.tile(self._parameters.theta, (len(X), 1))
        by_copy = R.reshape(len(X), -1), V.reshape(len(X), -1), self._previous, own
        at = Situation(Start(X), R, V, self._previous, np.concatenate(by_copy, axis=1))
        planned, fallback = np.ones(len(X), dtype=bool), np.zeros(len(X), dtype=bool)
        with np.errstate(all="ignore"):  # a copy beyond all numbers falls back alone
            plans, solved = self._planner.plans(at, self._plans)
            for i in np.flatnonzero(~(solved & asked)).tolist():
                own_parts = R[i], V[i], self._previous[i], at.theta[i]
                one = Situation(Start(X[i]), *own_parts) if asked[i] else None
                rung, plans[i] = self._alone(i, one)
                solved[i] = rung in ("solved", "softened")
                planned[i], fallback[i] = rung != "safe", rung != "solved"
        self._apply(plans, planned)
        self.solved, self.fallback = solved, fallback
        return self._previous.copy()

    def _alone(self, i: int, at: Situation | None) -> tuple[Rung, Array]:
        """Plan for one copy as its own controller does; None where nothing is asked of it."""
        before = self._plans[i] if self._planned[i] and at is not None else None
        if at is not None:
            plan = self._planner.plan(at, before)
            if plan.status == "optimal":
                return "softened" if plan.softened else "solved", plan.U
        box, rate = self._weights.input_bounds, self._weights.rate_bounds
        return fallback_inputs(before, self._previous[i], self._safe, box, rate)

    def _apply(self, plans: Array, planned: Mask) -> None:
        """Go on by one step, within the bounds."""
        rate, (low, high) = self._weights.rate_bounds, self._weights.input_bounds[:, 0]
        u = np.clip(plans[:, 0], self._previous - rate, self._previous + rate)
        self._previous = np.clip(u, low, high)
        plans[~planned] = 0.0
        self._plans, self._planned = plans, planned
        self._steps += 1
