"""From data to a model with nothing to choose: everything by simulations of data left out.

In the order of `identify`: sampling, limits and feed-through are read from the data; memory and
coupling are chosen by small models; draws of the features are fitted by output error, each to a
part of the data, and judged on the rest; the draws that simulate best are the teachers of one
model, which also sees what they agree on under inputs nobody has logged. Averaging draws takes the
luck out of them, and one model is what a controller needs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from koopman_control.common.arrays import positive_float, positive_int, seed_number
from koopman_control.common.border import checked
from koopman_control.features import (
    FeatureMap,
    FeatureUnion,
    PolynomialFeatures,
    SampledFeatures,
)
from koopman_control.identification.draws import (
    N_FOLDS,
    ONE_STEP,
    PLENTY,
    STRENGTHS,
    Member,
    Structure,
    Subject,
    member,
)
from koopman_control.identification.least_squares import single_threaded_blas
from koopman_control.identification.log_facts import (
    RowTiming,
    lost_by_thinning,
    row_timing,
    shifted,
    thinned,
    with_found_limits,
    with_input_range,
)
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.output_error import (
    OuterWeights,
    free_run_error,
)
from koopman_control.identification.regression import Regression
from koopman_control.identification.snapshots import Run
from koopman_control.trajectories import Trajectory, check_trajectories, total_steps

MEMORIES = (0, 1, 2, 3, 5, 8, 12, 20, 35, 50)
MOST_CUBED = 7  # states whose monomials of degree 3 are tried
CLEARLY = 0.9  # of the error: a larger structure has to be worth it
FEWEST = 4  # features worth drawing
HOPELESS = 10.0  # standard deviations; larger errors are all alike
FEWEST_TEACHERS, KEPT = 3, 3  # draws a model learns from at least; else every third, the best
GRACE = 30.0  # seconds to finish what was begun
MOST_DRAWS = 18
RIVALS = 5  # structures that draw features of full size
DRAW_ROWS, MODEL_ROWS = 8_000, 20_000  # steps that a fit of a draw, or of the model, looks at
AS_GOOD = 1.25  # of the least error, in windows that differ by what is thinned
LOST = 0.01  # share of the movement of inputs that may happen within a step
STEEPNESS = 0.5  # smooth features extrapolate better


@dataclass(frozen=True)
class Trial:
    """A structure that was tried.

    Args:
        structure: The structure.
        n_features: Features of the model.
        errors: Root mean square of the errors of free runs on each part of the data left out, in
            standard deviations of the outputs; infinite where they diverged.
        seconds: Time it took.
    """

    structure: Structure
    n_features: int
    errors: tuple[float, ...]
    seconds: float

    @property
    def error(self) -> float:
        """Root mean square over the parts."""
        return float(np.sqrt(np.mean(np.square(self.errors))))

    def beats(self, other: Trial) -> bool:
        """Whether it is clearly better, on every part."""
        ratios = np.minimum(self.errors, HOPELESS) / np.minimum(other.errors, HOPELESS)
        return bool((ratios < 1.0).all() and np.exp(np.mean(np.log(ratios))) < CLEARLY)


@dataclass(frozen=True)
class Identified:
    """What `identify` found.

    Args:
        model: The model.
        linear: The linear model by output error it started from.
        structure: What was chosen.
        error: Root mean square of the errors of free runs left out, of the draws the model learned
            from, in standard deviations of the outputs.
        linear_error: The same of the linear model.
        trials: All structures tried, in this order.
        findings: What was read from the data, and what follows, in plain words.
        seconds: Time it took.
    """

    model: LiftedModel
    linear: LiftedModel
    structure: Structure
    error: float
    linear_error: float
    trials: tuple[Trial, ...]
    findings: tuple[str, ...]
    seconds: float

    def __repr__(self) -> str:
        """Say what it is without printing arrays."""
        return f"Identified({self.structure}, left-out error {self.error:.3g})"


@checked
def identify(
    data: Trajectory | Sequence[Trajectory],
    *,
    structure: Structure | None = None,
    angles: Sequence[int] = (),
    n_features: int = 40,
    n_draws: int | None = None,
    seconds: float = 60.0,
    random_state: int = 0,
) -> Identified:
    """Identify a model from data, everything chosen by free runs on data left out.

    Args:
        data: Trajectories; a few hundred steps at least.
        structure: Memory, feed-through, coupling and thinning; None chooses them.
        angles: Observation columns that are angles in radians.
        n_features: Features of a draw; the model has twice as many.
        n_draws: Draws of features; None takes 18 where data are few, 2 where there are plenty.
        seconds: Time of computing after which nothing new is tried; what was begun is finished. A
            search that is cut short depends on the machine.
        random_state: Seed of all draws.

    Returns:
        The model and how it was found.

    Raises:
        ModuleNotFoundError: If numba is not installed.
        ValueError: If data are too few, or an argument is out of range.

    Example:
        >>> found = identify(trajectories)  # doctest: +SKIP
        >>> print(found.structure)  # doctest: +SKIP
        memory 2, linear in the inputs, feed-through
        >>> found.model.simulate(u, y[:3])  # doctest: +SKIP
    """
    begun = time.process_time()
    positive_int("n_features", n_features, minimum=FEWEST)
    seed_number("random_state", random_state)
    if n_draws is not None:
        positive_int("n_draws", n_draws)
    deadline = begun + positive_float("seconds", seconds)
    runs, findings = with_found_limits(check_trajectories(data))
    runs, more = with_input_range(runs)
    findings += more
    search = _Search(runs, angles, n_features, random_state, begun, deadline)
    with single_threaded_blas(), warnings.catch_warnings():
        # Draws that are no good are found out by their simulations.
        warnings.filterwarnings("ignore", message=".*is saturated", category=UserWarning)
        chosen = search.structure() if structure is None else structure
        if n_draws is None:
            steps = total_steps(runs) // chosen.thinning
            n_draws = int(np.clip(PLENTY // max(steps, 1), 2, MOST_DRAWS))
        members = search.teachers(search.subject(chosen, DRAW_ROWS), n_draws)
        subject = search.subject(chosen, MODEL_ROWS)
        model, strength = search.student(subject, members)
        linear, _, _ = subject.linear(None)
        linear_error = search.linear_error(subject)
    return Identified(
        model=search.finished(model, chosen, strength),
        linear=search.finished(linear, chosen, 0.0),
        structure=chosen,
        error=float(np.mean([m.error for m in members])),
        linear_error=linear_error,
        trials=tuple(search.trials),
        findings=tuple([*findings, *search.findings]),
        seconds=time.process_time() - begun,
    )


class _Search:
    """The steps of `identify`, with what they share."""

    def __init__(
        self,
        data: Sequence[Trajectory],
        angles: Sequence[int],
        n_features: int,
        seed: int,
        begun: float,
        deadline: float,
    ) -> None:
        self._data, self._angles, self._seed = data, angles, seed
        self._n_features, self._begun, self._deadline = n_features, begun, deadline
        self.trials: list[Trial] = []
        self._members: dict[Structure, list[Member]] = {}
        self.findings: list[str] = []

    def subject(self, structure: Structure, most_rows: int) -> Subject:
        """See the data with a structure."""
        return Subject(
            shifted(thinned(self._data, structure.thinning), structure.feedthrough),
            structure, self._angles, most_rows, self._deadline,
        )  # fmt: skip

    def features(self, subject: Subject, draw: int, count: int) -> FeatureMap:
        """Draw as many features as the data can carry, at most `count`."""
        structure, seed = subject.structure, self._seed * 1_000 + draw
        rows = sum(len(run.U) for run in subject.runs) * (N_FOLDS - 1) // N_FOLDS
        blocks = 1 + subject.data[0].actions.shape[1] * (structure.coupling == "bilinear")
        carried = rows // (2 * blocks) - 2 - subject.runs[0].X.shape[1]
        if carried < FEWEST:
            raise ValueError(
                f"data holds {rows} samples to fit to, too few for a model with {structure}; "
                "collect more, or take a simpler structure"
            )
        sampled = SampledFeatures(min(count, carried), steepness=STEEPNESS, random_state=seed)
        if structure.degree < 2:
            return sampled
        return FeatureUnion([sampled, PolynomialFeatures(structure.degree)])

    def structure(self) -> Structure:
        """Choose thinning, feed-through, memory and coupling, one after the other."""
        thinning = self._thinning()
        best = self._better([Structure(0, thinning=thinning), Structure(1, thinning=thinning)])
        timing = row_timing(thinned(self._data, thinning))
        if timing.through:
            best = self._better([best, replace(best, memory=2), replace(best, feedthrough=True),
                                 replace(best, memory=2, feedthrough=True)])  # fmt: skip
        self._say_of_timing(timing, best.feedthrough)
        longer = [n for n in self._memories(best) if n > best.memory]
        best = self._better([best, *(replace(best, memory=n) for n in longer)], patience=2)
        more = [m for m in self._memories(best) if m > best.memory][:1]
        near = [replace(best, memory=n) for n in (best.memory, *more)]
        bilinear = [replace(structure, coupling="bilinear") for structure in near]
        self._better([*self._with_monomials(best), *near, *bilinear])
        return self._contest(best)

    def _contest(self, structure: Structure) -> Structure:
        """Let the most promising structures draw features of full size, each without every part.

        Small models are judged by luck where data are few: that of the draw and that of the part.
        """
        tried = {t.structure: t for t in self.trials}
        rivals = sorted(tried.values(), key=lambda t: t.error)[:RIVALS]
        rivals = [t for t in rivals if t.structure != structure and np.isfinite(t.error)]
        rivals.insert(0, tried[structure])
        plenty = total_steps(self._data) // structure.thinning > PLENTY
        if plenty or time.process_time() > self._deadline:
            best = rivals[0]
            for rival in rivals[1:]:
                best = rival if rival.beats(best) else best
            return best.structure
        judged = [self._drawn(rival) for rival in rivals[:RIVALS]]
        self.trials += judged
        best = judged[0]
        for trial in judged[1:]:
            best = trial if trial.beats(best) else best
        return best.structure

    def _drawn(self, trial: Trial) -> Trial:
        """Judge a structure by its best draw of full size on each part."""
        begun = time.process_time()
        members = self.members(self.subject(trial.structure, DRAW_ROWS), 2 * N_FOLDS)
        least = [
            min((m.error for m in members if m.fold == fold), default=np.inf)
            for fold in range(N_FOLDS)
        ]
        seconds = time.process_time() - begun
        return Trial(trial.structure, self._n_features, tuple(least), seconds)

    def _with_monomials(self, structure: Structure) -> list[Structure]:
        """Try cubic plants with fewer past samples, so that the monomials stay few."""
        p, m = self._data[0].observations.shape[1], self._data[0].actions.shape[1]
        fits = [n for n in (1, 2, 3) if n <= structure.memory and p + n * (p + m) <= MOST_CUBED]
        return [replace(structure, memory=n, degree=3, coupling="linear") for n in fits]

    def _say_of_timing(self, timing: RowTiming, chosen: bool) -> None:
        if chosen:
            self.findings.append(
                "Feed-through: the input of a row acts on the outputs of the same row, by "
                "simulations of data left out. A controller made of this model takes the "
                "measurement of a row and gives the input of the next one."
            )
        elif timing.through:
            self.findings.append(
                "The input of a row foretells its outputs, but simulations are no better for it: "
                "no feed-through is modelled. A controller that reads the same row looks like this."
            )
        if timing.feedback:
            self.findings.append(
                "The log looks as if recorded in closed loop: what outputs do unforeseen shows in "
                "the next inputs. A model can mistake the controller's reaction for the plant's; "
                "feed-through above all is then to be doubted. Add an excitation of your own."
            )

    def _memories(self, structure: Structure) -> list[int]:
        """Memories that the data can tell apart."""
        rows = total_steps(self._data) // structure.thinning
        p, m = self._data[0].observations.shape[1], self._data[0].actions.shape[1]
        return [n for n in MEMORIES if 10 * (1 + (p + m) * (n + 1)) < rows]

    def _better(self, candidates: Iterable[Structure], patience: int = 100) -> Structure:
        """Try structures until `patience` in a row are no better; the first of equals wins."""
        best, kept, worse = None, None, 0
        for structure in candidates:
            trial = next((t for t in self.trials if t.structure == structure), None)
            trial = trial or self._try(structure)
            if kept is None or trial.beats(kept):
                best, kept, worse = structure, trial, 0
            else:
                worse += 1
            if worse >= patience or time.process_time() > self._begun + 0.5 * (
                self._deadline - self._begun
            ):
                break
        assert best is not None
        return best

    def _try(self, structure: Structure) -> Trial:
        """Fit small models, each without another part of the data, and judge them on that."""
        begun, count = time.process_time(), max(8, self._n_features // 2)
        subject = self.subject(structure, 5_000)
        errors = []
        for fold in range(len(subject.folds)):
            try:
                features = self.features(subject, 900 + fold, count)
                draw = member(subject, features, fold, STRENGTHS[1:5:2], self._deadline)
                errors.append(draw.error)
            except ValueError:  # too few data for this structure
                errors.append(np.inf)
        self.trials.append(Trial(structure, count, tuple(errors), time.process_time() - begun))
        return self.trials[-1]

    def _thinning(self) -> int:
        """Choose how many rows make a step: as many as cost a linear model nothing."""
        rows = total_steps(self._data)
        errors: dict[int, float] = {}
        for k in (1, 2, 5, 10, 20):
            if k > 1 and rows // k < 1_000:
                break
            data = thinned(self._data, k)
            if k > 1 and lost_by_thinning(self._data, k) > LOST:
                break
            subject = Subject(data, Structure(1), self._angles, 5_000, self._deadline)
            model, theta, _ = subject.linear(None)
            weights = OuterWeights(model)
            errors[k] = free_run_error(weights, theta, subject.runs, subject.spread)
            if k == 1 and rows < 5_000:
                break
        least = min(errors.values())
        good = [k for k, error in errors.items() if error <= AS_GOOD * least or not least < np.inf]
        if max(good) > 1:
            self.findings.append(
                f"The log is sampled more finely than the plant moves: {max(good)} rows make a "
                "step of the model, with the mean of their inputs."
            )
        return max(good)

    def members(self, subject: Subject, n_draws: int) -> list[Member]:
        """Fit draws, each without another part of the data; known ones are not fitted again."""
        known = self._members.setdefault(subject.structure, [])
        while len(known) < n_draws:
            if known and time.process_time() > self._deadline:
                break
            draw = len(known)
            features = self.features(subject, draw, self._n_features)
            fold = draw % len(subject.folds)
            pulls = subject.strengths
            known.append(member(subject, features, fold, pulls, self._deadline + GRACE))
        return known[:n_draws]

    def teachers(self, subject: Subject, n_draws: int) -> list[Member]:
        """Return the draws that gain most over the linear model on data they have not seen."""
        members = sorted(self.members(subject, n_draws), key=lambda m: m.gain)
        return members[: max(min(FEWEST_TEACHERS, len(members)), len(members) // KEPT)]

    def linear_error(self, subject: Subject) -> float:
        """Judge linear models on the parts that they have not seen."""
        errors = []
        for fold, judged in enumerate(subject.folds):
            model, _, _ = subject.linear(fold)
            weights = OuterWeights(model)
            errors.append(free_run_error(weights, weights.theta, judged, subject.spread))
        return float(np.sqrt(np.mean(np.square(errors))))

    def student(self, subject: Subject, members: Sequence[Member]) -> tuple[LiftedModel, float]:
        """Fit one model to all data, and to what the draws agree on under inputs never logged."""
        rows = sum(len(run.U) for run in subject.runs)
        typical = np.min if rows > PLENTY else np.median  # with plenty of data nothing overfits
        strength = float(typical([m.strength for m in members]))
        if not np.isfinite(strength):  # no draw was better than the linear model
            return subject.linear(None)[0], 0.0
        rng = np.random.default_rng(self._seed)
        more = imagined(subject, members, min(4 * rows, 8_000 - rows), rng)
        features = self.features(subject, 500, 2 * self._n_features)
        strengths = [s for s in STRENGTHS if s >= 0.99 * strength]
        drawn = member(subject, features, None, strengths, self._deadline + 60.0, more)
        regression = Regression(subject.design, drawn.weights.features)
        K = regression.factor(subject.runs).solver().solve(ONE_STEP)
        return OuterWeights(regression.model(K)).model(drawn.theta), strength

    def finished(self, model: LiftedModel, structure: Structure, strength: float) -> LiftedModel:
        """Tell a model of feed-through, and how it was found."""
        signals = replace(model.signals, input_delay=-1 if structure.feedthrough else 0)
        facts = {
            "estimator": f"identify: {structure}",
            "fitted_by": "output error of free runs",
            "feature_pull": strength,
            "n_samples": total_steps(self._data) // structure.thinning,
            "thinning": structure.thinning,
        }
        return replace(model, signals=signals, summary=facts)


def imagined(
    subject: Subject, members: Sequence[Member], rows: int, rng: np.random.Generator
) -> list[Run]:
    """Simulate draws under the logged inputs in another order; the median is what they agree on."""
    memory, coordinates = subject.structure.memory, subject.design.signals.coordinates
    p = coordinates.n_outputs
    found: list[Run] = []
    while sum(len(run.U) for run in found) < rows:
        source = subject.data[int(rng.integers(len(subject.data)))]
        length = min(len(source) - memory, 1_000)
        block = max(8, min(64, length // 4))
        firsts = rng.integers(0, max(1, len(source) - block), -(-length // block))
        U = np.concatenate([source.actions[a : a + block] for a in firsts])[:length]
        begin = int(rng.integers(0, max(1, len(source) - memory)))
        start = source.observations[begin : begin + memory + 1]
        past = source.actions[begin : begin + memory]
        x0 = coordinates.along(start, past)[-1]
        runs = [m.weights.simulated(m.theta, x0, U)[0] for m in members]
        finite = [Y for Y in runs if np.isfinite(Y).all()]
        if len(finite) < (len(runs) + 1) // 2:
            rows -= length
            continue
        Y = np.median(finite, axis=0)
        now = np.concatenate([start, Y]) if p == start.shape[1] else None
        if now is None:
            return []
        X = coordinates.along(now, np.concatenate([past, U]))
        found.append(Run(X, U))
    return found
