"""KoopmanMPC: observation in, action out, and never an exception in the loop."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, Literal, NamedTuple, Self

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, balanced, finite_array, positive_int, seed_number
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.compile.canonical import check_statement
from koopman_control.mpc.compile.presolve import compile_qp
from koopman_control.mpc.compile.program import ParametricQP
from koopman_control.mpc.estimation import Estimator, History, Observer
from koopman_control.mpc.inputs import Blocks, InputLayout, Knots
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.planning.plan import Situation
from koopman_control.mpc.planning.planner import (
    TIGHT,
    CvxpyPlanning,
    Planning,
    QuadraticPlanning,
    solved_about,
)
from koopman_control.mpc.planning.prediction import Response, Scenarios, checked_models, response_of
from koopman_control.mpc.planning.search import Effort, Search
from koopman_control.mpc.planning.sequential import SequentialPlanner
from koopman_control.mpc.problem import Build, Parameters, Term, TrackingProblem
from koopman_control.mpc.solvers import SolverName
from koopman_control.mpc.state import Sight, Start, input_that_acted
from koopman_control.mpc.step import (
    Attempt,
    Explanation,
    Loop,
    Progress,
    Step,
    attempt,
    program_of,
    reached,
    recover,
    sizes_of,
)
from koopman_control.mpc.targets import Target, TargetRows
from koopman_control.mpc.terminal import with_terminal, with_terminal_set
from koopman_control.mpc.tightening import Tube, pull_back, tightened
from koopman_control.mpc.units import Units, units_of, with_prices
from koopman_control.mpc.weights import (
    Bounds,
    Costs,
    Weights,
    common_box,
    seconds_until,
    stage_rows,
    weights_for,
)


class Situating(NamedTuple):
    """Collects the situation of a step; holds the targets and the user's own parameters."""

    reference: TargetRows
    input_reference: TargetRows
    parameters: Parameters

    def __call__(self, y: Array, start: Start, loop: Loop) -> Situation:
        """Collect what a plan depends on, from an observation y (p,) and a start in a loop."""
        step, previous = loop.step, loop.previous
        reference, inputs = self.reference(y, step), self.input_reference(y, step)
        own = self.parameters.theta()
        theta = np.concatenate([reference.ravel(), inputs.ravel(), previous, own])
        return Situation(start, reference, inputs, theta)


TIMES = 20  # Python specialises code that has run eight times; some of it runs in every other step
LONGEST = 0.05  # seconds; where a step takes long, its overhead does not count


def rehearse(act: Callable[[Array], Array], observation: Array) -> None:
    """Act on an observation (p,) again and again, for a short while."""
    end = perf_counter() + LONGEST
    with np.errstate(all="ignore"):  # an unusable model is noticed in the loop
        for _ in range(TIMES):
            act(observation)
            if perf_counter() > end:
                return


NOTHING = 1e-9  # a price of inputs, relative to the largest one
# What depends on all terms. It is left out of copies to which another term is added.
COMPILED = {"_stated", "qp", "_planning"}


