"""What a controller compiles: once, when it is needed, whatever was added to it before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.compilation.checks import check_statement
from koopman_control.mpc.compilation.parametric import ParametricQP
from koopman_control.mpc.compilation.presolve import compile_qp
from koopman_control.mpc.estimation import Estimator
from koopman_control.mpc.inputs import InputLayout
from koopman_control.mpc.loop import Loop
from koopman_control.mpc.planning.quadratic import Planning, QuadraticPlanning
from koopman_control.mpc.planning.response import Response, response_of
from koopman_control.mpc.planning.scenarios import Scenarios
from koopman_control.mpc.planning.search import Effort, Search
from koopman_control.mpc.planning.through_cvxpy import CvxpyPlanning
from koopman_control.mpc.rehearsal import rehearse
from koopman_control.mpc.sight import Sight
from koopman_control.mpc.situating import Situating
from koopman_control.mpc.solvers import SolverName
from koopman_control.mpc.statement.parametrization import Blocks, Knots
from koopman_control.mpc.statement.problem import TrackingProblem
from koopman_control.mpc.statement.targets import TargetRows
from koopman_control.mpc.statement.terms import Parameters, Term
from koopman_control.mpc.statement.weights import Weights, common_box
from koopman_control.mpc.step import Step

NOTHING = 1e-9  # a price of inputs, relative to the largest one
# What depends on all terms. It is left out of copies to which another term is added.
COMPILED = {"_stated", "qp", "_planning"}


class Compiled(ABC):
    """The part of `KoopmanMPC` that turns its settings into what is solved at every step."""

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
    _estimators: tuple[Estimator, ...]
    _delay: int
    _sight: Sight
    _terms: tuple[Term, ...]
    _loop: Loop
    _situated: Situating

    def __getstate__(self) -> dict[str, Any]:
        """Copy what is needed to act, compiled; the rest is made again when asked for."""
        kept = {k: v for k, v in vars(self).items() if k not in COMPILED}
        return kept | {"_planning": self._planning}

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

    def _with(self, term: Term, parameters: dict[str, Any]) -> Self:
        """Add a term to a copy, which is compiled by its first step or `reset`, after all terms."""
        more = object.__new__(type(self))
        vars(more).update({k: v for k, v in vars(self).items() if k not in COMPILED})
        more.parameters = self.parameters.with_more(parameters)
        more._terms = (*self._terms, term)
        more._assemble()
        if more._solver_name is None:
            more.reset()
        else:  # whatever is wrong has to be said here, not in the loop
            stated = more._stated
            check_statement(stated.stated, stated.parameters, (stated.u, stated.y))
            compile_qp(stated.latest, stated.latest.parameters())
        return more

    def _assemble(self) -> None:
        """Set up what is carried from step to step."""
        w, N, models = self._weights, self.horizon, self._scenarios.models
        self._loop = Loop(w, self._safe)
        self._situated = Situating(self._reference, self._input_reference, self.parameters)
        self._sight = Sight(
            models, self.rollout, self._estimators, self._layout, self._delay, N, self._safe
        )
        self.last = None

    @cached_property
    def _planning(self) -> Planning:
        """What is solved at every step; compiled when it is first needed."""
        w, N, scenarios = self._weights, self.horizon, self._scenarios
        name = self._solver_name
        if name is None:
            rounds, controlled = self._effort.iterations, self._layout.controlled
            return CvxpyPlanning(self._stated, scenarios, self._held, rounds, controlled)
        box = common_box(w.input_bounds, self.rollout)
        search = Search(scenarios, self._effort, self._gain, box, w.rate_bounds, self.seed)
        l1, l2 = w.slack_weight.max(axis=1)
        how = self._held, name, search, (l1, l2), self._response
        planning = QuadraticPlanning(scenarios, N, self.qp, *how)
        planning.reset()
        planning.rehearse()
        return planning

    @cached_property
    def _response(self) -> Response | None:
        """What inputs lead to in a linear roll-out, whatever terms are added."""
        if self.rollout != "linear":
            return None
        w, free = self._weights, self._held is None
        prices = np.linalg.eigvalsh(w.R + w.S)  # of every direction, at every step
        costly = bool(np.all(prices[:, 0] > NOTHING * prices[:, -1]))
        return response_of(self._scenarios, self.horizon, self._layout.controlled, free, costly)

    @property
    def _solver_name(self) -> SolverName | None:
        """Name of the compiled program's solver; None where CVXPY solves the statement itself."""
        through_cvxpy = not self._stated.stated.is_qp()
        return None if self.solver == "cvxpy" or through_cvxpy else self.solver

    def reset(self) -> None:
        """Forget the episode: plan, estimate, warm start, applied inputs and random state."""
        if "_planning" not in vars(self):
            self._rehearse()
        self._loop.restart()
        self._sight.restart()
        self._planning.reset()
        self._planning.rehearse()
        self.last = None

    def _rehearse(self) -> None:
        """Compile, and warm up all that a step runs through, but for functions of the user."""
        if not isinstance(self._planning, QuadraticPlanning) or self.rollout != "linear":
            return
        asked = self._situated
        targets = self._reference.at_rest(), self._input_reference.at_rest()
        self._situated = Situating(*targets, self.parameters)
        rehearse(self.act, np.zeros(self.model.coordinates.n_observations))
        self._situated = asked

    @abstractmethod
    def act(self, observation: ArrayLike, disturbance: ArrayLike | None = None) -> Array:
        """Return the action for an observation."""
