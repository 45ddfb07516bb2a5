"""Learning in rounds: collect, fit, control, test; the best controller acts in the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.autopilot.controller import Held, PilotController
from koopman_control.autopilot.discovery import FEWEST, find
from koopman_control.autopilot.exploring import STRETCH, explored
from koopman_control.autopilot.findings import Findings
from koopman_control.autopilot.judging import best_of, outdone
from koopman_control.autopilot.logbook import Logbook
from koopman_control.autopilot.modelling import (
    FEWEST_NEURONS,
    Structure,
    Trim,
    fitted,
    ignorable,
    smooth_pieces,
    structure_of,
    turning,
)
from koopman_control.autopilot.pace import FINE, HOLDS, STEPS, at_pace, pace_of
from koopman_control.autopilot.quadratic import QuadraticReward, Unobserved
from koopman_control.autopilot.refinement import Refinement
from koopman_control.autopilot.rehearsal import DECISIONS, Candidate, Planner, best_rehearsed
from koopman_control.autopilot.reward import (
    EndModel,
    RewardModel,
    Samples,
    aimless,
    less_effort,
    staying,
    unknown_places,
)
from koopman_control.autopilot.search import Effort, Objective, PlanSearch, searchable
from koopman_control.autopilot.surface import Surface
from koopman_control.autopilot.trust import trusted_box
from koopman_control.autopilot.value import fitted_value
from koopman_control.common import Array, Controller
from koopman_control.common.arrays import finite_array, real_array
from koopman_control.common.border import CheckedFields
from koopman_control.evaluation import Learned, Round, ZeroPolicy
from koopman_control.evaluation.learn import TOLERATED
from koopman_control.features import Angle
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.identification.trimming import one_step_residuals, pieces_of, typical_error
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import Trajectory, total_steps

RewardFunction = Callable[[Array, Array, Array], ArrayLike]
EndFunction = Callable[[Array], ArrayLike]

FIRST = 0.25  # share of the budget before there is a controller
ROUNDS, PER_ROUND = (2, 6), 400  # fewest and most rounds, and steps of the budget for each
SEARCH = 0.1  # share of the budget that is searched for rewards with one model, at least
SHORTEST_ROUND = 50  # steps
TEST = 0.6  # share of a round that its controller is tested in
MOST_FIRST = 1000  # steps
LOOKS = 3  # rounds in which the structure is looked for
MOST_SHARE = 0.75  # of the budget that may go into them if the model needs that many
SHORTEST = 3  # steps of the longest episode that there is something to learn from
PER_HOLD = 100  # the same in decisions
DISCOUNT = 0.99  # per step of the environment
CURIOUS, CAREFUL = 1.0, -0.02  # worth of unknown places, in ranges of the reward seen
SEEKING = 10.0  # the same as long as rewards tell nothing but what inputs cost
FLAT = 0.2  # of the spread of all rewards; a controller paid more evenly goes looking
EFFORT = 1e-4  # price of the largest input, in ranges of the reward seen
ALONE = 1e-2  # the same, and of being a spread away, where all steps pay the same
HORIZON, SHORT = 50, 12  # decisions; errors of an unstable plant leave nothing of longer plans


@dataclass(frozen=True)
class Levers(CheckedFields):
    """Parts of the autopilot that can be left out, to see what they are for.

    Args:
        trim: Leave out of the fit what a smooth model cannot follow.
        structure: Look for angles, constants and columns that make no difference.
        value: Learn what is still to come after a plan.
        search: Draw plans again about the best ones; otherwise as many are drawn at once.
        refine: Improve plans by convex programs.
        quadratic: Where the reward is a concave quadratic, state it exactly, in one convex program.
    """

    trim: bool = True
    structure: bool = True
    value: bool = True
    search: bool = True
    refine: bool = True
    quadratic: bool = True


@dataclass(frozen=True)
class Told:
    """What the user knows better than the data.

    Args:
        angles: As for `Autopilot`, and so the others.
        context: Columns that stay constant within an episode.
        ignored: Columns that make no difference to how the others move.
        reward: What is to be rewarded.
        done: What ends an episode.
        reference: Observation to be reached.
    """

    angles: Sequence[Angle] | None = None
    context: Sequence[int] | None = None
    ignored: Sequence[int] | None = None
    reward: RewardFunction | None = None
    done: EndFunction | None = None
    reference: ArrayLike | None = None


@dataclass(frozen=True)
class Piloted(Learned):
    """What the autopilot learned.

    Args:
        findings: What was found out about the environment from all data.
        structure: What the model takes the columns of the observation to be.
        reward: The learned reward.
        end: When episodes end.
        hold: Steps of the environment that a decision lasts.
        step: Steps of the environment that a step of the model lasts.
        notes: What was found out and what was uncertain, one sentence each.
    """

    findings: Findings = field(kw_only=True)
    structure: Structure = field(kw_only=True)
    reward: RewardModel = field(kw_only=True)
    end: EndModel = field(kw_only=True)
    hold: int = 1
    step: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Fit:
    """What a controller is made of.

    Args:
        estimator: The fitted estimator.
        objective: What plans are worth.
        reward: The learned reward.
        end: When episodes end.
        aimless: Whether rewards tell nothing about states, and no episode ended.
        exact: The convex controller of a quadratic reward, where it does best on the model.
        rests: Whether nothing is done instead.
    """

    estimator: EDMDc
    objective: Objective
    reward: RewardModel
    end: EndModel
    aimless: bool
    exact: KoopmanMPC | None
    rests: bool = False


def as_told(name: str, function: Callable[..., ArrayLike], *arguments: Array) -> Array:
    """Call a function of the user, and check that it returns a number for each row."""
    given = np.asarray(function(*(a.copy() for a in arguments)), dtype=np.float64)
    return finite_array(f"what {name} returns", given, shape=(len(arguments[0]),))


def towards(reference: ArrayLike, seen: Array) -> RewardFunction:
    """Return a reward of coming near an observation (p,), NaN where any value will do.

    Args:
        reference: The observation.
        seen: Observations whose spread is the unit of each deviation, shape (T, p).
    """
    target = real_array("reference", reference, shape=(seen.shape[1],))
    spread = seen.std(axis=0)
    free = np.isnan(target) | (spread == 0.0)
    weight = np.where(free, 0.0, 1.0 / np.where(free, 1.0, spread))
    held = np.where(free, 0.0, target)

    def reward(y: Array, u: Array, y_next: Array) -> Array:
        return np.asarray(-(((y_next - held) * weight) ** 2).sum(axis=1))

    return reward


def share_of(estimator: EDMDc) -> float:
    """Share of the samples that a fit was to keep."""
    return 1.0 if estimator.trimmed_ is None else estimator.trimmed_.share


class Learning:
    """One run of the autopilot.

    Args:
        budget: Environment steps.
        seed: Of everything random.
        told: What the user knows better.
        levers: What is left out.
        logbook: Collects.
        box: Lowest and highest inputs, shape (2, m).
    """

    def __init__(
        self, budget: int, seed: int, told: Told, levers: Levers, logbook: Logbook, box: Array
    ) -> None:
        self._budget, self._seed, self._told, self._levers = budget, seed, told, levers
        self._logbook, self._box, self._idle = logbook, box, ZeroPolicy(box)
        self._rounds: list[Round] = []
        self._hold = self._step = 1
        self._n_first = 0
        self._structure = Structure((), ())
        self._best: EDMDc | None = None
        self._trusted: Array | None = None
        self._earned = np.zeros(0)

    def learned(self, start: float) -> Piloted:
        """Collect, fit, control, in rounds, until the budget is used.

        As long as rewards tell nothing about states, controllers go where nothing is known yet.
        Then every round begins with a test of its controller, from the same reset. The rest of it
        is greedy, in turns with curious where that was paid evenly. Where the model promises more
        for doing nothing than any controller earned, that is tested in place of the last one but
        one. In the end, the controller that did best in its test acts.
        """
        budget, data, book = self._budget, self._logbook.data, self._logbook
        until = explored(book, self._first_steps(), self._levers.structure)
        self._n_first = len(data)
        self._look()
        fit, new, number = self._fit(0, data), list[Trajectory](), 0
        search = max(self._stretch, int(SEARCH * budget))
        while fit.aimless and (left := budget - total_steps(data)) > 0:
            new = book.stretch(self._controller(fit, SEEKING, number), min(left, search))
            number += 1
            fit = self._fit(number, new)
        edges, test = self._rounds_left()
        tested = list[tuple[Fit, list[Trajectory]]]()
        for i, edge in enumerate(edges):
            if i:
                number += 1
                fit = self._fit(number, new)
            greedy = self._controller(fit, CAREFUL, number)
            rests = len(edges) - 2 == i > 0 and outdone(
                [runs for _, runs in tested], partial(self._at_rest, fit)
            )
            new = book.stretch(self._idle if rests else greedy, test, again=True)
            tested.append((replace(fit, rests=rests), self._paid(new)))
            look = self._flat(new)
            while (left := edge - total_steps(data)) > 0:
                pilot = self._controller(fit, CURIOUS, number) if look else greedy
                length = min(left, self._stretch * (1 if look else 2))
                new = new + book.stretch(pilot, length, until=until)
                look = not look and self._flat(new)
        return self._piloted(best_of(tested) if tested else fit, start)

    def _at_rest(self, fit: Fit, length: int) -> float:
        """Return what a model promises for so many steps in which nothing is done."""
        model, u = fit.estimator.model_, self._idle.act(np.zeros(0))[None]
        resting = Candidate(replace(fit.objective, hold=1), lambda: lambda x: u)
        starts, n = self._starts(model), max(1, length // self._step)
        return float(best_rehearsed([resting], model, fit.reward, fit.end, starts, n)[1][0])

    def _rounds_left(self) -> tuple[list[int], int]:
        """Part the steps that are left: where each round ends, and how many steps its test has.

        All tests are of one length, so that they compare, and the last round is nothing else.
        """
        done = total_steps(self._logbook.data)
        if not (left := self._budget - done):
            return [], 0
        n = min(max(self._budget // PER_ROUND, ROUNDS[0]), ROUNDS[1])
        n = max(1, min(n, left // SHORTEST_ROUND))
        test = max(1, int(TEST * left / (n - 1 + TEST)))
        ends = np.linspace(done, self._budget - test, n).astype(int).tolist()[1:]
        return [*ends, self._budget], test

    def _flat(self, tested: list[Trajectory]) -> bool:
        """Whether a controller was paid about the same at every step: there may be more elsewhere.

        So it is where it has found nothing yet that pays, or the best place there is.
        """
        own, everything = (
            np.concatenate([t.rewards for t in self._paid(data) if t.rewards is not None])
            for data in (tested, self._logbook.data)
        )
        return bool(own.std() <= FLAT * everything.std())

    def _first_steps(self) -> int:
        """How many steps to explore for: enough for the smallest model.

        Raises:
            ValueError: If the budget leaves none for a controller.
        """
        budget, p, m = self._budget, self._logbook.n_observations, self._box.shape[1]
        need = max(FEWEST, 2 * (1 + m) * (1 + p + FEWEST_NEURONS))
        if budget < need / MOST_SHARE:
            raise ValueError(
                f"budget is {budget}; expected at least {math.ceil(need / MOST_SHARE)} steps for "
                f"{p} observations and {m} inputs: {need} to explore, and some to try a controller"
            )
        return int(max(need, min(int(FIRST * budget), MOST_FIRST)))

    def _seen(self) -> list[Trajectory]:
        """The data with rewards as the user wants them, checked.

        Raises:
            ValueError: If there is nothing to learn from.
        """
        data = self._logbook.data
        lengths = [len(t) for t in data if t.terminated]
        if lengths and max(len(t) for t in data) < SHORTEST:
            raise ValueError(
                f"episodes end after {np.mean(lengths):.1f} steps in the mean, {max(lengths)} at "
                f"most, under random inputs; expected some of {SHORTEST} or more to learn from: "
                "begin episodes nearer to where they can go on"
            )
        return self._paid(data)

    def _paid(self, data: list[Trajectory]) -> list[Trajectory]:
        """Return data with rewards as the user wants them."""
        reward, reference = self._told.reward, self._told.reference
        if reference is not None:
            first = [t.observations for t in self._logbook.data[: self._n_first]]
            reward = towards(reference, np.concatenate(first))
        if reward is None:
            return data
        seen = [(t.observations[:-1], t.actions, t.observations[1:]) for t in data]
        paid = [as_told("reward", reward, *each) for each in seen]
        return [replace(t, rewards=r) for t, r in zip(data, paid, strict=True)]

    def _piloted(self, fit: Fit, start: float) -> Piloted:
        """Put together what was learned.

        Raises:
            ValueError: If no reward ever differed from another, and no episode ended.
        """
        data = self._logbook.data
        paid = np.concatenate([t.rewards for t in self._seen() if t.rewards is not None])
        if np.ptp(paid) == 0.0 and not fit.end.n_ends:
            raise ValueError(
                f"nothing to learn from: reward was {paid[0]:g} in all {len(paid):,} steps; give "
                "reward= or more budget"
            )
        return Piloted(
            fit.estimator,
            self._controller(fit, CAREFUL, 0),
            data,
            self._rounds,
            time.perf_counter() - start,
            findings=find(data),
            structure=self._structure,
            reward=fit.reward,
            end=fit.end,
            hold=self._hold,
            step=self._step,
            notes=self._notes(fit),
        )

    @property
    def _stretch(self) -> int:
        return max(STRETCH, PER_HOLD * self._hold)

    def _look(self) -> None:
        """Read the structure and the pace from the first data."""
        data, given = self._logbook.data, self._told
        found = self._levers.structure
        structure = structure_of(find(data)) if found else Structure((), ())
        if given.angles is not None:
            structure = replace(structure, angles=tuple(given.angles))
        if given.context is not None:
            structure = replace(structure, context=tuple(given.context))
        if given.ignored is not None:
            structure = replace(structure, ignored=tuple(given.ignored))
        self._structure, self._hold = structure, pace_of(data)
        self._step = min(pace_of(data, STEPS, FINE), self._hold)

    def _fit(self, number: int, new: Sequence[Trajectory]) -> Fit:
        """Fit model, reward, end and value to all data."""
        began, seed = time.perf_counter(), self._seed + 1000 * number
        data = at_pace(self._seen(), self._step)
        estimator = self._model(number, self._within_trust(data), seed)
        kept = self._best is None or (
            typical_error(estimator.model_, data)
            <= TOLERATED * typical_error(self._best.model_, data)
        )
        if not kept and self._best is not None:
            estimator = self._best
        self._best, model = estimator, estimator.model_
        samples = Samples.of(data, model)
        if self._told.done is not None:
            after = np.concatenate([t.observations[1:] for t in data])
            told = as_told("done", self._told.done, after)
            samples = replace(samples, ended=samples.ended | (told > 0.5))
        reward, end = RewardModel.fit(samples, model, seed), EndModel.fit(samples, model, seed)
        residuals = np.concatenate(one_step_residuals(model, data))
        followed = residuals <= np.quantile(residuals, share_of(estimator))
        unknown = unknown_places(samples, model, followed, seed)
        trusted = trusted_box(samples, residuals, model) if self._levers.trim else None
        self._trusted = trusted
        goal = self._objective(model, reward, end, unknown, trusted, samples)
        goal, exact = self._rehearsed(goal, model, reward, end, unknown, samples, seed)
        returns = tuple(float(t.rewards.sum()) for t in new if t.rewards is not None)
        steps, score = total_steps(self._logbook.data), estimator.choices_[0].score
        self._rounds.append(Round(steps, returns, score, kept, time.perf_counter() - began))
        return Fit(estimator, goal, reward, end, aimless(samples), exact)

    def _model(self, number: int, data: Sequence[Trajectory], seed: int) -> EDMDc:
        """Fit a model to data; in the first rounds, find out what its neurons need to see."""
        trim: Trim = None
        if self._levers.trim:  # the share is chosen anew in every other round
            trim = "auto" if self._best is None or number % 2 == 0 else share_of(self._best)
        estimator = fitted(data, self._structure, seed, trim)
        if not self._levers.structure or self._told.ignored is not None or number >= LOOKS:
            return estimator
        found = self._structure
        pieces = smooth_pieces(data, found, seed) if self._levers.trim else data
        if number == 0 and self._told.angles is None:
            found = turning(pieces, found, seed)
        found = replace(found, ignored=ignorable(pieces, found, seed))
        if found == self._structure:
            return estimator
        other = fitted(data, found, seed, None if trim is None else share_of(estimator))
        if typical_error(other.model_, data) > typical_error(estimator.model_, data):
            return estimator
        self._structure = found
        return other

    def _within_trust(self, data: list[Trajectory]) -> list[Trajectory]:
        """Leave out steps to where the model before was lost: they are of another kind."""
        if self._trusted is None or self._best is None or np.isinf(self._trusted).all():
            return data
        along = self._best.model_.coordinates.along
        low, high = self._trusted
        kept = []
        for t in data:
            X = along(t.observations, t.actions)[-len(t) :]
            kept.append(((low <= X) & (high >= X)).all(axis=1))
        return pieces_of(data, kept) or data

    def _objective(
        self,
        model: LiftedModel,
        reward: RewardModel,
        end: EndModel,
        unknown: Surface,
        trusted: Array | None,
        samples: Samples,
    ) -> Objective:
        """State what plans are worth."""
        going = samples.r[~samples.ended]
        spread = float(np.ptp(going)) if len(going) else 0.0
        size, price = spread or 1.0, EFFORT * spread or ALONE
        paid = less_effort(reward.surface, self._box, price)
        if not spread:
            begin = model.signals.embedding(self._starts(model)).mean(axis=0)
            paid = staying(paid, begin, model.signals.scale, ALONE)
        return Objective(
            reward=paid,
            after=reward.after,
            of_state=end.surface.beside(unknown),
            box=end.box,
            unknown=size,
            hold=self._hold // self._step,
            trusted=trusted,
            distrust=-size,
            horizon=HORIZON,
        )

    def _starts(self, model: LiftedModel) -> Array:
        """States that episodes began in, shape (k, d)."""
        return model.state(np.stack([t.observations[0] for t in self._logbook.data]))

    def _rehearsed(
        self,
        plain: Objective,
        model: LiftedModel,
        reward: RewardModel,
        end: EndModel,
        unknown: Surface,
        samples: Samples,
        seed: int,
    ) -> tuple[Objective, KoopmanMPC | None]:
        """Choose what acts by rehearsals: for how long it plans, with or without a value.

        A quadratic reward is stated exactly, in one convex program; a search stands beside it then,
        if there is time for one, as there may be several ways that lead to where it is high.
        """
        exact = self._exact(model, end, EFFORT * plain.unknown / self._step, seed)
        goals = list[Objective]()
        if searchable(model, plain) or not exact:
            goals = [plain] if exact else [plain, replace(plain, horizon=SHORT)]
        if self._levers.value and goals and not exact:
            goals = self._with_values(goals, model, reward, end, samples, unknown, seed)

        def planner(goal: Objective) -> Planner:
            return self._pilot(model, replace(goal, unknown=0.0), 0).planned

        candidates = [
            Candidate(replace(plain, hold=1), partial(Unobserved, mpc)) for mpc in exact
        ] + [Candidate(goal, partial(planner, goal)) for goal in goals]
        longest = max(len(t) for t in self._logbook.data) // self._step
        n = min(DECISIONS * plain.hold, longest)
        best, self._earned = best_rehearsed(candidates, model, reward, end, self._starts(model), n)
        if best < len(exact):
            return plain, exact[best]
        return goals[best - len(exact)], None

    def _exact(
        self, model: LiftedModel, end: EndModel, price: float, seed: int
    ) -> list[KoopmanMPC]:
        """Return convex controllers of a quadratic reward, short-sighted ones last, if it is one.

        It is looked for in single steps of the environment: a sum of several is no quadratic.
        """
        if not self._levers.quadratic or (end.n_ends and not np.isfinite(end.box).any()):
            return []
        found = QuadraticReward.fit(Samples.of(self._seen(), model), model)
        if found is None:
            return []
        longest = min(HORIZON, found.farthest(model))
        return [
            found.controller(model, end, self._box, n, price, seed)
            for n in sorted({longest, min(SHORT, longest)}, reverse=True)
        ]

    def _with_values(
        self,
        plain: Sequence[Objective],
        model: LiftedModel,
        reward: RewardModel,
        end: EndModel,
        samples: Samples,
        unknown: Surface,
        seed: int,
    ) -> list[Objective]:
        """Return each objective without and with what is still to come after a plan."""
        discount = DISCOUNT**self._step
        avoided = unknown.times(-CAREFUL * plain[0].unknown)
        common = model, reward, end, samples.x, plain[0]
        value = fitted_value(*common, discount, avoided, self._box, seed)
        pairs = [(goal, replace(goal, value=value, discount=discount)) for goal in plain]
        return [goal for pair in pairs for goal in pair]

    def _controller(self, fit: Fit, curiosity: float, number: int) -> Controller:
        exact = fit.exact
        if fit.rests:
            return self._idle
        if exact is not None and (
            curiosity <= 0.0 or not searchable(fit.estimator.model_, fit.objective)
        ):
            return exact if self._step == 1 else Held(exact, self._step)
        worth = curiosity * fit.objective.unknown
        goal = replace(fit.objective, unknown=worth)
        return self._pilot(fit.estimator.model_, goal, number)

    def _pilot(self, model: LiftedModel, goal: Objective, number: int) -> PilotController:
        effort = Effort.affordable(model, goal)
        if not self._levers.search:
            n = effort.n_plans * effort.iterations
            effort = replace(effort, n_plans=n, iterations=1, first_iterations=1)
        search = PlanSearch([model], goal, self._box, effort, self._seed + number)
        refinement = None
        if self._levers.refine:
            refinement = Refinement(model, goal, search, self._box)
        return PilotController(model, search, self._box, self._hold, refinement)

    def _notes(self, fit: Fit) -> tuple[str, ...]:
        """Say what was found out."""
        found, trimmed = self._structure, fit.estimator.trimmed_
        reward, end = fit.reward, fit.end
        notes = [
            f"angles: {list(found.angles) or 'none'}; constants of an episode: "
            f"{list(found.context) or 'none'}; columns that neurons need not see: "
            f"{list(found.ignored or ()) or 'none'}",
            f"a decision lasts {self._hold} of at most {HOLDS[-1]} steps",
            f"the reward depends on {reward.form}; left-out R2 {reward.r2:.4f}",
            f"{end.n_ends} episodes ended; limits of single states explain {end.explained:.0%}",
        ]
        if fit.rests:
            notes.append(
                "no controller earned more in its test than doing nothing, which therefore acts: "
                "give more budget, or say what is known of the environment"
            )
        elif fit.exact is not None:
            notes.append(
                "the reward is a concave quadratic, which a convex controller states exactly"
            )
        if trimmed is not None:
            notes.append(
                f"{trimmed.n_trimmed} of {sum(map(len, trimmed.kept))} decisions are such as no "
                "smooth model follows (contacts, stops)"
            )
        return tuple(notes)