# The loop, what is seen, and what was told last, as they were before a step.
Unfinished = tuple[Progress, tuple[Any, ...], Step | None]


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
    _units: Units
    _effort: Effort
    _gain: Array
    _safe: Array
    _estimators: tuple[Estimator, ...]
    _delay: int
    _sight: Sight
    _terms: tuple[Term, ...]
    _loop: Loop
    _situated: Situating
    _unfinished: Unfinished | None

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
        self.last = self._unfinished = None

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
        targets = self._reference.at_rest(), self._input_reference.at_rest()
        own = self._safe, self.parameters.theta()
        typical = np.concatenate([*(of(self._safe, 0).ravel() for of in targets), *own])
        how = self._held, name, search, w.slack_weight, self._units, self._response, typical
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
        prices = np.linalg.eigvalsh(balanced(w.R + w.S)[0])  # of every direction, at every step
        costly = bool(np.all(prices[:, 0] > NOTHING * prices[:, -1]))
        return response_of(self._scenarios, self.horizon, self._layout.controlled, free, costly)

    @property
    def _solver_name(self) -> SolverName | None:
        """Name of the compiled program's solver; None where CVXPY solves the statement itself."""
        through_cvxpy = not self._stated.stated.is_qp()
        return None if self.solver == "cvxpy" or through_cvxpy else self.solver

    @checked
    def reset(self, previous_input: ArrayLike | None = None) -> None:
        """Forget the episode: plan, estimate, warm start, applied inputs and random state.

        Args:
            previous_input: Input under which the plant rests as the episode begins, shape (m,), for
                a transfer without a bump; None: the safe input. Rates and changes count from it,
                observers and memories begin with it, and with an input delay it is on its way. It
                may lie beyond the input bounds; the nearest of these then comes first.

        Raises:
            TypeError | ValueError: If it is no finite array of that shape; nothing is forgotten.
        """
        rest = None
        if previous_input is not None:
            size = len(self._layout.controlled)
            rest = input_that_acted("previous_input", previous_input, size)
        if "_planning" not in vars(self):
            self._rehearse()
        self._mend()
        self._unfinished = self._loop.progress, self._sight.progress, self.last
        try:
            self._planning.reset()
            self._planning.rehearse()
            self._loop.restart(rest)
            self._sight.restart(rest)
            self.last = self._unfinished = None
        except BaseException:
            self._mend()
            raise

    def _mend(self) -> None:
        """Go back to before a step that an exception broke off; a solver may be in any state."""
        if self._unfinished is None:
            return
        self._loop.progress, self._sight.progress, self.last = self._unfinished
        if "_planning" in vars(self):
            recover(self._planning)
        self._unfinished = None

    def _rehearse(self) -> None:
        """Compile, and warm up all that a step runs through, but for functions of the user."""
        if not isinstance(self._planning, QuadraticPlanning) or self.rollout != "linear":
            return
        asked = self._situated
        targets = self._reference.at_rest(), self._input_reference.at_rest()
        self._situated = Situating(*targets, self.parameters)
        try:
            rehearse(self.act, np.zeros(self.model.coordinates.n_observations))
        finally:
            self._situated = asked

    @abstractmethod
    def act(
        self,
        observation: ArrayLike,
        disturbance: ArrayLike | None = None,
        *,
        applied: ArrayLike | None = None,
    ) -> Array:
        """Return the action for an observation."""


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
    def previous_input(self) -> Array:
        """Input from which the next change counts, shape (m,): for a controller that takes over."""
        return self._loop.previous.copy()

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


TRIES = 4  # of a step that errors break off


