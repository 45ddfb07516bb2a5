"""KoopmanMPC: observation in, action out, and never an exception in the loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, positive_float, positive_int
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import guesses
from koopman_control.mpc.condense import Condenser
from koopman_control.mpc.history import History
from koopman_control.mpc.linear import LinearPlanner
from koopman_control.mpc.merit import Merit
from koopman_control.mpc.parametrization import Blocks, Knots
from koopman_control.mpc.plan import Plan, Predicted, Situation, Times
from koopman_control.mpc.planners import SequentialPlanner
from koopman_control.mpc.presolve import ParametricQP, compile_qp
from koopman_control.mpc.problem import TrackingProblem, Weights
from koopman_control.mpc.regulator import riccati
from koopman_control.mpc.rolling import Rolling
from koopman_control.mpc.search import Effort, Search
from koopman_control.mpc.settings import Target, TargetRows, box, rates, weight_matrix, widened
from koopman_control.mpc.solvers import SOLVERS

Rung = Literal["solved", "shifted", "safe"]


@dataclass(frozen=True)
class Step:
    """What the controller did in its latest step.

    Args:
        rung: "solved"; "shifted" if the previous plan was continued instead; "safe" if there was
            none, and the safe input was applied.
        plan: The plan.
        seconds: Duration of the whole step.
    """

    rung: Rung
    plan: Plan
    seconds: float

    @property
    def status(self) -> str:
        """The solver's word, or why there was nothing to solve."""
        return self.plan.status

    @property
    def inputs(self) -> Array:
        """Planned inputs, shape (N, m)."""
        return self.plan.U

    @property
    def outputs(self) -> Array:
        """Predicted states after each of them, shape (N, d)."""
        return self.plan.outcome.Y

    @property
    def objective(self) -> float:
        """Predicted cost of the plan."""
        return self.plan.outcome.cost

    @property
    def iterations(self) -> int:
        """Solver iterations, all programs of the step together."""
        return self.plan.iterations

    @property
    def times(self) -> Times:
        """Seconds spent predicting, filling in programs and solving them."""
        return self.plan.times

    @property
    def fallback(self) -> bool:
        """Whether the action came from a fallback."""
        return self.rung != "solved"


