"""One controller for many copies of a plant at once, as in vector environments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel
from koopman_control.mpc.planning.plan import Plan, Situation
from koopman_control.mpc.planning.planner import QuadraticPlanning
from koopman_control.mpc.problem import Parameters
from koopman_control.mpc.state import Start
from koopman_control.mpc.step import Loop, Rung, recover
from koopman_control.mpc.targets import TargetRows
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
        planning: Plans for many states at once, or for a situation.
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
        planning: QuadraticPlanning,
        targets: tuple[TargetRows, TargetRows],
        parameters: Parameters,
        weights: Weights,
        safe: Array,
        n_copies: int,
    ) -> None:
        self._model, self._planning, self._targets = model, planning, targets
        self._parameters, self._weights, self._safe = parameters, weights, safe
        self._loop = Loop(weights, safe)  # stands in for that of a copy that needs one
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
            rest = self._loop.nearest(np.broadcast_to(given, (n, m)))
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
                return self._stepped(*self._looked_at(observations, applied), "")
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
            if self._now is not before:  # it came after all was done
                return self._now.previous.copy()
            Y, now = self._looked_at(observations, applied)  # what is of no use is so again
            recover(self._planning)
            return self._stepped(Y, now, why)
        except Exception:
            raise
        except BaseException:
            recover(self._planning)
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
        return Y, now._replace(previous=self._loop.nearest(acted))

    def _stepped(self, Y: Array, now: Progress, why: str) -> Array:
        """Go on by one step from `now`; all fall back if there is a reason why."""
        plans, planned, solved, fallback = (
            self._fallen_back(now, why) if why else self._planned(Y, now)
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
        own = np.tile(self._parameters.theta(), (len(X), 1))
        by_copy = R.reshape(len(X), -1), V.reshape(len(X), -1), now.previous, own
        at = Situation(Start(X), R, V, np.concatenate(by_copy, axis=1))
        planned, fallback = np.ones(len(X), dtype=bool), np.zeros(len(X), dtype=bool)
        with np.errstate(all="ignore"):  # a copy beyond all numbers falls back alone
            plans, solved = self._planning.plans(at, now.plans)
            for i in np.flatnonzero(~(solved & asked)).tolist():
                one = Situation(Start(X[i]), R[i], V[i], at.theta[i]) if asked[i] else None
                rung, plan = self._alone(now, i, one)
                plans[i], solved[i] = plan.U, plan.status == "optimal"
                planned[i], fallback[i] = rung != "safe", rung != "solved"
        return plans, planned, solved, fallback

    def _alone(self, now: Progress, i: int, at: Situation | None) -> tuple[Rung, Plan]:
        """Plan for one copy as its own controller does; None where nothing is asked of it."""
        loop = self._stand_in(now, i)
        if at is None:
            return loop.fall_back("nothing is asked", drop_plan=True)
        rung, plan = self._planning.plan(at, loop.plan, loop.previous)
        return (rung, plan) if plan.status == "optimal" else loop.fall_back(plan.status)

    def _fallen_back(self, now: Progress, why: str) -> tuple[Array, Mask, Mask, Mask]:
        """Let every copy continue its plan, or go to the safe input."""
        fallen = [self._stand_in(now, i).fall_back(why) for i in range(len(now.steps))]
        planned = np.array([rung != "safe" for rung, _ in fallen])
        nobody = np.zeros_like(planned)
        return np.stack([plan.U for _, plan in fallen]), planned, nobody, ~nobody

    def _stand_in(self, now: Progress, i: int) -> Loop:
        """The loop of one copy."""
        loop = self._loop
        loop.plan = now.plans[i] if now.planned[i] else None
        loop.previous = now.previous[i]
        return loop
