"""The planner of nonlinear roll-outs: a sequence of convex programs.

A nonlinear roll-out is linearised about each guess, which gives a convex program with the exact
cost; a line search on the true predicted cost decides how far to follow its solution (Gauss-Newton
sequential quadratic programming). Several guesses are treated as one batch: the plan before, moved
on, and random ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array, Index, all_finite
from koopman_control.identification.kernel_arrays import Regulator
from koopman_control.mpc.compile.program import ParametricQP
from koopman_control.mpc.planning.condense import Condenser, Instance, Merit, ProgramSize
from koopman_control.mpc.planning.plan import NOT_FINITE, KnownOutcome, Plan, Times
from koopman_control.mpc.planning.prediction import Scenarios
from koopman_control.mpc.settings import Search
from koopman_control.mpc.solvers import TIME_LIMIT, Solution, SolverSettings, make_solver
from koopman_control.mpc.state import Situation, Start, shifted, within_bounds
from koopman_control.mpc.units import Units
from koopman_control.mpc.weights import Weights, common_box

STEP_LENGTHS = np.array([1.0, 0.6, 0.3, 0.1, 0.03])
SMALLEST_GAIN = 1e-9  # relative improvement of the cost that is worth another round
TIE = 1e-10  # relative difference of costs that rounding may make; it decides nothing
RELAXED = 0.9  # by which the pace is doubted after a search that was cut
FEW = 4  # guesses between two looks at the clock
SHARE = 0.3  # of the time left that may go into guesses
PERIODS = (6.0, 60.0)  # of the switching signals, in steps
AMPLITUDES = (0.25, 0.5, 1.0, 1.0)  # share of the input box


def switching(n: int, horizon: int, box: Array, rng: np.random.Generator) -> Array:
    """Draw n plans that switch between two levels in every input, shape (n, horizon, m).

    Optimal inputs of underactuated plants are nearly bang-bang; period, phase and amplitude are
    random. `box` of shape (2, m) must be finite.
    """
    m = box.shape[1]
    period = rng.uniform(*PERIODS, (n, 1, m))
    phase = rng.uniform(0.0, 1.0, (n, 1, m))
    amplitude = rng.choice(AMPLITUDES, (n, 1, m))
    wave = np.sign(np.sin(2.0 * np.pi * (np.arange(horizon)[:, None] / period + phase)))
    middle, half = 0.5 * (box[0] + box[1]), 0.5 * (box[1] - box[0])
    return np.asarray(middle + half * amplitude * wave)


class Guesses(NamedTuple):
    """Plans (S, N, m) within their bounds, the continued one first.

    Args:
        plans: The plans.
        states: What they lead to, shape (S, N, d), or None where that is not known.
        kept: How many of them each re-linearisation goes on with.
    """

    plans: Array
    states: Array | None
    kept: list[int]


class InitialGuesses:
    """Draws the plans that sequential quadratic programming starts from.

    Args:
        scenarios: What predicts; the first model is the one that is regulated.
        search: How many plans, and their seed.
        gain: Gain of the regulator that finishes them, shape (m, d), or (m, d + m) where it goes
            with the input before, too.
        weights: Their bounds on inputs and rates hold; random plans need finite ones.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        search: Search,
        gain: Array,
        weights: Weights,
    ) -> None:
        self._scenarios, self._rollout, self._search = scenarios, scenarios.rollout, search
        self._gains = np.split(gain, [scenarios.first.n_states], axis=1)
        self._box, self._rate = common_box(weights.input_bounds), weights.rate_bounds
        self.restart()

    def restart(self) -> None:
        """Begin an episode."""
        self._rng = np.random.default_rng(self._search.seed)

    def draw(self, at: Situation, plan: Array | None, until: float = math.inf) -> Guesses:
        """Draw feasible guesses.

        Args:
            at: The situation.
            plan: Plan of the step before, shape (N, m), or None in an episode's first step.
            until: Time of the clock at which to make do with the guesses that are finished.
        """
        plans, heads = self._continued(at, plan) if plan is not None else self._fresh(at)
        plans = np.clip(plans, self._box[0], self._box[1])
        target = at.start.states(at.reference[-1, : len(at.start.x)])
        K, L = self._gains
        regulator = Regulator(target, at.input_reference[-1], K, self._box, L, at.previous)
        states = None
        if self._rollout == "relifted" or np.any(heads < plans.shape[1]):
            plans, states = self._finished(at, plans, heads, regulator, until)
        if self._rollout != "relifted" or np.isfinite(self._rate).any():
            plans = within_bounds(plans, self._box, self._rate, at.previous)
            states = None
        return Guesses(plans, states, self._schedule(plan is None))

    def _schedule(self, first: bool) -> list[int]:
        """How many guesses each re-linearisation goes on with; the first step searches widely."""
        if not first:
            return [2 if self._search.guesses else 1] * self._search.iterations
        widest = max(4, self._search.first_guesses // 8)
        return [max(2, widest >> (i // 2)) for i in range(self._search.first_iterations)]

    def _finished(
        self, at: Situation, plans: Array, heads: Index, regulator: Regulator, until: float
    ) -> tuple[Array, Array]:
        """Let the regulator take plans over; with a deadline, for a share of the time left."""
        now = perf_counter()
        until = now + SHARE * (until - now)
        ends = [*range(1, len(plans), FEW), len(plans)] if math.isfinite(until) else [len(plans)]
        parts, first = [], 0
        for end in ends:
            if first and perf_counter() >= until:
                break
            own, first = slice(first, end), end
            parts.append(self._scenarios.finished(at.start, plans[own], heads[own], regulator))
        if len(parts) == 1:
            return parts[0]
        finished, states = (np.concatenate(each) for each in zip(*parts, strict=True))
        return finished, states

    def _fresh(self, at: Situation) -> tuple[Array, Index]:
        """Hold the input's target, regulate, or switch at random before regulating."""
        N = len(at.reference)
        hold = np.broadcast_to(at.input_reference, (2, *at.input_reference.shape))
        random, heads = self._random(N, self._search.first_guesses)
        return np.concatenate([hold, random]), np.concatenate([[N, 0], heads])

    def _continued(self, at: Situation, plan: Array) -> tuple[Array, Index]:
        """Continue the plan, hand it over to the regulator early, and switch at random."""
        N = len(at.reference)
        current = shifted(plan)
        random, heads = self._random(N, self._search.guesses)
        random[::2] = current
        return np.concatenate([current[None], random]), np.concatenate([[N], heads])

    def _random(self, horizon: int, n: int) -> tuple[Array, Index]:
        """Draw switching plans and the steps after which the regulator takes them over."""
        if n == 0 or not np.isfinite(self._box).all():
            return np.empty((0, horizon, self._box.shape[1])), np.empty(0, dtype=np.int64)
        plans = switching(n, horizon, self._box, self._rng)
        return plans, self._rng.integers(0, horizon, n)


@dataclass
class Budget:
    """What solving took so far, and until when it may go on.

    Args:
        until: Time of the clock.
        words: What the solver said.
        status: Its best word in the rounds that were finished.
        over: Whether time ran out.
        cut: Whether the search was shortened, for lack of time.
        iterations: The solver's.
        update: Seconds spent filling in programs.
        solve: Seconds spent solving them.
    """

    until: float
    words: list[str] = field(default_factory=list)
    status: str = TIME_LIMIT
    over: bool = False
    cut: bool = False
    iterations: int = 0
    update: float = 0.0
    solve: float = 0.0

    def note(self, solution: Solution, update: float, solve: float) -> None:
        """Add a solution and the seconds it took."""
        finite = solution.v is None or all_finite(solution.v)
        self.words.append(solution.status if finite else NOT_FINITE)
        self.over |= solution.status == TIME_LIMIT
        self.iterations += solution.iterations
        self.update += update
        self.solve += solve

    def late(self) -> bool:
        """Whether there is no time left."""
        self.over |= perf_counter() >= self.until
        self.cut |= self.over
        return self.over

    def affordable(self, wanted: int, pace: float) -> int:
        """How many guesses a round can go on with, at so many seconds for each."""
        if self.late():
            return 0
        left = self.until - perf_counter()
        n = wanted if left >= wanted * pace else int(left / pace)
        self.cut |= n < wanted
        return n

    def finish_round(self) -> None:
        """Take the words of a round into account."""
        self.status = "optimal" if "optimal" in self.words else self.words[0]


class SequentialPlanner:
    """Sequential quadratic programming on a nonlinear roll-out, over a batch of guesses.

    Args:
        scenarios: What predicts, "bilinear" or "relifted".
        program: The compiled problem.
        held: How inputs are made of free values, shape (N, K); None: each step has its own.
        solver: As for `make_solver`.
        guesses: Where it starts from.
        units: Usual sizes of outputs, inputs and cost.
        softened: The problem with its hard rows on outputs relaxed, for when they leave no
            solution.

    Attributes:
        condenser: The compiled problem.
        merit: Prices plans, also those that are not made of the condenser's free values.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        program: ParametricQP,
        held: Array | None,
        solver: str | SolverSettings,
        guesses: InitialGuesses,
        units: Units,
        softened: ParametricQP | None = None,
    ) -> None:
        self._scenarios, self._guesses = scenarios, guesses
        self._softened: SequentialPlanner | None = None
        if softened is not None:
            self._softened = SequentialPlanner(scenarios, softened, held, solver, guesses, units)
        self.condenser = free = Condenser(program)
        if held is not None:
            self.condenser = Condenser(program, held)
        self._plan_shape = program.columns["u"].shape
        alike = self.condenser.alike(self._plan_shape[1])
        self.merit, self._solver = Merit(free, units), make_solver(solver, alike=alike)
        self._pace = 0.0  # seconds that a guess took in the latest round

    def reset(self) -> None:
        """Drop warm starts, and draw the same guesses again."""
        self._guesses.restart()
        self._solver.forget()
        if self._softened is not None:
            self._softened.reset()

    def size(self, start: Start) -> ProgramSize:
        """Measure the program about a start that nothing is done about."""
        return self.condenser.size(self._scenarios.linearized(start, np.zeros(self._plan_shape))[1])

    def warm_up(self) -> None:
        """A first step is so much longer than others that there is nothing to gain."""

    @np.errstate(all="ignore")  # a plan may well drive the model out of its range
    def plan(self, at: Situation, before: Array | None, until: float = math.inf) -> Plan:
        """Improve guesses about the plan before (N, m), round by round, by a time."""
        guesses = self._guesses.draw(at, before, until)
        plan = self._improved(at, guesses, until)
        if self._softened is None or plan.status in ("optimal", TIME_LIMIT):
            return plan
        return self._softened._improved(at, guesses, until)._replace(softened=True)

    def _improved(self, at: Situation, guesses: Guesses, until: float) -> Plan:
        """Improve guesses (S, N, m); round i goes on with the best kept[i] of them.

        A round that is not finished in time is dropped; without any, the best guess is the plan.
        """
        start = perf_counter()
        U, states, kept = guesses
        priced_at = self.merit.at(at.theta)
        X = self._rolled_out(at, U) if states is None else states
        Y, cost = self._judged(at, priced_at, U, X)
        work = Budget(until)
        for wanted in kept:
            n = work.affordable(wanted, self._pace)
            if not n:
                break
            began = perf_counter()
            if n < len(U):
                best = np.argsort(cost, kind="stable")[:n]
                U, Y, cost = U[best], Y[best], cost[best]
            U_new = self._solutions(at, U, Y, work)
            if work.late():
                break
            work.finish_round()
            U, Y, cost, gain = self._searched(at, priced_at, U, Y, cost, U_new)
            self._pace = (perf_counter() - began) / len(U)
            if gain <= SMALLEST_GAIN:
                break
        i = int(_first_of_the_best(cost))
        status = work.status
        if status == "optimal" and not np.isfinite(cost[i]):
            status = NOT_FINITE
        rest = perf_counter() - start - work.update - work.solve
        times = Times(rest, work.update, work.solve)
        outcome = KnownOutcome(Y[i], float(cost[i]))
        self._pace *= RELAXED if work.cut else 1.0
        return Plan(U[i], outcome, status, work.iterations, times, work.cut)

    def _rolled_out(self, at: Situation, U: Array) -> Array:
        return self._scenarios.predicted(at.start, U)

    def _judged(
        self, at: Situation, priced_at: Instance, U: Array, X: Array
    ) -> tuple[Array, Array]:
        """Bring states (S, N, d) near the reference's turn of each angle; return them and costs."""
        Y = at.reference + self._scenarios.wrap(X - at.reference)
        inputs = U.reshape(len(U), -1)
        cost = self.merit(priced_at, inputs, Y.reshape(len(U), -1))
        cost += self.merit.of_broken_inputs(priced_at, inputs)
        return Y, np.where(np.isfinite(cost), cost, np.inf)

    def _solutions(self, at: Situation, U: Array, Y: Array, work: Budget) -> Array:
        """Solve the convex program about every guess; a failed one keeps its guess."""
        S, N, m = U.shape
        Gamma = self._scenarios.sensitivities(at.start, Y, U).reshape(S, -1, N * m)
        U_new, instance = U.copy(), self.condenser.instance(at.theta)
        for s in range(S):
            if work.late():
                break
            if not (np.isfinite(Gamma[s]).all() and np.isfinite(Y[s]).all()):
                work.words.append(NOT_FINITE)
                continue
            start = perf_counter()
            free = Y[s].ravel() - Gamma[s] @ U[s].ravel()
            program = self.condenser.condense(instance, free, Gamma[s])
            updated = perf_counter()
            solution = self._solver.solve(program, True, work.until - updated)
            work.note(solution, updated - start, perf_counter() - updated)
            if solution.v is not None and all_finite(solution.v):
                U_new[s] = self.condenser.inputs(solution.v).reshape(N, m)
        return U_new

    def _searched(
        self, at: Situation, priced_at: Instance, U: Array, Y: Array, cost: Array, U_new: Array
    ) -> tuple[Array, Array, Array, float]:
        """Try all step lengths towards the solutions at once; keep a guess that none improves.

        Of steps that are as good the longest is taken, so that rounding does not choose.
        """
        S, L = len(U), len(STEP_LENGTHS)
        trials = U[:, None] + STEP_LENGTHS[:, None, None] * (U_new - U)[:, None]
        trials = trials.reshape(S * L, *U.shape[1:])
        Y_trial, cost_trial = self._judged(at, priced_at, trials, self._rolled_out(at, trials))
        pick = np.arange(S) * L + _first_of_the_best(cost_trial.reshape(S, L))
        better = cost_trial[pick] < cost + TIE * np.abs(cost)
        U = np.where(better[:, None, None], trials[pick], U)
        Y = np.where(better[:, None, None], Y_trial[pick], Y)
        improved = np.where(better, cost_trial[pick], cost)
        gains = (cost - improved) / np.maximum(np.abs(cost), np.finfo(float).tiny)
        return U, Y, improved, float(np.nanmax(np.append(gains, 0.0)))


def _first_of_the_best(costs: Array) -> Index:
    """Index of the first of the costs (..., k) that are lowest up to rounding, (...)."""
    lowest = costs.min(axis=-1, keepdims=True)
    return np.asarray((costs <= lowest + TIE * np.abs(lowest)).argmax(axis=-1))