class Refusal(Exception):
    """An argument of an episode's first step is of no use."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class KoopmanMPC(Stated):
    """Model-predictive controller on a lifted model.

    At each step it minimises, over the inputs of the next N steps,

        sum_k |y_k - r_k|_Q^2 + |u_k - u_r|_R^2 + |u_k - u_k-1|_S^2 + |y_N - r_N|_terminal^2
              + linear_output' y_k + linear_input' u_k

    within input, rate and output bounds. y are the model's states (angles in radians, their
    deviations wrapped). The problem is stated in CVXPY (`problem`), compiled once, condensed to the
    inputs, and solved by a warm-started quadratic program solver. `constrain` and `penalize` add
    whatever else can be said in CVXPY about y and u; `explain` says what became of it all.

    The state of a model with a memory is kept by the controller: it remembers what it observed and
    applied, and at the start of an episode takes the plant to have been at rest. Weights,
    references and bounds are those of the present states only.

    Args:
        model: The model. Or several (see `bootstrap_models`) that one plan has to suit: the cost is
            the mean over them, bounds on states hold for each, and predicted states stand side by
            side. Each is started by an estimator of its own; regulators and margins are those of
            the first.
        horizon: Number of steps N.
        Q: State weight: a number, a diagonal (d,) or a matrix (d, d); or one of these for each
            step, N rows first (where a shape can be read both ways, it is one for all steps).
        R: Input weight, likewise.
        S: Weight of input changes, likewise; the change at the first step counts from the input
            applied last, at the start of an episode from `safe_input` or what `reset` is given.
        reference: Target of the states: a number, shape (d,), (N, d), or a function of the
            observation that returns one of these, or None where `safe_input` will do. Row k is the
            target after k + 1 steps. A longer array (T, d) is the trajectory of a whole episode: it
            is previewed, moves on with every step, and its last row is held.
        input_reference: Target of the inputs, likewise; row k is that of the k-th input.
        linear_output: Cost per unit of each state: a number, shape (d,) or (N, d).
        linear_input: Cost per unit of each input, likewise: energy or prices.
        terminal: Weight of the last state beside Q, or "riccati" for the cost that the regulator at
            the reference (at zero, where the reference is a function) still has to come; with S,
            it goes with the last state and the last input.
        rollout: "linear" (one exact convex program), "bilinear" or "relifted" (re-linearised).
        input_bounds: (low, high), shape (2, m) or (2, N, m); None takes the model's action bounds.
        rate_bounds: Largest change of each input per step; None for no bound. Fallbacks keep it
            too.
        output_bounds: (low, high), shape (2, d) or (2, N, d), infinite where there is none.
        terminal_bounds: (low, high) or shape (2, d): further bounds of the last state.
        terminal_set: (H, h), shapes (k, d) and (k,): H y_N <= h. Or "invariant": the largest set in
            which the regulator of "riccati" then keeps every bound for ever, for the model
            linearised at the reference, which has to be constant. With hard bounds, an exact model
            and terminal="riccati", a plan that exists once exists at all later steps.
        polytope: (G_y, G_u, g), shapes (k, d), (k, m) and (k,): G_y y_k+1 + G_u u_k <= g at every
            step k. Rows without outputs are hard.
        soft: Whether bounds of states may be broken at a price (always, if the plant leaves no
            choice, as `last.rung` "softened" then tells): True, False, or one of them per state. A
            polytope's row is soft if one of its states is.
        slack_weight: Price of a violation v: w (v + v^2) for a number w; l1 v + l2 v^2 for
            (l1, l2) or shape (2, d). With l1 above the bound's multiplier, what can be kept is
            kept exactly. "auto": 1000 c (v / s + v^2 / s^2), where s is usual of the state (half
            of what lies between its bounds, or its target, if that is larger) and c of the cost
            (the largest that a weight makes of a usual state or input). A row of a polytope
            is priced by the state that breaks it most cheaply.
        iterations: Re-linearisations per step.
        first_iterations: Most re-linearisations in the first step of an episode.
        n_guesses: Random plans tried at each step beside the shifted one. They matter where the
            problem has several local optima (swing left or right).
        first_guesses: Random plans tried in the first step of an episode.
        safe_input: Input applied when there is no plan at all; default zero, clipped to the bounds.
        solver: "auto" (DAQP up to 250 variables, an interior-point method beyond or where DAQP
            gives up), "daqp", "osqp", "piqp", "clarabel", or "cvxpy" for CVXPY's own way, slowly.
        seed: Seed of the random plans; every episode draws the same ones.
        inputs: `Knots` or `Blocks`: plans of fewer free values, for a shorter step; None: the
            input of each step is free. Re-linearised plans may keep features of the plan before.
        estimator: How the state is told from observations: `KalmanObserver`, `OffsetFree`,
            `MovingHorizonEstimator`; None takes them as they are. With an estimator, observations
            may hold NaN where nothing was measured.
        input_delay: Steps until an input acts; the model is one without delay, as fitted to data
            that went through `with_input_delay`. Plans, references and bounds are those of the
            steps from when the planned input acts.
        measured_inputs: Indices of the model's inputs that are measured, not controlled; `act`
            takes their forecast. Elsewhere on this page, m counts controlled inputs.
        tighten: Margins by which output bounds are moved inwards, since predictions may be off: a
            number, one per state (d,), or per step, (N, d); those of `tube_margins`, which move
            input bounds, too; "auto": for hard
            bounds, what the model's left-out errors stayed below in most cases
            (`LiftedModel.error_quantiles`, where the model has them); False: none. Polytopes too.
        trust_weight: Price of predicted states beyond the model's training data, per squared
            distance from their edge in half widths, so that plans are pulled back to known ground;
            `last.trust` tells how far they leave it. Angles are not priced.
        deadline: Microseconds after which `act` makes do with the best plan found so far, as
            `last.cut` then tells. What cannot be interrupted (a roll-out, a factorisation, an
            estimate) is finished. None: no deadline.

    Attributes:
        last: What happened in the latest step (`Step`), or None before the first.
        parameters: Values of the parameters in `constrain` and `penalize`; may be set at any time.

    Raises:
        ValueError: If a setting has the wrong shape, is not convex, or bounds cross.

    Example:
        >>> mpc = KoopmanMPC(model, 30, Q=[1, 0.1], R=0.001, rollout="relifted")  # doctest: +SKIP
        >>> action = mpc.act(observation)  # doctest: +SKIP
    """

    @checked
    def __init__(
        self,
        model: LiftedModel | Sequence[LiftedModel],
        horizon: int,
        Q: ArrayLike = 1.0,
        R: ArrayLike = 0.0,
        S: ArrayLike = 0.0,
        *,
        reference: Target = 0.0,
        input_reference: Target = 0.0,
        linear_output: ArrayLike = 0.0,
        linear_input: ArrayLike = 0.0,
        terminal: ArrayLike | Literal["riccati"] = 0.0,
        rollout: Rollout = "linear",
        input_bounds: ArrayLike | None = None,
        rate_bounds: ArrayLike | None = None,
        output_bounds: ArrayLike | None = None,
        terminal_bounds: ArrayLike | None = None,
        terminal_set: tuple[ArrayLike, ArrayLike] | Literal["invariant"] | None = None,
        polytope: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        soft: ArrayLike = True,
        slack_weight: ArrayLike | Literal["auto"] = "auto",
        iterations: int = 1,
        first_iterations: int = 10,
        n_guesses: int = 0,
        first_guesses: int = 0,
        safe_input: ArrayLike = 0.0,
        solver: SolverName | Literal["cvxpy"] = "auto",
        seed: int = 0,
        inputs: Blocks | Knots | None = None,
        estimator: Observer | None = None,
        input_delay: int = 0,
        measured_inputs: Sequence[int] = (),
        tighten: ArrayLike | Tube | Literal["auto", False] = "auto",
        trust_weight: float = 0.0,
        deadline: float | None = None,
    ) -> None:
        models = checked_models(model, rollout)
        model = models[0]
        self._limit = seconds_until(deadline, solver)
        self.model, self.rollout, self.solver = model, rollout, solver
        self.seed = seed_number("seed", seed)
        self.horizon = N = positive_int("horizon", horizon)
        self.inputs = inputs
        self._held = None if inputs is None else inputs.matrix(N)
        self._effort = Effort(iterations, first_iterations, n_guesses, first_guesses)
        self._layout = InputLayout(model.n_inputs, measured_inputs)
        self._delay = positive_int("input_delay", input_delay, minimum=0)
        self._estimators = (
            (History(model),)
            if estimator is None
            else tuple(estimator.attached(each, rollout) for each in models)
        )
        self._scenarios = Scenarios(models, rollout)
        d, m = model.coordinates.n_outputs, len(self._layout.controlled)
        self._reference = TargetRows("reference", reference, N, d, model.n_states, len(models))
        self._input_reference = TargetRows("input_reference", input_reference, N, m)
        costs = Costs(Q, R, S, linear_output, linear_input)
        outputs = output_bounds, terminal_bounds
        bounds = Bounds(input_bounds, rate_bounds, *outputs, polytope, soft, slack_weight)
        w = weights_for(model, self._layout, N, costs, bounds)
        w = tightened(w, tighten, model, rollout, self._delay)
        aims = self._reference, self._input_reference
        w, self._gain = with_terminal(w, terminal, model, *aims, self._layout)
        units = units_of(w, model, self._layout.controlled, *aims)
        if isinstance(slack_weight, str):
            w = with_prices(w, units)
        w = with_terminal_set(w, terminal_set, model, *aims, self._gain, self._layout)
        self._weights, self._units = w.for_models(len(models)), units.for_models(len(models))
        safe = stage_rows("safe_input", safe_input, m, 1)[0]
        self._safe = np.clip(safe, *w.input_bounds[:, 0])
        self._terms = pull_back(model, trust_weight)
        self.parameters = Parameters()
        self._assemble()
        self.reset()

    def act(
        self,
        observation: ArrayLike,
        disturbance: ArrayLike | None = None,
        *,
        applied: ArrayLike | None = None,
    ) -> Array:
        """Return the action for an observation.

        There is no clock: every call is one step. For a step without an observation call it with
        None; after a jump of many, `reset`.

        No error leaves it after the first step, one that a signal's handler raises (the
        `TimeoutError` of a watchdog, say) no more than any other: a step that it breaks off falls
        back, and `last.status` names it. An interrupt (`KeyboardInterrupt`, `SystemExit`, whatever
        else is no `Exception`) does leave it. The controller is then as before the step, or as
        after it, and goes on. What a handler raises just as the call begins still belongs to the
        caller; no step has begun then.

        Args:
            observation: Shape (p,).
            disturbance: Measured inputs: their present values (k,), taken to hold, or a preview
                (steps, k) from now on, the last row held. None: the forecast of the step before
                goes on; zero if there never was one.
            applied: Input that acted since the call before in place of the action it returned,
                shape (m,): that of an operator, or what a saturated actuator made of it. It takes
                that action's place in everything that comes: rates and changes, observers and
                memories, and the inputs on their way, so with an input delay it is what entered
                there. In an episode's first step it is as `reset(previous_input=applied)`. None:
                the action as it was returned.

        Returns:
            The action, shape (m,), inside the input and rate bounds. Whatever goes wrong, the
            previous plan is continued, or else the safe input applied; `last` tells.

        Raises:
            TypeError | ValueError: In the first step of an episode only, if an argument is no array
                of the right shape, or the last two are not finite.
        """
        error: Exception | None = None
        steps, refusals, start = -1, 0, 0.0
        try:
            # Once as asked. After an error, which may be the fault of a signal that came at any
            # point, once more without planning; a refusal is one if it is said again.
            for _ in range(TRIES):
                try:
                    if steps < 0:
                        start, steps = time.perf_counter(), self._loop.step
                    return self._stepped(observation, disturbance, applied, start, steps, error)
                except Refusal as caught:
                    error, refusals = caught.reason, refusals + 1
                    if refusals > 1:
                        break
                except Exception as caught:
                    error = caught
        except Exception as caught:  # between two tries
            error = error or caught
        except BaseException:
            self._mend()
            raise
        self._mend()
        if error is not None and refusals > 1:
            raise error
        return self._loop.previous.copy()

    def _stepped(
        self,
        observation: ArrayLike,
        disturbance: ArrayLike | None,
        applied: ArrayLike | None,
        start: float,
        steps: int,
        error: Exception | None,
    ) -> Array:
        """Go on by one step from so many, without planning if there was an error before."""
        loop, sight = self._loop, self._sight
        if self._unfinished is not None:
            self._mend()
        elif loop.step > steps:  # the error came after all was done
            return loop.previous.copy()
        self._unfinished = loop.progress, sight.progress, self.last
        first, sight.ignored = not steps, ""
        try:
            if applied is not None:
                acted = sight.told(applied, first)
                if acted is not None:
                    loop.note(acted)
            trouble = sight.look(observation, disturbance, first)
        except (TypeError, ValueError) as reason:
            raise Refusal(reason) from None
        if error is not None:
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            rung, plan, at = Attempt(*loop.fall_back(trouble), None)
        else:
            rung, plan, at = attempt(self._planning, loop, self._now, start + self._limit)
        loop.apply(rung, plan)
        sight.send(loop.previous)
        seconds = time.perf_counter() - start
        self.last = Step(rung, plan, at, self._weights, seconds, self.model, sight.ignored)
        action = loop.previous.copy()
        self._unfinished = None  # from here on the step is done
        return action

    def _now(self) -> Situation:
        """Collect what a plan depends on at this step."""
        return self._situated(self._sight.seen, self._sight.start, self._loop)
