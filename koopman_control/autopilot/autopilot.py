"""The autopilot: from an environment and a budget of steps to a controller, nothing told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from koopman_control.autopilot.controller import PilotController
from koopman_control.autopilot.modelling import Structure, fitted, ignorable, structure_of
from koopman_control.autopilot.pace import FINE, HOLDS, STEPS, Exploration, at_pace, pace_of
from koopman_control.autopilot.refinement import Refinement
from koopman_control.autopilot.reward import EndModel, RewardModel, Samples, unknown_places
from koopman_control.autopilot.search import Effort, Objective, PlanSearch
from koopman_control.autopilot.value import fitted_value
from koopman_control.common import Array, Controller, PathLike, positive_int
from koopman_control.common.arrays import seed_number
from koopman_control.common.border import CheckedFields, checked
from koopman_control.evaluation import Learned, Round
from koopman_control.evaluation.learn import TOLERATED, carrying
from koopman_control.features import Angle
from koopman_control.identification import EDMDc
from koopman_control.identification.trimming import typical_error
from koopman_control.trajectories import Signal, Trajectory, collect, total_steps
from koopman_control.trajectories.environments import open_environment, require_continuous

RewardFunction = Callable[[Array, Array, Array], ArrayLike]
EndFunction = Callable[[Array], ArrayLike]

FIRST, ROUNDS = 0.25, 6  # share of the budget before there is a controller; rounds for the rest
MOST_FIRST = 1000  # steps
STRETCH = 250  # steps of an episode of data, after which it is broken off
PER_HOLD = 100  # the same in decisions
DISCOUNT = 0.99  # per step of the environment
CURIOUS, CAREFUL = 1.0, -0.02  # worth of unknown places, in ranges of the reward seen
HORIZON = 50  # decisions


@dataclass(frozen=True)
class Levers(CheckedFields):
    """Parts of the autopilot that can be left out, to see what they are for.

    Args:
        trim: Leave out of the fit what a smooth model cannot follow.
        structure: Look for angles, constants and columns that make no difference.
        value: Learn what is still to come after a plan.
        search: Draw plans again about the best ones; otherwise as many are drawn at once.
        refine: Improve plans by convex programs.
    """

    trim: bool = True
    structure: bool = True
    value: bool = True
    search: bool = True
    refine: bool = True


@dataclass(frozen=True)
class Piloted(Learned):
    """What the autopilot learned.

    Args:
        structure: What the columns of the observation turned out to be.
        reward: The learned reward.
        end: When episodes end.
        hold: Steps of the environment that a decision lasts.
        step: Steps of the environment that a step of the model lasts.
        notes: What was found out and what was uncertain, one sentence each.
    """

    structure: Structure = field(kw_only=True)
    reward: RewardModel = field(kw_only=True)
    end: EndModel = field(kw_only=True)
    hold: int = 1
    step: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Autopilot(CheckedFields):
    """Learns to control any environment with continuous inputs, with one set of settings.

    Args:
        budget: Environment steps, every one counted.
        seed: Determines resets, features, signals and plans.
        angles: Overrides the angles found: (cosine column, sine column) pairs or columns in
            radians; None finds them.
        context: Overrides which observation columns stay constant within an episode.
        ignored: Overrides which observation columns make no difference to how the others move.
        levers: What is left out; None: nothing.

    Example:
        >>> learned = Autopilot(1500).learn("Pendulum-v1")  # doctest: +SKIP
        >>> learned.controller.act(observation)  # doctest: +SKIP
    """

    budget: int = 5000
    seed: int = 0
    angles: Sequence[Angle] | None = None
    context: Sequence[int] | None = None
    ignored: Sequence[int] | None = None
    levers: Levers | None = None

    def __post_init__(self) -> None:
        """Check ranges, too."""
        super().__post_init__()
        positive_int("budget", self.budget)
        seed_number("seed", self.seed)

    @checked
    def learn(
        self,
        env: gym.Env[Any, Any] | str,
        on_step: Callable[[int], None] | None = None,
        checkpoint: PathLike | None = None,
    ) -> Piloted:
        """Learn a controller from at most `budget` environment steps.

        Args:
            env: A Gymnasium environment or its id.
            on_step: Called after each environment step with the number of steps so far.
            checkpoint: Folder in which every finished episode is kept at once. After an
                interruption the same call goes on behind the last of them.

        Returns:
            The controller, its model, all data and a record of each round.

        Raises:
            TypeError: If the spaces are of a kind that is not supported.
            ValueError: If there was nothing to learn from, or the budget does not suffice; the
                error carries what was collected as `trajectories`.
            CollectionInterrupted: Ctrl-C at any time; likewise.
            CollectionFailed: The environment raised, or gave what is no observation or reward;
                likewise.
        """
        start = time.perf_counter()
        environment = open_environment(env)
        try:
            box = require_continuous(environment)[1]
            data: list[Trajectory] = []
            with threadpool_limits(limits=1), carrying(data):
                logbook = Logbook(environment, self.seed, data, on_step, checkpoint)
                return Learning(self, logbook, box).learned(start)
        finally:
            if environment is not env:
                environment.close()


class Logbook:
    """Collects data in stretches, and counts every step.

    Args:
        env: The environment.
        seed: Of resets and signals.
        data: Where trajectories are added.
        on_step: Called with the number of steps so far.
        checkpoint: Folder to keep finished episodes in, or None.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        seed: int,
        data: list[Trajectory],
        on_step: Callable[[int], None] | None,
        checkpoint: PathLike | None,
    ) -> None:
        self.data, self._env, self._on_step = data, env, on_step
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._seeds = np.random.SeedSequence([seed_number("seed", seed), 17])
        self._number = 0

    def stretch(self, policy: Signal | Controller, n_steps: int) -> list[Trajectory]:
        """Collect steps under a policy, in a new episode or, where these are short, several."""
        done, number = total_steps(self.data), self._number
        on_step = self._on_step
        new = collect(
            self._env,
            policy,
            n_steps=n_steps,
            seed=int(self._seeds.spawn(1)[0].generate_state(1)[0]),
            on_step=None if on_step is None else lambda steps: on_step(done + steps),
            checkpoint=None if self._checkpoint is None else self._checkpoint / f"part-{number}",
        )
        self._number += 1
        self.data.extend(new)
        return new


