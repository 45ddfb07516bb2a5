"""KoopmanMPC: observation in, action out, and never an exception in the loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, Literal, Self

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, positive_int
from koopman_control.common.border import checked
from koopman_control.common.files import PathLike
from koopman_control.common.pickling import portable
from koopman_control.common.shorthand import takes_fields
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.compile.canonical import check_problem
from koopman_control.mpc.compile.presolve import compile_qp, softened
from koopman_control.mpc.compile.program import ParametricQP
from koopman_control.mpc.estimation import History, Observer
from koopman_control.mpc.loop import LoopState
from koopman_control.mpc.native import Native, native_of
from koopman_control.mpc.planning.cvxpy_planner import TIGHT, CvxpyPlanner, solved_about
from koopman_control.mpc.planning.linear import LinearPlanner, Response, response_of
from koopman_control.mpc.planning.plan import Plan, Planner, recover
from koopman_control.mpc.planning.prediction import Scenarios, checked_models
from koopman_control.mpc.planning.sequential import InitialGuesses, SequentialPlanner
from koopman_control.mpc.problem import Build, Parameters, Term, TrackingProblem, trust_terms
from koopman_control.mpc.settings import (
    FIELDS,
    THROUGH_CVXPY,
    Bounds,
    Cost,
    Inputs,
    Search,
    Target,
    checked_solver,
    with_shortcuts,
)
from koopman_control.mpc.settled import Settled, settled
from koopman_control.mpc.solvers import TIME_LIMIT, SolverSettings
from koopman_control.mpc.state import (
    InputLayout,
    NothingAskedError,
    Refusal,
    Rung,
    Situation,
    Start,
    StateEstimation,
    TargetRows,
    input_that_acted,
)
from koopman_control.mpc.step import Explanation, Step, reached, sizes_of
from koopman_control.mpc.weights import stage_rows

WARM_UP_STEPS = 20  # Python specialises code that has run eight times, or sixteen
WARM_UP_SECONDS = 0.05  # where a step takes long, its overhead does not count
# What depends on all terms. It is left out of copies to which another term is added.
COMPILED = {"_tracking", "qp", "_planner", "_linear_planner"}
TRIES = 4  # of a step that errors break off


class KoopmanMPC:
    """Model-predictive controller on a lifted model.

    At each step it minimises the cost of the next N steps (`Cost`),

        sum_k |y_k - r_k|_Q^2 + |u_k - u_r|_R^2 + ...,

    within input, rate and output bounds (`Bounds`). y are the model's states (angles in radians,
    their deviations wrapped). The problem is written in CVXPY (`problem`), compiled once, condensed
    to the inputs, and solved by a warm-started quadratic program solver. `constrain` and `penalize`
    add whatever else can be said in CVXPY about y and u; `explain` says what became of it all.

    Fields of the groups may be given alone (`FIELDS`): `S=0.1` is short for `cost=Cost(S=0.1)`.

    The state of a model with a memory is kept by the controller: it remembers what it observed and
    applied, and at the start of an episode takes the plant to have been at rest. Weights,
    references and bounds are those of the present states only.

    Args:
        model: The model. Or several (see `bootstrap_models`) that one plan has to suit: the cost is
            the mean over them, bounds on states hold for each, and predicted states stand side by
            side. Each is started by an estimator of its own; regulators and margins are those of
            the first.
        horizon: Number of steps N.
        Q: State weight: a number, a diagonal (d,) or a matrix (d, d); short for `Cost(Q=...)`.
        R: Input weight, likewise in m; short for `Cost(R=...)`.
        cost: All that plans cost; None: 1 for Q and nothing else.
        input_bounds: (low, high), shape (2, m) or (2, N, m); short for `Bounds(inputs=...)`.
        output_bounds: (low, high), shape (2, d) or (2, N, d); short for `Bounds(outputs=...)`.
        bounds: All that plans keep; None: the model's action bounds and nothing else.
        reference: Target of the states: a number, shape (d,), (N, d), or a function of the
            observation that returns one of these, or None where the safe input will do. Row k is
            the target after k + 1 steps. A longer array (T, d) is the trajectory of a whole
            episode: it is previewed, moves on with every step, and its last row is held.
        rollout: "linear" (one exact convex program), "bilinear" or "relifted" (re-linearised).
        search: Re-linearisations, random plans and the deadline; None: one re-linearisation.
        estimator: How the state is told from observations: `KalmanObserver`, `OffsetFree`,
            `MovingHorizonEstimator`; None takes them as they are, and "auto" does, too, but for a
            model that knows the noise of its data (`Signals.noise`). With an estimator,
            observations may hold NaN where nothing was measured.
        inputs: Parametrised, delayed and measured inputs, and the safe input; None: every input is
            planned, free in each step, and acts at once.
        solver: One of `available_solvers`; "auto" is DAQP up to 250 variables, an interior-point
            method beyond or where DAQP gives up. "cvxpy" is CVXPY's own way, slow. Or
            `SolverSettings`.
        compiled: Whether `act` is one native call, in C99 that is compiled at `reset` or in the
            first step (some seconds), with the same actions to 1e-10 and the same `last`, which is
            worked out when it is asked for. Without a C compiler the controller stays in Python,
            with a warning.

    Attributes:
        cost: The cost, `Q` and `R` put in.
        bounds: The bounds, `input_bounds` and `output_bounds` put in.
        horizon, reference, rollout, search, estimator, inputs, solver, compiled: As given.
        parameters: Values of the parameters in `constrain` and `penalize`; may be set at any time.

    Raises:
        ValueError: If a setting has the wrong shape, is not convex or given twice, or bounds cross.
            At `reset` or in the first step a `NotExportableError` if it is to be compiled and has
            something without C code.

    Example:
        >>> mpc = KoopmanMPC(model, 30, Q=[1, 0.1], R=0.001, rollout="relifted")  # doctest: +SKIP
        >>> action = mpc.act(observation)  # doctest: +SKIP
    """

    @takes_fields(FIELDS)
    @checked
    def __init__(
        self,
        model: LiftedModel | Sequence[LiftedModel],
        horizon: int,
        Q: ArrayLike | None = None,
        R: ArrayLike | None = None,
        *,
        cost: Cost | None = None,
        input_bounds: ArrayLike | None = None,
        output_bounds: ArrayLike | None = None,
        bounds: Bounds | None = None,
        reference: Target = 0.0,
        rollout: Rollout = "linear",
        search: Search | None = None,
        estimator: Observer | Literal["auto"] | None = "auto",
        inputs: Inputs | None = None,
        solver: str | SolverSettings = "auto",
        compiled: bool = False,
    ) -> None:
        models = checked_models(model, rollout)
        cost, bounds = with_shortcuts(cost, bounds, Q, R, input_bounds, output_bounds)
        groups = cost, bounds, search or Search(), inputs or Inputs()
        self._set(models, horizon, *groups, reference, rollout, estimator, solver, compiled)
        layout, delay = self._layout, self.inputs.delay
        told = horizon, cost, bounds, self._targets, layout, rollout, delay, estimator
        self._settle(settled(models, *told))
        self._forget(None)

    def _set(
        self,
        models: Sequence[LiftedModel],
        horizon: int,
        cost: Cost,
        bounds: Bounds,
        search: Search,
        inputs: Inputs,
        reference: Target,
        rollout: Rollout,
        estimator: Observer | Literal["auto"] | None,
        solver: str | SolverSettings,
        compiled: bool,
    ) -> None:
        """Check the settings and keep them."""
        self.model = model = models[0]
        self.horizon = N = positive_int("horizon", horizon)
        self.cost, self.bounds, self.search, self.inputs = cost, bounds, search, inputs
        self.reference, self.rollout = reference, rollout
        self.estimator, self.solver, self.compiled = estimator, solver, compiled
        self._solver = checked_solver(solver, search.deadline)
        self._layout = InputLayout(model.n_inputs, inputs.measured)
        form = inputs.parametrization
        self._held = None if form is None else form.matrix(N)
        self._scenarios = Scenarios(models, rollout)
        d, m = model.coordinates.n_outputs, len(self._layout.controlled)
        self._targets = (
            TargetRows("reference", reference, N, d, model.n_states, len(models)),
            TargetRows("input_reference", cost.input_reference, N, m),
        )
        self.parameters = Parameters()

    def _settle(self, found: Settled) -> None:
        """Keep what follows from the settings, and set up what is carried from step to step."""
        self._weights, self._gain, self._units, self._estimators = found
        safe = stage_rows("safe", self.inputs.safe, len(self._layout.controlled), 1)[0]
        self._safe = np.clip(safe, *self._weights.input_bounds[:, 0])
        self._terms = trust_terms(self.model, self.cost.trust)
        self._begin()

    def _begin(self) -> None:
        """Set up what is carried from step to step."""
        self._loop = LoopState(self._weights, self._safe)
        models, layout, delay = self._scenarios.models, self._layout, self.inputs.delay
        self._state = StateEstimation(
            models, self.rollout, self._estimators, layout, delay, self.horizon, self._safe
        )
        self._last: Step | Callable[[], Step] | None = None
        self._native: Native | Literal["none"] | None = None  # None: not tried
        self._unfinished: tuple[Any, Any, Any] | None = None  # as it was before a step

    def __getstate__(self) -> dict[str, Any]:
        """Copy what is needed to act, compiled; the rest is made again when asked for."""
        planner = self._planner  # a linear one has two names
        kept = {k: v for k, v in vars(self).items() if k not in COMPILED or v is planner}
        if callable(self.reference):  # a lambda travels, too
            kept["reference"] = portable(self.reference)
        return kept

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

        No error leaves it after the first step, not even one that a signal's handler raises (the
        `TimeoutError` of a watchdog, say): a step that it breaks off falls back, and `last.status`
        names it. An interrupt (`KeyboardInterrupt`, `SystemExit`, whatever else is no `Exception`)
        does leave it; the controller is then as before the step, or as after it, and goes on.

        Args:
            observation: Shape (p,).
            disturbance: Measured inputs: their present values (k,), taken to hold, or a preview
                (steps, k) from now on, the last row held. None: the preview of the step before
                goes on; zero if there never was one.
            applied: Input that acted since the call before in place of the action it returned,
                shape (m,): an operator's, or what a saturated actuator made of it. Rates, changes,
                observers and memories go by it; with an input delay it is what entered there. In an
                episode's first step it is as `reset(previous_input=applied)`. None: the action as
                it was returned.

        Returns:
            The action, shape (m,), inside the input and rate bounds. Whatever goes wrong, the
            previous plan is continued, or else the safe input applied; `last` tells.

        Raises:
            TypeError | ValueError: In the first step of an episode only, if an argument is no array
                of the right shape, or the last two are not finite.
        """
        if self.compiled and (native := self._called()) is not None:
            return native.act(observation, disturbance, applied)
        error: Exception | None = None
        steps, refusals, start = -1, 0, 0.0
        try:
            # Once as asked. After an error, which may be the fault of a signal that came at any
            # point, once more without planning; a refusal is one if it is said again.
            for _ in range(TRIES):
                try:
                    if steps < 0:
                        start, steps = perf_counter(), self._loop.step
                    return self._stepped((observation, disturbance, applied), start, steps, error)
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
        self, asked: tuple[Any, Any, Any], start: float, steps: int, error: Exception | None
    ) -> Array:
        """Go on by one step from so many, without planning if there was an error before."""
        loop, state, (observation, disturbance, applied) = self._loop, self._state, asked
        if self._unfinished is not None:
            self._mend()
        elif loop.step > steps:  # the error came after all was done
            return loop.previous.copy()
        self._unfinished = loop.progress, state.progress, self._last
        first, state.ignored = not steps, ""
        try:
            if applied is not None:
                acted = state.take_applied(applied, first)
                if acted is not None:
                    loop.note(acted)
            trouble = state.take_in(observation, disturbance, first)
        except (TypeError, ValueError) as reason:
            raise Refusal(reason) from None
        if error is not None:
            trouble = f"{type(error).__name__}: {error}"
        rung, plan, at = self._planned(trouble, start + self.search.seconds)
        loop.apply(rung, plan)
        state.send(loop.previous)
        seconds = perf_counter() - start
        self._last = Step(rung, plan, at, self._weights, seconds, self.model, state.ignored)
        action = loop.previous.copy()
        self._unfinished = None  # from here on the step is done
        return action

    def _planned(self, trouble: str, until: float) -> tuple[Rung, Plan, Situation | None]:
        """Climb down the ladder: solved, softened, shifted, safe; at once if there is trouble."""
        loop, at = self._loop, None
        if trouble:
            return *loop.fall_back(trouble), at
        try:
            at = self._situation(self._state.seen, self._state.start)
            plan = self._planner.plan(at, loop.plan, until)
        except Exception as error:  # whatever it is, the loop must go on
            recover(self._planner)
            if isinstance(error, NothingAskedError):
                loop.plan = None
            return *loop.fall_back(f"{type(error).__name__}: {error}"), at
        if plan.status == "optimal":
            return "softened" if plan.softened else "solved", plan, at
        if plan.status == TIME_LIMIT and math.isfinite(plan.outcome.cost):
            return "shifted", plan, at  # the best guess; the plan before is one of them
        return *loop.fall_back(plan.status), at

    def _mend(self) -> None:
        """Go back to before a step that an exception broke off; a solver may be in any state."""
        if self._unfinished is None:
            return
        self._loop.progress, self._state.progress, self._last = self._unfinished
        if "_planner" in vars(self):
            recover(self._planner)
        self._unfinished = None

    def _called(self) -> Native | None:
        """What acts in place of Python; compiled when it is first needed."""
        if self._native is None:
            self._native = native_of(self) or "none"
        return None if self._native == "none" else self._native

    @property
    def last(self) -> Step | None:
        """What happened in the latest step, or None before the first."""
        if callable(self._last):
            self._last = self._last()
        return self._last

    @property
    def previous_input(self) -> Array:
        """Input from which the next change counts, shape (m,): for a controller that takes over."""
        return self._loop.previous.copy()

    @property
    def safe_input(self) -> Array:
        """Input applied where there is no plan at all, within the bounds, shape (m,)."""
        return np.array(self._safe)

    def _situation(self, y: Array, start: Start) -> Situation:
        """Collect what a plan depends on, from an observation y (p,) and a start."""
        loop, (reference, input_reference) = self._loop, self._targets
        r, v, previous = reference(y, loop.step), input_reference(y, loop.step), loop.previous
        theta = np.concatenate([r.ravel(), v.ravel(), previous, self.parameters.theta])
        return Situation(start, r, v, previous, theta)

    @checked
    def reset(self, previous_input: ArrayLike | None = None) -> None:
        """Forget the episode: plan, estimate, warm start, applied inputs and random state.

        Args:
            previous_input: Input under which the plant rests as the episode begins, shape (m,), for
                a transfer without a bump; None: the safe input. Rates, changes, observers and
                memories begin with it, and with an input delay it is on its way. It may lie beyond
                the input bounds; the nearest of these then comes first.

        Raises:
            TypeError | ValueError: If it is no finite array of that shape; nothing is forgotten.
        """
        rest = None
        if previous_input is not None:
            size = len(self._layout.controlled)
            rest = input_that_acted("previous_input", previous_input, size)
        self._forget(rest)
        if self.compiled and (native := self._called()) is not None:
            native.reset(rest)

    def _forget(self, rest: Array | None) -> None:
        """Begin an episode, after an input (m,)."""
        if "_planner" not in vars(self):
            self._warm_up()
        self._mend()
        self._unfinished = self._loop.progress, self._state.progress, self._last
        try:
            self._planner.reset()
            self._planner.warm_up()
            self._loop.restart(rest)
            self._state.restart(rest)
            self._last = self._unfinished = None
        except BaseException:
            self._mend()
            raise

    def _warm_up(self) -> None:
        """Compile, and run through all that a step does, but for functions of the user."""
        if self._through_cvxpy or self.rollout != "linear" or self.compiled:
            return
        asked, end = self._targets, perf_counter() + WARM_UP_SECONDS
        self._targets = asked[0].at_rest(), asked[1].at_rest()
        try:
            with np.errstate(all="ignore"):  # an unusable model is noticed in the loop
                for _ in range(WARM_UP_STEPS):
                    self.act(np.zeros(self.model.coordinates.n_observations))
                    if perf_counter() > end:
                        break
        finally:
            self._targets = asked

    @cached_property
    def _planner(self) -> Planner:
        """What is solved at every step; compiled when it is first needed."""
        scenarios = self._scenarios
        if self._through_cvxpy:
            rounds, controlled = self.search.iterations, self._layout.controlled
            return CvxpyPlanner(self._tracking, scenarios, self._held, rounds, controlled)
        if self.rollout == "linear":
            return self._linear_planner
        guesses = InitialGuesses(scenarios, self.search, self._gain, self._weights)
        program = self.qp, self._held, self._solver
        return SequentialPlanner(scenarios, *program, guesses, self._units, self._softened)

    @cached_property
    def _linear_planner(self) -> LinearPlanner:
        at_rest = [target.at_rest()(self._safe, 0).ravel() for target in self._targets]
        typical = np.concatenate([*at_rest, self._safe, self.parameters.theta])
        settings = self.qp, self._held, self._solver, self._response, self._units, typical
        planner = LinearPlanner(self._scenarios, self.horizon, *settings, self._softened)
        planner.reset()
        return planner

    @property
    def _softened(self) -> ParametricQP | None:
        """The compiled problem with hard rows on outputs relaxed; None if there are none."""
        return softened(self.qp, *self._weights.slack_weight)

    @cached_property
    def _response(self) -> Response:
        """What inputs lead to in a linear roll-out, whatever terms are added."""
        controlled, free = self._layout.controlled, self._held is None
        return response_of(self._scenarios, controlled, self._weights, free, self._units)

    @property
    def _through_cvxpy(self) -> bool:
        """Whether CVXPY solves the problem itself."""
        if self._solver.name == THROUGH_CVXPY:
            return True
        return "qp" not in vars(self) and not self._tracking.unpredicted.is_qp()

    @cached_property
    def _tracking(self) -> TrackingProblem:
        d, n = self.model.coordinates.n_outputs, len(self._scenarios.models)
        return TrackingProblem(self._weights, self._terms, self.parameters, d, n)

    @cached_property
    def qp(self) -> ParametricQP:
        """The compiled problem in u, y and what else could not be eliminated."""
        tracking = self._tracking
        return compile_qp(tracking.unpredicted, tracking.parameters, (tracking.u, tracking.y))

    @property
    def problem(self) -> cp.Problem:
        """The CVXPY problem."""
        return self._tracking.problem

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
            ... ).penalize(lambda y, u, p: p.price @ u[:, 0], price=np.ones(30))
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
        """
        return self._with(Term("penalize", build), parameters)

    def _with(self, term: Term, parameters: dict[str, Any]) -> Self:
        """Add a term to a copy, which is compiled by its first step or `reset`, after all terms."""
        more = object.__new__(type(self))
        vars(more).update({k: v for k, v in vars(self).items() if k not in COMPILED})
        more.parameters = self.parameters.with_more(parameters)
        more._terms = (*self._terms, term)
        more._begin()
        if more._through_cvxpy:
            more.reset()
        else:  # whatever is wrong has to be said here, not in the loop
            whole = more._tracking
            check_problem(whole.unpredicted, whole.parameters, (whole.u, whole.y))
            more.parameters._restrict(compile_qp(whole.latest, whole.latest.parameters()))
        return more

    @checked
    def batch(self, n_copies: int) -> BatchMPC:
        """Return a controller of n copies of the plant at once, with the settings of this one.

        Raises:
            ValueError: If it has no linear roll-out of states that are observed, without memory,
                estimator, delay and measured inputs.

        Example:
            >>> actions = mpc.batch(1000).act(observations)  # doctest: +SKIP
        """
        plain = type(self._estimators[0]) is History and not self.model.coordinates.memory
        plain &= not self.inputs.delay and not len(self._layout.measured)
        if not plain or self.rollout != "linear" or self._through_cvxpy:
            raise ValueError(
                "batch needs a quadratic program on a linear roll-out, without memory, estimator, "
                "input delay and measured inputs; give each copy a controller of its own"
            )
        n, others = positive_int("n_copies", n_copies), (self.parameters, self._weights, self._safe)
        return BatchMPC(self.model, self._linear_planner, self._targets, *others, n)

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
        U = finite_array("guess", guess, shape=self._tracking.u.shape)
        at = self._situation(y, self._state.start_at(y))
        plan = solved_about(self._tracking, self._scenarios, at, U, self.problem, **TIGHT)
        return plan.U, plan.outcome.cost

    @checked
    def save(self, path: PathLike) -> None:
        """Write the controller to a .npz file, replacing what was there.

        With its model or models, all settings, the values of parameters, and what was compiled.
        What `constrain` and `penalize` added is written as CVXPY's canonical program of it. The
        episode is not: a loaded controller begins one.

        Raises:
            TypeError: If a part of it is code, which files do not hold: a function as reference,
                features or a lift by a function, an estimator of another package. Or if a term is
                no quadratic program.
            OSError: If the file cannot be written.

        Example:
            >>> mpc.save("controller.npz")  # doctest: +SKIP
            >>> KoopmanMPC.load("controller.npz").act(observation)  # doctest: +SKIP
        """
        from koopman_control.mpc.store import write_controller

        write_controller(path, self)

    @classmethod
    @checked
    def load(cls, path: PathLike) -> KoopmanMPC:
        """Read what `save` wrote: a controller that acts as that one did, to the last bit.

        Nothing is fitted or compiled, and no code in the file is ever run.

        Raises:
            FileNotFoundError: If there is no such file.
            FileFormatError: If it is damaged or holds something else.
        """
        from koopman_control.mpc.store import read_controller

        return read_controller(path)

    def explain(self) -> Explanation:
        """Say what became of the problem and what the latest step did; print the result."""
        form, measured = self.inputs.parametrization, len(self._layout.measured)
        preview = self._layout.nothing(self.horizon) if measured else None
        program = self._planner.size(Start(self._targets[0].rest, preview=preview))
        inputs = "every step is free" if form is None else str(form)
        if program and self.rollout == "linear" and self._response.prestabilised:
            inputs += ", beside feedback that holds the unstable model"
        active, broken = reached(self._tracking, self.last, self._units)
        return Explanation(
            model=f"{len(self.model.A)} lifted states, {self.rollout} roll-out, N = {self.horizon}",
            variables=sizes_of(self._tracking.unpredicted),
            program=program,
            inputs=inputs,
            solver=self._solver.name if program else "CVXPY",
            active=active,
            broken=broken,
            rungs={str(rung): count for rung, count in self._loop.rungs.items()},
        )
