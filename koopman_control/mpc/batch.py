"""One controller for many copies of a plant at once, as in vector environments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.planning.plan import recover
from koopman_control.mpc.problem import Parameters
from koopman_control.mpc.state import (
    Rung,
    Situation,
    Start,
    TargetRows,
    fallback_inputs,
    reachable_from,
)
from koopman_control.mpc.weights import Weights

Mask = NDArray[np.bool_]


class Progress(NamedTuple):
    """What changes from step to step; replaced as a whole, so that no interrupt tears it.

    Args:
        plans: Latest plans, zero where there is none, shape (n, N, m).
        planned: Which copies have one, shape (n,).
        previous: Inputs applied last, shape (n, m).
        steps: Steps since the copies' episodes began, shape (n,).
    """

    plans: Array
    planned: Mask
    previous: Array
    steps: NDArray[np.int_]


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
        self._now = Progress(
            plans=np.zeros((n_copies, N, m)),
            planned=np.zeros(n_copies, dtype=bool),
            previous=np.tile(safe, (n_copies, 1)),
            steps=np.zeros(n_copies, dtype=int),
        )
        self.solved, self.fallback = np.zeros((2, n_copies), dtype=bool)

    @checked
    def reset(self, copies: Mask | None = None, previous_input: ArrayLike | None = None) -> None:
        """Begin an episode of the copies marked in a boolean array (n,), or of all.

        Args:
            copies: Which ones; None: all.
            previous_input: Input under which they rest, shape (m,), or (n, m) with a row for every
                copy, marked or not; None: the safe input. See `KoopmanMPC.reset`.

        Raises:
            TypeError | ValueError: If one of them is of another shape or kind, or not finite.
        """
        now = self._now
        plans, planned = now.plans.copy(), now.planned.copy()
        previous, steps = now.previous.copy(), now.steps.copy()
        n, m = previous.shape
        chosen = np.ones(n, dtype=bool) if copies is None else np.asarray(copies)
        if chosen.shape != (n,) or chosen.dtype != np.bool_:
            raise ValueError(f"copies has shape {chosen.shape}; expected ({n},) booleans")
        rest = np.tile(self._safe, (n, 1))
        if previous_input is not None:
            given = finite_array("previous_input", previous_input)
            if given.shape not in ((m,), (n, m)):
                raise ValueError(
                    f"previous_input has shape {given.shape}; expected ({m},), the same for all "
                    f"copies, or ({n}, {m})"
                )
            rest = reachable_from(np.broadcast_to(given, (n, m)), self._weights)
        plans[chosen], planned[chosen] = 0.0, False
        previous[chosen], steps[chosen] = rest[chosen], 0
        self._now = Progress(plans, planned, previous, steps)
        self.solved = self.solved & ~chosen

    def act(self, observations: ArrayLike, *, applied: ArrayLike | None = None) -> Array:
        """Return the actions (n, m) for observations of shape (n, p).

        What else goes wrong than these arguments, an error that a signal's handler raises for one,
        lets all copies fall back. An interrupt leaves them as before the step, or as after it; see
        `KoopmanMPC.act`.

        Args:
            observations: Shape (n, p).
            applied: Inputs that acted since the call before in place of the actions it returned,
                shape (n, m); repeat the action of a copy of which nothing else is known. None: the
                actions as they were returned.

        Raises:
            TypeError | ValueError: If one of them has another shape or is not finite.
        """
        before = self._now
        try:
            try:
                return self._stepped(*self._looked_at(observations, applied))
            except Exception:  # whatever it is, the loop must go on
                pass
            if self._now is not before:  # it came after all was done
                return self._now.previous.copy()
            Y, now = self._looked_at(observations, applied)  # what is of no use is so again
            recover(self._planner)
            return self._stepped(Y, now, fall_back=True)
        except Exception:
            raise
        except BaseException:
            recover(self._planner)
            raise

    def _looked_at(
        self, observations: ArrayLike, applied: ArrayLike | None
    ) -> tuple[Array, Progress]:
        """Check what `act` is given: observations (n, p), and the state with what acted."""
        now = self._now
        shape = len(now.steps), self._model.coordinates.n_observations
        Y = finite_array("observations", observations, shape=shape)
        if applied is None:
            return Y, now
        acted = finite_array("applied", applied, shape=now.previous.shape)
        return Y, now._replace(previous=reachable_from(acted, self._weights))

    def _stepped(self, Y: Array, now: Progress, fall_back: bool = False) -> Array:
        """Go on by one step from `now`; all fall back if they have to."""
        plans, planned, solved, fallback = (
            self._fallen_back(now) if fall_back else self._planned(Y, now)
        )
        rate, (low, high) = self._weights.rate_bounds, self._weights.input_bounds[:, 0]
        u = np.clip(plans[:, 0], now.previous - rate, now.previous + rate)
        u = np.clip(u, low, high)
        plans[~planned] = 0.0
        answer = u.copy()
        self.solved, self.fallback = solved, fallback
        self._now = Progress(plans, planned, u, now.steps + 1)  # last: from here on it is done
        return answer

    def _planned(self, Y: Array, now: Progress) -> tuple[Array, Mask, Mask, Mask]:
        """Plan for observations Y (n, p); which copies have a plan, a solution, a fallback."""
        X = self._model.coordinates.state(Y)
        (R, some), (V, others) = (target.each(Y, now.steps) for target in self._targets)
        asked = some & others
        own = np.tile(self._parameters.theta, (len(X), 1))
        by_copy = R.reshape(len(X), -1), V.reshape(len(X), -1), now.previous, own
        at = Situation(Start(X), R, V, now.previous, np.concatenate(by_copy, axis=1))
        planned, fallback = np.ones(len(X), dtype=bool), np.zeros(len(X), dtype=bool)
        with np.errstate(all="ignore"):  # a copy beyond all numbers falls back alone
            plans, solved = self._planner.plans(at, now.plans)
            for i in np.flatnonzero(~(solved & asked)).tolist():
                own_parts = R[i], V[i], now.previous[i], at.theta[i]
                one = Situation(Start(X[i]), *own_parts) if asked[i] else None
                rung, plans[i] = self._alone(now, i, one)
                solved[i] = rung in ("solved", "softened")
                planned[i], fallback[i] = rung != "safe", rung != "solved"
        return plans, planned, solved, fallback

    def _alone(self, now: Progress, i: int, at: Situation | None) -> tuple[Rung, Array]:
        """Plan for one copy as its own controller does; None where nothing is asked of it."""
        before = now.plans[i] if now.planned[i] and at is not None else None
        if at is not None:
            plan = self._planner.plan(at, before)
            if plan.status == "optimal":
                return "softened" if plan.softened else "solved", plan.U
        return fallback_inputs(before, now.previous[i], self._safe, self._weights)

    def _fallen_back(self, now: Progress) -> tuple[Array, Mask, Mask, Mask]:
        """Let every copy continue its plan, or go to the safe input."""
        each = zip(now.plans, now.planned.tolist(), now.previous, strict=True)
        plans = [
            fallback_inputs(plan if planned else None, previous, self._safe, self._weights)[1]
            for plan, planned, previous in each
        ]
        nobody = np.zeros_like(now.planned)
        return np.stack(plans), now.planned.copy(), nobody, ~nobody
