"""The part of `KoopmanMPC` that acts: an action for every observation, never an exception."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, positive_int
from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.estimation import Estimator, History
from koopman_control.mpc.loop import Loop
from koopman_control.mpc.plan import Plan, Situation
from koopman_control.mpc.planning import Planning, QuadraticPlanning
from koopman_control.mpc.search import Effort, Search
from koopman_control.mpc.sight import Sight
from koopman_control.mpc.start import Start
from koopman_control.mpc.stated import Stated
from koopman_control.mpc.step import Rung, Step
from koopman_control.mpc.targets import TargetRows
from koopman_control.mpc.through_cvxpy import CvxpyPlanning
from koopman_control.mpc.weights import common_box


class Acting(Stated):
    """The loop: see, plan or fall back, and apply."""

    seed: int
    _delay: int
    _effort: Effort
    _estimator: Estimator
    _gain: Array
    _input_reference: TargetRows
    _safe: Array
    _sight: Sight

    def reset(self) -> None:
        """Forget the episode: plan, estimate, warm start, applied inputs and random state."""
        self._loop.restart()
        self._sight.restart()
        self._planning.reset()
        self.last = None

    def act(self, observation: ArrayLike, disturbance: ArrayLike | None = None) -> Array:
        """Return the action for an observation.

        Args:
            observation: Shape (p,).
            disturbance: Measured inputs: their present values (k,), taken to hold, or a preview
                (steps, k) from now on, the last row held. None: the forecast of the step before
                goes on; zero if there never was one.

        Returns:
            The action, shape (m,), inside the input and rate bounds. Whatever goes wrong, the
            previous plan is continued, or else the safe input applied; `last` tells.

        Raises:
            ValueError: In the first step of an episode only, if the observation or the disturbance
                is no array of the right shape.
        """
        start = time.perf_counter()
        self._planned_at: Situation | None = None
        trouble = self._sight.take_in(observation, disturbance, first=not self._loop.step)
        rung, plan = self._loop.fall_back(trouble) if trouble else self._attempt()
        self._loop.apply(rung, plan)
        self._sight.send(self._loop.previous)
        seconds = time.perf_counter() - start
        self.last = Step(rung, plan, self._planned_at, self._weights, seconds)
        return self._loop.previous.copy()

    def batch(self, n_copies: int) -> BatchMPC:
        """Return a controller of n copies of the plant at once, with the settings of this one.

        Only for linear roll-outs, and states that are observed: without memory, estimator, delay
        and measured inputs.

        Raises:
            ValueError: If this controller is another.

        Example:
            >>> many = mpc.batch(1000)  # doctest: +SKIP
            >>> actions = many.act(observations)  # doctest: +SKIP
        """
        plain = type(self._estimator) is History and not self.model.coordinates.memory
        plain &= not self._delay and not len(self._layout.measured)
        if self.rollout != "linear" or not plain or isinstance(self._planning, CvxpyPlanning):
            raise ValueError(
                "batch needs a quadratic program on a linear roll-out, without memory, estimator, "
                "input delay and measured inputs; give each copy a controller of its own"
            )
        n = positive_int("n_copies", n_copies)
        loops = [Loop(self._weights, self._safe) for _ in range(n)]
        planning = self._planning
        assert isinstance(planning, QuadraticPlanning)
        return BatchMPC(self.model, planning, self._situated, loops)

    def _assemble(self) -> None:
        """Compile the problem and set up all that is solved at every step."""
        w, layout, N = self._weights, self._layout, self.horizon
        self._loop = Loop(w, self._safe)
        self._sight = Sight(
            self.model, self.rollout, self._estimator, layout, self._delay, N, self._safe
        )
        self._planning = self._planned()
        self.reset()

    def _planned(self) -> Planning:
        w, scenarios, controlled = self._weights, self._scenarios, self._layout.controlled
        if self.solver == "cvxpy" or not self._stated.stated.is_qp():
            rounds = self._effort.iterations
            return CvxpyPlanning(self._stated, scenarios, self._held, rounds, controlled)
        box = common_box(w.input_bounds, self.rollout)
        search = Search(scenarios, self._effort, self._gain, box, w.rate_bounds, self.seed)
        return QuadraticPlanning(
            scenarios,
            self.horizon,
            self.qp,
            self._held,
            self.solver,
            search,
            w.slack_weight.max(axis=1),
            controlled,
        )

    def _situation(self, y: Array) -> Situation:
        """Describe what a plan would start from at an observation (p,)."""
        return self._situated(y, self._sight.start_at(y), self._loop)

    def _situated(self, y: Array, start: Start, loop: Loop) -> Situation:
        """Collect what a plan depends on, from a start in a loop."""
        step, previous = loop.step, loop.previous
        reference, inputs = self._reference(y, step), self._input_reference(y, step)
        own = self.parameters.theta()
        theta = np.concatenate([reference.ravel(), inputs.ravel(), previous, own])
        return Situation(start, reference, inputs, theta)

    def _attempt(self) -> tuple[Rung, Plan]:
        """Plan, or else fall back and say why."""
        try:
            sight = self._sight
            self._planned_at = at = self._situated(sight.seen, sight.start, self._loop)
            rung, plan = self._planning.plan(at, self._loop.plan, self._loop.previous)
        except Exception as error:  # whatever it is, the loop must go on
            self._planning.reset()
            return self._loop.fall_back(f"{type(error).__name__}: {error}")
        if plan.status != "optimal":
            return self._loop.fall_back(plan.status)
        return rung, plan
