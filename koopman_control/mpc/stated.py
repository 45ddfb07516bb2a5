"""What a controller is made of: its problem, how to add to it, and how to look at it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Literal, Self

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, positive_int
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.compilation.parametric import ParametricQP
from koopman_control.mpc.compilation.presolve import compile_qp
from koopman_control.mpc.estimation import Estimator, History
from koopman_control.mpc.inputs import InputLayout
from koopman_control.mpc.loop import Loop
from koopman_control.mpc.planning.condense import Condenser
from koopman_control.mpc.planning.plan import Situation
from koopman_control.mpc.planning.quadratic import Planning, QuadraticPlanning
from koopman_control.mpc.planning.scenarios import Scenarios
from koopman_control.mpc.planning.search import Effort, Search
from koopman_control.mpc.planning.through_cvxpy import TIGHT, CvxpyPlanning, solved_about
from koopman_control.mpc.rehearsal import rehearse
from koopman_control.mpc.sight import Sight
from koopman_control.mpc.solvers import SolverName
from koopman_control.mpc.start import Start
from koopman_control.mpc.statement.explanation import Explanation, program_of, reached, sizes_of
from koopman_control.mpc.statement.parametrization import Blocks, Knots
from koopman_control.mpc.statement.problem import TrackingProblem
from koopman_control.mpc.statement.targets import TargetRows
from koopman_control.mpc.statement.terms import Build, Parameters, Term
from koopman_control.mpc.statement.weights import Weights, common_box
from koopman_control.mpc.step import Step


class Stated(ABC):
    """The part of `KoopmanMPC` that states its problem, extends it and explains it."""

    model: LiftedModel
    rollout: Rollout
    horizon: int
    solver: SolverName | Literal["cvxpy"]
    inputs: Blocks | Knots | None
    seed: int
    parameters: Parameters
    last: Step | None
    _held: Array | None
    _layout: InputLayout
    _scenarios: Scenarios
    _reference: TargetRows
    _input_reference: TargetRows
    _weights: Weights
    _effort: Effort
    _gain: Array
    _safe: Array
    _estimator: Estimator
    _delay: int
    _sight: Sight
    _terms: tuple[Term, ...]
    _loop: Loop
    _planning: Planning

    def constrain(self, build: Build, **parameters: ArrayLike | cp.Parameter) -> Self:
        """Return a controller with further constraints; this one stays as it is.

        With several models, they hold for the predicted states of each.

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
        plain &= self.rollout == "linear"
        if not (plain and isinstance(self._planning, QuadraticPlanning)):
            raise ValueError(
                "batch needs a quadratic program on a linear roll-out, without memory, estimator, "
                "input delay and measured inputs; give each copy a controller of its own"
            )
        n = positive_int("n_copies", n_copies)
        targets, w = (self._reference, self._input_reference), self._weights
        return BatchMPC(self.model, self._planning, targets, self.parameters, w, self._safe, n)

    def __getstate__(self) -> dict[str, Any]:
        """Copy what is needed to act to other processes; the rest is made again when asked for."""
        return {k: v for k, v in vars(self).items() if k not in ("_stated", "qp")}

    @cached_property
    def _stated(self) -> TrackingProblem:
        d = self.model.coordinates.n_outputs
        n = len(self._scenarios.models)
        return TrackingProblem(self._weights, self._terms, self.parameters, d, n)

    @cached_property
    def qp(self) -> ParametricQP:
        """The compiled problem in u, y and what else could not be eliminated."""
        stated = self._stated
        return compile_qp(stated.stated, stated.parameters, (stated.u, stated.y))

    @property
    def problem(self) -> cp.Problem:
        """The CVXPY problem."""
        return self._stated.problem

    def reference_solution(self, observation: ArrayLike, guess: ArrayLike) -> tuple[Array, float]:
        """Solve the convex program about a guess through CVXPY itself, slowly; for checking.

        Args:
            observation: Shape (p,).
            guess: Plan to linearise about, shape (N, m).

        Returns:
            Inputs of shape (N, m) and the optimal cost.
        """
        y = finite_array("observation", observation)
        U = finite_array("guess", guess, shape=self._stated.u.shape)
        at = self._situation(y)
        plan = solved_about(self._stated, self._scenarios, at, U, self.problem, **TIGHT)
        return plan.U, plan.outcome.cost

    def explain(self) -> Explanation:
        """Say what became of the problem and what the latest step did; print the result."""
        stated, program = self._stated, None
        if isinstance(self._planning, QuadraticPlanning):
            u = np.zeros(stated.u.shape)
            known = self._layout.nothing(self.horizon) if len(self._layout.measured) else None
            at = Start(self._reference.rest, forecast=known)
            Gamma = self._scenarios.linearized(at, u)[1]
            program = program_of(Condenser(self.qp, self._held), Gamma)
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
            inputs="every step is free" if self.inputs is None else str(self.inputs),
            solver=self.solver if program else "CVXPY",
            active=active,
            broken=broken,
            rungs={str(rung): count for rung, count in self._loop.rungs.items()},
        )

    def _with(self, term: Term, parameters: dict[str, Any]) -> Self:
        more = copy.copy(self)  # without what was compiled
        more.parameters = self.parameters.with_more(parameters)
        more._terms = (*self._terms, term)
        more._assemble()
        return more

    def _assemble(self) -> None:
        """Compile the problem and set up all that is solved at every step."""
        w, N, scenarios = self._weights, self.horizon, self._scenarios
        controlled, estimator = self._layout.controlled, self._estimator
        self._loop = Loop(w, self._safe)
        self._sight = Sight(
            self.model, self.rollout, estimator, self._layout, self._delay, N, self._safe
        )
        if self.solver == "cvxpy" or not self._stated.stated.is_qp():
            rounds = self._effort.iterations
            self._planning = CvxpyPlanning(self._stated, scenarios, self._held, rounds, controlled)
        else:
            box = common_box(w.input_bounds, self.rollout)
            search = Search(scenarios, self._effort, self._gain, box, w.rate_bounds, self.seed)
            how = self._held, self.solver, search, w.slack_weight.max(axis=1), controlled
            self._planning = QuadraticPlanning(scenarios, N, self.qp, *how)
        self.reset()
        if self.rollout == "linear" and isinstance(self._planning, QuadraticPlanning):
            self._rehearse()

    def _rehearse(self) -> None:
        """Warm up all that a step runs through, but for functions of the user."""
        asked = self._reference, self._input_reference
        self._reference, self._input_reference = (target.at_rest() for target in asked)
        rehearse(self.act, np.zeros(self.model.coordinates.n_observations))
        self._reference, self._input_reference = asked
        self.reset()

    @abstractmethod
    def act(self, observation: ArrayLike, disturbance: ArrayLike | None = None) -> Array:
        """Return the action for an observation."""

    @abstractmethod
    def reset(self) -> None:
        """Begin an episode."""

    def _situation(self, y: Array) -> Situation:
        """Collect what a plan would depend on if y were observed next."""
        return self._situated(y, self._sight.start_at(y), self._loop)

    @abstractmethod
    def _situated(self, y: Array, start: Start, loop: Loop) -> Situation:
        """Collect what a plan depends on, from a start in a loop."""
