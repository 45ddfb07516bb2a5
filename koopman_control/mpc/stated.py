"""What a controller is made of: its problem, how to add to it, and how to look at it."""

from __future__ import annotations

from typing import Self

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, positive_int
from koopman_control.common.border import checked
from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.compiled import Compiled
from koopman_control.mpc.estimation import History
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.planning.plan import Situation
from koopman_control.mpc.planning.quadratic import QuadraticPlanning
from koopman_control.mpc.planning.sequential import SequentialPlanner
from koopman_control.mpc.planning.through_cvxpy import TIGHT, solved_about
from koopman_control.mpc.start import Start
from koopman_control.mpc.statement.explanation import Explanation, program_of, reached, sizes_of
from koopman_control.mpc.statement.terms import Build, Term


class Stated(Compiled):
    """The part of `KoopmanMPC` that states its problem, extends it and explains it."""

    @checked
    def constrain(self, build: Build, **parameters: ArrayLike | cp.Parameter) -> Self:
        """Return a controller with further constraints; this one stays as it is.

        With several models, they hold for the predicted states of each. Several calls in a row
        compile once, at `reset` or in the first step.

        Args:
            build: Function of the predicted states y, shape (N, d), rows after 1 ... N steps; the
                inputs u, shape (N, m); and the parameters p, as attributes. It returns CVXPY
                constraints, one or a list.
            parameters: Names and first values of parameters in them; `parameters` sets others
                later. A `cvxpy.Parameter` with a value declares a sign.

        Raises:
            ValueError: If a constraint is not convex or not affine in the parameters.

        Example:
            >>> mpc = mpc.constrain(  # doctest: +SKIP
            ...     lambda y, u, p: [y[:, 0] <= p.ceiling, cp.sum(u) <= 3.0], ceiling=0.4
            ... )
            >>> mpc.parameters["ceiling"] = 0.3  # doctest: +SKIP
        """
        return self._with(Term("constrain", build), parameters)

    @checked
    def penalize(self, build: Build, **parameters: ArrayLike | cp.Parameter) -> Self:
        """Return a controller with a further cost; this one stays as it is.

        With several models, it is the mean over their predicted states.

        Args:
            build: Function as in `constrain` that returns one convex CVXPY expression, a number.
            parameters: As in `constrain`.

        Raises:
            ValueError: If the cost is not convex or not affine in the parameters.

        Example:
            >>> mpc = mpc.penalize(  # doctest: +SKIP
            ...     lambda y, u, p: p.price @ u[:, 0], price=np.ones(30)
            ... )
        """
        return self._with(Term("penalize", build), parameters)

    @checked
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
        plain = type(self._estimators[0]) is History and not self.model.coordinates.memory
        plain &= not self._delay and not len(self._layout.measured)
        plain &= self.rollout == "linear"
        if not (plain and isinstance(self._planning, QuadraticPlanning)):
            raise ValueError(
                "batch needs a quadratic program on a linear roll-out, without memory, estimator, "
                "input delay and measured inputs; give each copy a controller of its own"
            )
        n = positive_int("n_copies", n_copies)
        targets, w = (self._reference, self._input_reference), self._weights
        return BatchMPC(self.model, self._planning, targets, self.parameters, w, self._safe, n)

    @property
    def problem(self) -> cp.Problem:
        """The CVXPY problem."""
        return self._stated.problem

    @checked
    def reference_solution(self, observation: ArrayLike, guess: ArrayLike) -> tuple[Array, float]:
        """Solve the convex program about a guess through CVXPY itself, slowly; for checking.

        Args:
            observation: Shape (p,).
            guess: Plan to linearise about, shape (N, m).

        Returns:
            Inputs of shape (N, m) and the optimal cost.
        """
        y = finite_array("observation", observation, shape=(self.model.coordinates.n_observations,))
        U = finite_array("guess", guess, shape=self._stated.u.shape)
        at = self._situation(y)
        plan = solved_about(self._stated, self._scenarios, at, U, self.problem, **TIGHT)
        return plan.U, plan.outcome.cost

    def explain(self) -> Explanation:
        """Say what became of the problem and what the latest step did; print the result."""
        stated, program = self._stated, None
        inputs = "every step is free" if self.inputs is None else str(self.inputs)
        if isinstance(self._planning, QuadraticPlanning):
            planner = self._planning.planners[0]
            program = program_of(planner.condenser, self._sensitivity(planner))
            if isinstance(planner, LinearPlanner) and planner.response.prestabilised:
                inputs += ", beside feedback that holds the unstable model"
        active: tuple[str, ...] = ()
        broken: tuple[str, ...] = ()
        last = self.last
        if last is not None and last.situation is not None and last.planned:
            stated.assign(last.situation.theta)
            stated.u.value, stated.y.value = last.inputs, last.outputs
            active, broken = reached(stated.limits)
        return Explanation(
            model=f"{len(self.model.A)} lifted states, {self.rollout} roll-out, N = {self.horizon}",
            statement=sizes_of(stated.stated),
            program=program,
            inputs=inputs,
            solver=self.solver if program else "CVXPY",
            active=active,
            broken=broken,
            rungs={str(rung): count for rung, count in self._loop.rungs.items()},
        )

    def _sensitivity(self, planner: LinearPlanner | SequentialPlanner) -> Array:
        """Sensitivity of the outputs to what is planned, at the target for nonlinear roll-outs."""
        if isinstance(planner, LinearPlanner):
            return planner.response.Gamma
        known = self._layout.nothing(self.horizon) if len(self._layout.measured) else None
        at = Start(self._reference.rest, forecast=known)
        return self._scenarios.linearized(at, np.zeros(self._stated.u.shape))[1]

    def _situation(self, y: Array) -> Situation:
        """Collect what a plan would depend on if y were observed next."""
        return self._situated(y, self._sight.start_at(y), self._loop)