class Learning:
    """One run of the autopilot.

    Args:
        settings: Budget, seed and what the user knows better.
        logbook: Collects.
        box: Lowest and highest inputs, shape (2, m).
    """

    def __init__(self, settings: Autopilot, logbook: Logbook, box: Array) -> None:
        self._settings, self._logbook, self._box = settings, logbook, box
        self._levers = settings.levers or Levers()
        self._rounds: list[Round] = []
        self._hold = self._step = 1
        self._structure = Structure((), ())
        self._best: EDMDc | None = None

    def learned(self, start: float) -> Piloted:
        """Collect, fit, control, in rounds, until the budget is used."""
        budget, data = self._settings.budget, self._logbook.data
        first = min(max(int(FIRST * budget), 1), MOST_FIRST)
        while total_steps(data) < first:
            self._logbook.stretch(Exploration(), min(STRETCH, first - total_steps(data)))
        self._look()
        edges = np.linspace(first, budget, ROUNDS + 1).astype(int).tolist()
        new, number = list(data), 0
        for number, edge in enumerate(edges[1:]):
            estimator, objective, _ = self._fit(number, new)
            new = []
            while (left := edge - total_steps(data)) > 0:
                curious = number == 0 or len(new) % 2 == 1
                pilot = self._controller(estimator, objective, CURIOUS if curious else 0.0, number)
                new += self._logbook.stretch(pilot, min(left, self._stretch))
        estimator, objective, (reward, end) = self._fit(number + 1, new)
        pilot = self._controller(estimator, objective, CAREFUL, 0)
        return Piloted(
            estimator,
            pilot,
            data,
            self._rounds,
            time.perf_counter() - start,
            structure=self._structure,
            reward=reward,
            end=end,
            hold=self._hold,
            step=self._step,
            notes=self._notes(estimator, reward, end),
        )

    @property
    def _stretch(self) -> int:
        return max(STRETCH, PER_HOLD * self._hold)

    def _look(self) -> None:
        """Read the structure and the pace from the first data."""
        data, given = self._logbook.data, self._settings
        structure = structure_of(data) if self._levers.structure else Structure((), ())
        if given.angles is not None:
            structure = replace(structure, angles=tuple(given.angles))
        if given.context is not None:
            structure = replace(structure, context=tuple(given.context))
        if given.ignored is not None:
            structure = replace(structure, ignored=tuple(given.ignored))
        self._structure, self._hold = structure, pace_of(data)
        self._step = min(pace_of(data, STEPS, FINE), self._hold)

    def _fit(
        self, number: int, new: Sequence[Trajectory]
    ) -> tuple[EDMDc, Objective, tuple[RewardModel, EndModel]]:
        """Fit model, reward, end and value to all data."""
        began, seed = time.perf_counter(), self._settings.seed + 1000 * number
        data = at_pace(self._logbook.data, self._step)
        trim, look = self._levers.trim, self._levers.structure
        estimator = fitted(data, self._structure, seed, trim)
        if look and self._settings.ignored is None and number < 3:
            pieces = data if estimator.trimmed_ is None else estimator.trimmed_.pieces
            found = ignorable(pieces, self._structure, seed)
            if found != self._structure.ignored:
                self._structure = replace(self._structure, ignored=found)
                estimator = fitted(data, self._structure, seed, trim)
        kept = True
        if self._best is not None:
            errors = [typical_error(e.model_, data) for e in (self._best, estimator)]
            kept = errors[1] <= TOLERATED * errors[0]
        if not kept and self._best is not None:
            estimator = self._best
        self._best = estimator
        model = estimator.model_
        samples = Samples.of(data, model)
        reward, end = RewardModel.fit(samples, model, seed), EndModel.fit(samples, model, seed)
        discount, value = DISCOUNT**self._step, None
        if self._levers.value:
            value = fitted_value(model, reward, end, samples.x, self._box, discount, seed)
        objective = Objective(
            reward=reward.surface,
            after=reward.after,
            of_state=end.surface.beside(unknown_places(samples, model, seed)),
            box=end.box,
            value=value,
            discount=discount if self._levers.value else 1.0,
            unknown=float(np.ptp(samples.r)) or 1.0,
            hold=self._hold // self._step,
        )
        seconds = time.perf_counter() - began
        score = estimator.choices_[0].score
        returns = tuple(float(t.rewards.sum()) for t in new if t.rewards is not None)
        self._rounds.append(Round(total_steps(self._logbook.data), returns, score, kept, seconds))
        return estimator, objective, (reward, end)

    def _controller(
        self, estimator: EDMDc, objective: Objective, curiosity: float, number: int
    ) -> PilotController:
        effort = Effort(HORIZON)
        if not self._levers.search:
            n = effort.n_plans * effort.iterations
            effort = replace(effort, n_plans=n, iterations=1, first_iterations=1)
        goal = replace(objective, unknown=curiosity * objective.unknown)
        search = PlanSearch(
            [estimator.model_], goal, self._box, effort, self._settings.seed + number
        )
        refinement = None
        if self._levers.refine:
            refinement = Refinement(estimator.model_, goal, search, self._box)
        return PilotController(estimator.model_, search, self._box, self._hold, refinement)

    def _notes(self, estimator: EDMDc, reward: RewardModel, end: EndModel) -> tuple[str, ...]:
        """Say what was found out."""
        found, trimmed = self._structure, estimator.trimmed_
        notes = [
            f"angles: {list(found.angles) or 'none'}; constants of an episode: "
            f"{list(found.context) or 'none'}; columns that make no difference: "
            f"{list(found.ignored or ()) or 'none'}",
            f"a decision lasts {self._hold} of at most {HOLDS[-1]} steps",
            f"the reward depends on {reward.form}; left-out R2 {reward.r2:.4f}",
            f"{end.n_ends} episodes ended; limits of single states explain {end.explained:.0%}",
        ]
        if trimmed is not None:
            notes.append(
                f"{trimmed.n_trimmed} of {sum(map(len, trimmed.kept))} decisions are such as no "
                "smooth model follows (contacts, stops)"
            )
        return tuple(notes)
