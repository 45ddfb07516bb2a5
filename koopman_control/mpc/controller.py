"""KoopmanMPC: observation in, action out, and never an exception in the loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, positive_int, seed_number
from koopman_control.common.border import checked
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.attempt import Attempt, attempt
from koopman_control.mpc.estimation import History, Observer
from koopman_control.mpc.inputs import InputLayout
from koopman_control.mpc.planning.plan import Situation
from koopman_control.mpc.planning.scenarios import Scenarios, checked_models
from koopman_control.mpc.planning.search import Effort
from koopman_control.mpc.solvers import SolverName
from koopman_control.mpc.stated import Stated
from koopman_control.mpc.statement.parametrization import Blocks, Knots
from koopman_control.mpc.statement.pull_back import pull_back
from koopman_control.mpc.statement.settings import seconds_until, stage_rows
from koopman_control.mpc.statement.targets import Target, TargetRows
from koopman_control.mpc.statement.terminal import with_terminal
from koopman_control.mpc.statement.terminal_set import with_terminal_set
from koopman_control.mpc.statement.terms import Parameters
from koopman_control.mpc.statement.tightening import tightened
from koopman_control.mpc.statement.tube import Tube
from koopman_control.mpc.statement.weights import Bounds, Costs, weights_for
from koopman_control.mpc.step import Step


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
            applied last, at the start of an episode from `safe_input`.
        reference: Target of the states: a number, shape (d,), (N, d), or a function of the
            observation that returns one of these, or None where `safe_input` will do. Row k is the
            target after k + 1 steps. A longer array (T, d) is the trajectory of a whole episode: it
            is previewed, moves on with every step, and its last row is held.
        input_reference: Target of the inputs, likewise; row k is that of the k-th input.
        linear_output: Cost per unit of each state: a number, shape (d,) or (N, d).
        linear_input: Cost per unit of each input, likewise: energy or prices.
        terminal: Weight of the last state beside Q, or "riccati" for the cost that the regulator at
            the reference (at zero, where the reference is a function) still has to come.
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
            kept exactly.
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
        slack_weight: ArrayLike = 1e3,
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
        w = with_terminal_set(w, terminal_set, model, *aims, self._gain, self._layout)
        self._weights = w.for_models(len(models))
        safe = stage_rows("safe_input", safe_input, m, 1)[0]
        self._safe = np.clip(safe, *w.input_bounds[:, 0])
        self._terms = pull_back(model, trust_weight)
        self.parameters = Parameters()
        self._assemble()
        self.reset()

    def act(self, observation: ArrayLike, disturbance: ArrayLike | None = None) -> Array:
        """Return the action for an observation.

        There is no clock: every call is one step. For a step without an observation call it with
        None; after a jump of many, `reset`.

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
        loop, sight = self._loop, self._sight
        trouble = sight.look(observation, disturbance, first=not loop.step)
        if trouble:
            rung, plan, at = Attempt(*loop.fall_back(trouble), None)
        else:
            rung, plan, at = attempt(self._planning, loop, self._now, start + self._limit)
        loop.apply(rung, plan)
        sight.send(loop.previous)
        seconds = time.perf_counter() - start
        self.last = Step(rung, plan, at, self._weights, seconds, self.model)
        return loop.previous.copy()

    def _now(self) -> Situation:
        """Collect what a plan depends on at this step."""
        return self._situated(self._sight.seen, self._sight.start, self._loop)
