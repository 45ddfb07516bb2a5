"""Where the search for a plan starts from at each step, and how long it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from koopman_control.common.arrays import Array, Index, positive_int
from koopman_control.mpc.inputs import shifted, switching, within_bounds
from koopman_control.mpc.planning.plan import Situation
from koopman_control.mpc.planning.prediction import Scenarios
from koopman_control.mpc.terminal import Regulator

FEW = 4  # guesses between two looks at the clock
SHARE = 0.3  # of the time left that may go into guesses


@dataclass(frozen=True)
class Effort:
    """Re-linearisations per step and in an episode's first; likewise random plans."""

    iterations: int
    first_iterations: int
    n_guesses: int
    first_guesses: int

    def __post_init__(self) -> None:
        """Check the counts."""
        positive_int("iterations", self.iterations)
        positive_int("first_iterations", self.first_iterations)
        positive_int("n_guesses", self.n_guesses, minimum=0)
        positive_int("first_guesses", self.first_guesses, minimum=0)

    def schedule(self, first: bool) -> list[int]:
        """How many guesses each re-linearisation goes on with; the first step searches widely."""
        if not first:
            return [2 if self.n_guesses else 1] * self.iterations
        widest = max(4, self.first_guesses // 8)
        return [max(2, widest >> (i // 2)) for i in range(self.first_iterations)]


class Search:
    """Draws the plans that sequential quadratic programming starts from.

    Args:
        scenarios: What predicts; the first model is the one that is regulated.
        effort: How many plans.
        gain: Gain of the regulator that finishes them, shape (m, d), or (m, d + m) where it goes
            with the input before, too.
        box: Lowest and highest input, shape (2, m); random plans need it finite.
        rate: Largest change of each input per step, shape (m,).
        seed: Seed of the random plans; every episode draws the same ones.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        effort: Effort,
        gain: Array,
        box: Array,
        rate: Array,
        seed: int,
    ) -> None:
        self._scenarios, self._rollout, self._effort = scenarios, scenarios.rollout, effort
        self._gains = np.split(gain, [scenarios.first.n_states], axis=1)
        self._box, self._rate, self._seed = box, rate, seed
        self.restart()

    def restart(self) -> None:
        """Begin an episode."""
        self._rng = np.random.default_rng(self._seed)

    @np.errstate(all="ignore")  # a plan may well drive the model out of its range
    def start(
        self, at: Situation, plan: Array | None, previous: Array, until: float = math.inf
    ) -> tuple[Array, Array | None, list[int]]:
        """Collect what a sequential planner starts from.

        Args:
            at: The situation.
            plan: Plan of the step before, shape (N, m), or None in an episode's first step.
            previous: Input applied last, shape (m,).
            until: Time of the clock at which to make do with the guesses that are finished.

        Returns:
            Feasible guesses (S, N, m), the continued plan first; the states (S, N, d) they lead to
            where known; and how many guesses each re-linearisation goes on with.
        """
        plans, heads = self._continued(at, plan) if plan is not None else self._fresh(at)
        plans = np.clip(plans, self._box[0], self._box[1])
        target = at.start.states(at.reference[-1, : len(at.start.x)])
        K, L = self._gains
        regulator = Regulator(target, at.input_reference[-1], K, self._box, L, previous)
        states = None
        if self._rollout == "relifted" or np.any(heads < plans.shape[1]):
            plans, states = self._finished(at, plans, heads, regulator, until)
        if self._rollout != "relifted" or np.isfinite(self._rate).any():
            plans = within_bounds(plans, self._box, self._rate, previous)
            states = None
        return plans, states, self._effort.schedule(plan is None)

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
        random, heads = self._random(N, self._effort.first_guesses)
        return np.concatenate([hold, random]), np.concatenate([[N, 0], heads])

    def _continued(self, at: Situation, plan: Array) -> tuple[Array, Index]:
        """Continue the plan, hand it over to the regulator early, and switch at random."""
        N = len(at.reference)
        current = shifted(plan)
        random, heads = self._random(N, self._effort.n_guesses)
        random[::2] = current
        return np.concatenate([current[None], random]), np.concatenate([[N], heads])

    def _random(self, horizon: int, n: int) -> tuple[Array, Index]:
        """Draw switching plans and the steps after which the regulator takes them over."""
        if n == 0 or not np.isfinite(self._box).all():
            return np.empty((0, horizon, self._box.shape[1])), np.empty(0, dtype=np.int64)
        plans = switching(n, horizon, self._box, self._rng)
        return plans, self._rng.integers(0, horizon, n)