class KoopmanMPC:
    """Model-predictive controller on a lifted model.

    At each step it minimises, over the inputs of the next N steps,

        sum_k |y_k - r_k|_Q^2 + |u_k - u_r|_R^2 + |u_k - u_k-1|_S^2 + |y_N - r_N|_terminal^2

    within input bounds and rate bounds, and within output bounds kept softly. y are the model's
    states (angles in radians, their deviations wrapped). The problem is stated in CVXPY
    (`problem`), compiled once, condensed to the inputs, and solved by a warm-started quadratic
    program solver.

    The state of a model with a memory is kept by the controller: it remembers what it observed and
    applied, and at the start of an episode takes the plant to have been at rest. Weights,
    references and bounds are those of the present states only.

    Args:
        model: The model.
        horizon: Number of steps N.
        Q: State weight: a number, a diagonal (d,) or a matrix (d, d).
        R: Input weight: a number, a diagonal (m,) or a matrix (m, m).
        S: Weight of input changes, likewise; the change at the first step counts from the input
            applied last, at the start of an episode from `safe_input`.
        reference: Target of the states: a number, shape (d,), (N, d), or a function of the
            observation that returns one of these. Row k is the target after k + 1 steps.
        input_reference: Target of the inputs: a number, shape (m,), or a function of the
            observation.
        terminal: Weight of the last state beside Q, or "riccati" for the cost that the regulator at
            the reference (at zero, where the reference is a function) still has to come.
        rollout: "linear" (one exact convex program), "bilinear" or "relifted" (re-linearised).
        input_bounds: (low, high) or shape (2, m); None takes the model's action bounds.
        rate_bounds: Largest change of each input per step; None for no bound. Fallbacks keep it
            too.
        output_bounds: (low, high) or shape (2, d), infinite where there is none; kept softly.
        slack_weight: A violation v of an output bound costs slack_weight (|v| + v^2).
        iterations: Re-linearisations per step.
        first_iterations: Most re-linearisations in the first step of an episode.
        n_guesses: Random plans tried at each step beside the shifted one. They matter where the
            problem has several local optima (swing left or right).
        first_guesses: Random plans tried in the first step of an episode.
        safe_input: Input applied when there is no plan at all; default zero, clipped to the bounds.
        solver: "daqp" or "osqp".
        seed: Seed of the random plans; every episode draws the same ones.
        inputs: `Knots` or `Blocks`: plans of fewer free values, for a shorter step; None: the
            input of each step is free. Re-linearised plans may keep features of the plan before.

    Attributes:
        last: What happened in the latest step (`Step`), or None before the first.

    Raises:
        ValueError: If a setting has the wrong shape, is not convex, or bounds cross.

    Example:
        >>> mpc = KoopmanMPC(model, 30, Q=[1, 0.1], R=0.001, rollout="relifted")  # doctest: +SKIP
        >>> action = mpc.act(observation)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: LiftedModel,
        horizon: int,
        Q: ArrayLike = 1.0,
        R: ArrayLike = 0.0,
        S: ArrayLike = 0.0,
        *,
        reference: Target = 0.0,
        input_reference: Target = 0.0,
        terminal: ArrayLike | Literal["riccati"] = 0.0,
        rollout: Rollout = "linear",
        input_bounds: ArrayLike | None = None,
        rate_bounds: ArrayLike | None = None,
        output_bounds: ArrayLike | None = None,
        slack_weight: float = 1e3,
        iterations: int = 1,
        first_iterations: int = 10,
        n_guesses: int = 0,
        first_guesses: int = 0,
        safe_input: ArrayLike = 0.0,
        solver: Literal["daqp", "osqp"] = "daqp",
        seed: int = 0,
        inputs: Blocks | Knots | None = None,
    ) -> None:
        model.check_rollout(rollout)
        if solver not in SOLVERS:
            raise ValueError(f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}")
        self.model, self.rollout, self.seed = model, rollout, seed
        self.horizon = positive_int("horizon", horizon)
        effort = Effort(iterations, first_iterations, n_guesses, first_guesses)
        d, m = model.coordinates.n_outputs, model.n_inputs
        self._reference = TargetRows("reference", reference, (self.horizon, d), model.n_states)
        self._input_reference = TargetRows("input_reference", input_reference, (m,))
        self._weights = Weights(
            Q=widened(weight_matrix("Q", Q, d), model.n_states),
            R=weight_matrix("R", R, m),
            S=weight_matrix("S", S, m),
            terminal=np.zeros((model.n_states, model.n_states)),
            input_bounds=box("input_bounds", input_bounds, m, model.action_bounds),
            rate_bounds=rates(rate_bounds, m),
            output_bounds=np.hstack(
                [box("output_bounds", output_bounds, d), box("", None, model.n_states - d)]
            ),
            slack_weight=positive_float("slack_weight", slack_weight),
        )
        gain = self._weigh_terminal(terminal)
        low, high = self._weights.input_bounds
        self._safe = np.clip(TargetRows("safe_input", safe_input, (m,)).rest, low, high)
        stated = condenser = Condenser(self.qp)
        if inputs is not None:
            condenser = Condenser(self.qp, inputs.matrix(self.horizon))
        self._solver, merit = SOLVERS[solver](), Merit(stated)
        rolling = Rolling(model, rollout)
        self._planner: LinearPlanner | SequentialPlanner
        if rollout == "linear":
            self._planner = LinearPlanner(model, self.horizon, condenser, merit, self._solver)
        else:
            self._planner = SequentialPlanner(model, rolling, condenser, merit, self._solver)
        limits = self._weights.input_bounds, self._weights.rate_bounds
        self._search = Search(rolling, rollout, effort, gain, *limits, seed)
        self._history = History(model)
        self.last: Step | None = None
        self.reset()

    def __getstate__(self) -> dict[str, Any]:
        """Copy what is needed to act to other processes; the rest is made again when asked for."""
        return {k: v for k, v in vars(self).items() if k not in ("_stated", "qp")}

    @cached_property
    def _stated(self) -> TrackingProblem:
        return TrackingProblem(self.horizon, self._weights)

    @cached_property
    def qp(self) -> ParametricQP:
        """The compiled problem in u and y."""
        stated = self._stated
        return compile_qp(stated.stated, stated.parameters, (stated.u, stated.y))

    @property
    def problem(self) -> cp.Problem:
        """The CVXPY problem."""
        return self._stated.problem

    def reset(self) -> None:
        """Forget the episode: plan, warm start, applied input and random state."""
        self._plan: Array | None = None
        self._previous = self._safe.copy()
        self._history.restart(self._safe)
        self._search.restart()
        self._planner.reset()
        self.last = None

    def act(self, observation: ArrayLike) -> Array:
        """Return the action for an observation.

        Args:
            observation: Shape (p,).

        Returns:
            The action, shape (m,), inside the input and rate bounds. Whatever goes wrong, the
            previous plan is continued, or else the safe input applied; `last` tells.

        Raises:
            ValueError: In the first step of an episode only, if the observation is no array of the
                right shape.
        """
        start = time.perf_counter()
        y, trouble = self._read(observation)
        solved, trouble = (None, trouble) if y is None else self._attempt(y)
        rung: Rung = "solved"
        if solved is None:
            rung, plan = self._fall_back(trouble)
        else:
            plan = solved
        self._plan = None if rung == "safe" else plan.U
        self._previous = self._within_reach(plan.U[0])
        self._history.record(y, self._previous)
        seconds = time.perf_counter() - start
        self.last = Step(rung, plan, seconds)
        return self._previous.copy()

    def reference_solution(self, observation: ArrayLike, guess: ArrayLike) -> tuple[Array, float]:
        """Solve the convex program about a guess through CVXPY itself, slowly; for checking.

        Args:
            observation: Shape (p,).
            guess: Plan to linearise about, shape (N, m).

        Returns:
            Inputs of shape (N, m) and the optimal cost.
        """
        y = finite_array("observation", observation)
        U = finite_array("guess", guess, shape=(self.horizon, self.model.n_inputs))
        at, stated = self._situation(y), self._stated
        Y, Gamma = self.model.linearize(at.x, U, self.rollout)
        Y = at.reference + self.model.coordinates.wrap(Y - at.reference)
        stated.reference.value = at.reference
        stated.input_reference.value = at.input_reference
        stated.previous_input.value = self._previous
        stated.gamma.value = Gamma
        stated.free.value = Y.ravel() - Gamma @ U.ravel()
        tight = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
        cost = self.problem.solve(solver="CLARABEL", **tight)  # type: ignore[no-untyped-call]
        return np.asarray(stated.u.value), float(cost)

    def _weigh_terminal(self, terminal: ArrayLike | Literal["riccati"]) -> Array:
        """Set the terminal weight; return the gain of the regulator at the target."""
        if isinstance(terminal, str) and terminal != "riccati":
            raise ValueError(f'terminal is {terminal!r}; expected "riccati", a number or a matrix')
        w = self._weights
        x, u = self._reference.rest, self._input_reference.rest
        gain, to_come = riccati(self.model, x, u, w.Q, w.R + w.S)
        if not isinstance(terminal, str):
            n, d = self.model.n_states, self.model.coordinates.n_outputs
            to_come = widened(weight_matrix("terminal", terminal, d), n)
        self._weights = replace(w, terminal=to_come)
        return gain

    def _read(self, observation: ArrayLike) -> tuple[Array | None, str]:
        """Convert an observation, or say what is wrong with it."""
        expected = (self.model.coordinates.n_observations,)
        try:
            y = np.asarray(observation, dtype=np.float64)
        except (TypeError, ValueError):
            trouble = f"observation is {observation!r}; expected {expected[0]} numbers"
        else:
            if y.shape == expected:
                return (y, "") if np.isfinite(y).all() else (None, "observation not finite")
            trouble = f"observation has shape {y.shape}; expected {expected}"
        if self.last is None:
            raise ValueError(trouble)
        return None, trouble

    def _situation(self, y: Array) -> Situation:
        reference, input_reference = self._reference(y), self._input_reference(y)
        theta = np.concatenate([reference.ravel(), input_reference, self._previous])
        return Situation(self._history.state(y), reference, input_reference, theta)

    def _attempt(self, y: Array) -> tuple[Plan | None, str]:
        """Plan, or say why not."""
        try:
            plan = self._planned(self._situation(y))
        except Exception as error:  # whatever it is, the loop must go on
            self._solver.forget()
            return None, f"{type(error).__name__}: {error}"
        if plan.status != "optimal":
            return None, plan.status
        return plan, plan.status

    def _planned(self, at: Situation) -> Plan:
        if isinstance(self._planner, LinearPlanner):
            return self._planner.plan(at, self._plan)
        return self._planner.plan(at, *self._search.start(at, self._plan, self._previous))

    def _fall_back(self, trouble: str) -> tuple[Rung, Plan]:
        """Continue the previous plan, or go to the safe input; within the bounds in any case."""
        N, d, m = self.horizon, self.model.n_states, self.model.n_inputs
        rung: Rung = "safe" if self._plan is None else "shifted"
        U = np.tile(self._safe, (N, 1)) if self._plan is None else guesses.shifted(self._plan)
        box, rate = self._weights.input_bounds, self._weights.rate_bounds
        U = guesses.within_bounds(U.reshape(1, N, m), box, rate, self._previous)[0]
        return rung, Plan(U, Predicted(np.full((N, d), np.nan), np.nan), trouble, 0)

    def _within_reach(self, u: Array) -> Array:
        """Clip an input to what rate bounds allow after the previous one, and to the box."""
        rate, (low, high) = self._weights.rate_bounds, self._weights.input_bounds
        # np.clip costs several times as much on arrays this small.
        u = np.minimum(np.maximum(u, self._previous - rate), self._previous + rate)
        return np.asarray(np.minimum(np.maximum(u, low), high))
