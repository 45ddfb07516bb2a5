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

from koopman_control.common.arrays import Array, positive_float, positive_int, seed_number
from koopman_control.common.border import CheckedFields, checked
from koopman_control.features import (
    Coordinates,
    FeatureMap,
    FeatureUnion,
    PolynomialFeatures,
    SampledFeatures,
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
    OutputErrorFit,
    Prior,
    free_run_error,
)
from koopman_control.identification.preparation import fitted_candidates, prepared
from koopman_control.identification.regression import Coupling, Design, Regression
from koopman_control.identification.snapshots import Run, split_into_folds
from koopman_control.trajectories import Trajectory, check_trajectories, total_steps

MEMORIES = (0, 1, 2, 3, 5, 8, 12, 20, 35, 50)
STRENGTHS = tuple(10.0**k for k in range(2, -6, -1))  # pulls on features, to the linear model
MOST_CUBED = 7  # states whose monomials of degree 3 are tried
CLEARLY = 0.9  # of the error: a larger structure has to be worth it
FEWEST = 4  # features worth drawing
HOPELESS = 10.0  # standard deviations; larger errors are all alike
FEWEST_TEACHERS, KEPT = 3, 3  # draws a model learns from at least; else every third, the best
GRACE = 30.0  # seconds to finish what was begun
MOST_DRAWS = 18
PLENTY = 40_000  # steps of data from which on two draws will do
RIVALS = 5  # structures that draw features of full size
PATIENCE = 2  # weaker pulls tried that are no better
WEAK = 1e-6  # pull of the linear part to the linear model
ONE_STEP = 1e-6  # ridge of one-step fits
N_FOLDS = 3
DRAW_ROWS, MODEL_ROWS = 8_000, 20_000  # steps that a fit of a draw, or of the model, looks at
LONGEST = 5_000  # steps of a window
AS_GOOD = 1.25  # of the least error, in windows that differ by what is thinned
LOST = 0.01  # share of the movement of inputs that may happen within a step
STEEPNESS = 0.5  # smooth features extrapolate better


@dataclass(frozen=True)
class Structure(CheckedFields):
    """What a model looks like, beside its numbers.

    Args:
        memory: Past samples and inputs in the state.
        feedthrough: Whether the input of a row of the log acts on the outputs of the same row.
        coupling: "linear" or "bilinear".
        thinning: Rows of the log to a step of the model.
        degree: Of monomials beside the sampled features; 1 has none.
    """

    memory: int
    feedthrough: bool = False
    coupling: Coupling = "linear"
    thinning: int = 1
    degree: int = 1

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        super().__post_init__()
        positive_int("memory", self.memory, minimum=0)
        positive_int("thinning", self.thinning)
        positive_int("degree", self.degree)

    def __str__(self) -> str:
        """Say it in a few words."""
        through = ", feed-through" if self.feedthrough else ""
        through += f", monomials to degree {self.degree}" if self.degree > 1 else ""
        every = f", every {self.thinning} rows" if self.thinning > 1 else ""
        return f"memory {self.memory}, {self.coupling} in the inputs{through}{every}"


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


class Subject:
    """Data seen with a structure: runs, folds of them, and a linear model by output error.

    Args:
        data: Trajectories, thinned and shifted.
        structure: The structure.
        angles: Observation columns that are angles in radians.
        most_rows: Steps that a fit looks at.
        deadline: Of `time.process_time`.
    """

    def __init__(
        self,
        data: Sequence[Trajectory],
        structure: Structure,
        angles: Sequence[int],
        most_rows: int,
        deadline: float,
    ) -> None:
        self.data, self.structure, self.most_rows, self._deadline = (
            data, structure, most_rows, deadline,
        )  # fmt: skip
        p, m = data[0].observations.shape[1], data[0].actions.shape[1]
        memory = structure.memory
        coordinates = Coordinates.of(
            p, None, list(angles), memory=memory, n_inputs=m if memory else 0
        )
        signals, self.runs = prepared(data, None, coordinates, True, None)
        self.design = Design.of(signals, self.runs, structure.coupling)
        self.folds = [fold for fold in split_into_folds(self.runs, N_FOLDS) if fold]
        now = np.concatenate([run.X[:, :p] for run in self.runs])
        self.longest = min(LONGEST, max(len(run.U) for run in self.runs))
        self.spread = np.where(now.std(axis=0) > 0.0, now.std(axis=0), 1.0)
        self._linear: dict[int | None, tuple[LiftedModel, Array, float]] = {}

    def regression(self, features: FeatureMap, runs: Sequence[Run]) -> Regression:
        """Fit features to the states of runs."""
        return fitted_candidates(self.design, runs, [features])[0]

    def without(self, fold: int | None) -> list[Run]:
        """Return the runs of all other folds."""
        return [run for i, runs in enumerate(self.folds) if i != fold for run in runs]

    def linear(self, fold: int | None) -> tuple[LiftedModel, Array, float]:
        """Fit a model without features by output error, without a fold.

        Returns:
            The model, its weights, and the root mean square error of its free runs in standard
            deviations of the outputs.
        """
        if fold not in self._linear:
            runs = self.without(fold)
            regression = self.regression(PolynomialFeatures(1), runs)
            weights = OuterWeights(
                regression.model(regression.factor(runs).solver().solve(ONE_STEP))
            )
            fit = OutputErrorFit(
                weights, runs, weights.regressors(runs), self.spread, most_rows=self.most_rows
            )
            pull = Prior(np.zeros_like(weights.theta), np.full(weights.theta.shape[1], 1e-10))
            theta, error = weights.theta, np.inf
            for length in fit.lengths(self.longest):
                theta, reached = fit.fit(theta, pull, length, 25, self._deadline)
                error = reached if np.isfinite(reached) else error
            self._linear[fold] = weights.model(theta), theta, error
        return self._linear[fold]


@dataclass(frozen=True)
class Member:
    """A draw of features, fitted to a part of the data.

    Args:
        weights: Its weights' place.
        theta: Their values.
        error: Of free runs left out, in standard deviations of the outputs.
        strength: Pull on the features that did best.
        gain: Error in units of that of the linear model on the same data.
        fold: Part left out and judged on.
    """

    weights: OuterWeights
    theta: Array
    error: float
    strength: float
    gain: float = 1.0
    fold: int | None = None


def member(
    subject: Subject,
    features: FeatureMap,
    fold: int | None,
    strengths: Sequence[float],
    deadline: float,
    more: Sequence[Run] = (),
) -> Member:
    """Fit features on top of the linear model, pulled less and less, and judge each on a fold.

    Args:
        subject: Data and structure.
        features: Unfitted.
        fold: Left out and judged on; None judges nothing and takes the last strength.
        strengths: Pulls, the strongest first.
        deadline: Of `time.process_time`.
        more: Runs to fit beside those of the data.
    """
    runs = subject.without(fold)
    _, linear, scale = subject.linear(fold)
    regression = subject.regression(features, runs)
    K = np.zeros((regression.n_regressors, regression.n_targets))
    weights = OuterWeights(regression.model(K))
    theta = np.zeros_like(weights.theta)
    theta[:, ~weights.is_feature] = linear
    center, runs = theta.copy(), [*runs, *more]
    error = (scale if np.isfinite(scale) else 1.0) * subject.spread
    fit = OutputErrorFit(
        weights, runs, weights.regressors(runs), error, most_rows=subject.most_rows
    )
    judged = [] if fold is None else subject.folds[fold]
    best = Member(weights, theta, np.inf, np.inf)
    plain = free_run_error(weights, theta, judged, subject.spread) if judged else np.inf
    best = replace(best, error=plain, fold=fold)
    lengths, worse = fit.lengths(subject.longest), 0
    for strength in strengths:
        pull = np.where(weights.is_feature, strength, WEAK)
        for length in lengths:
            theta, reached = fit.fit(theta, Prior(center, pull), length, 10, deadline)
        lengths = lengths[-2:]
        if not np.isfinite(reached):
            break
        left_out = free_run_error(weights, theta, judged, subject.spread) if judged else reached
        if left_out < best.error or not judged:
            gain = left_out / plain if plain > 0.0 else 1.0
            best, worse = Member(weights, theta, left_out, strength, gain, fold), 0
        else:
            worse += 1
        if worse >= PATIENCE or time.process_time() > deadline:
            break
    return best


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
            n_draws = int(np.clip(PLENTY // total_steps(runs), 2, MOST_DRAWS))
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
        rivals = [tried[structure], *(t for t in rivals if t.structure != structure)]
        if self._plenty or time.process_time() > self._deadline:
            best = rivals[0]
            for rival in rivals[1:]:
                best = rival if rival.beats(best) else best
            return best.structure
        best = None
        for rival in rivals[:RIVALS]:
            members = self.members(self.subject(rival.structure, DRAW_ROWS), 2 * N_FOLDS)
            least = [
                min((m.error for m in members if m.fold == fold), default=np.inf)
                for fold in range(N_FOLDS)
            ]
            judged = replace(rival, n_features=self._n_features, errors=tuple(least))
            self.trials.append(judged)
            if best is None or judged.beats(best):
                best = judged
        assert best is not None
        return best.structure

    @property
    def _plenty(self) -> bool:
        """Whether there are so many data that one draw is as good as another."""
        return total_steps(self._data) > PLENTY

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
            known.append(member(subject, features, fold, STRENGTHS, self._deadline + GRACE))
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
        strength = min(m.strength for m in members)
        if not np.isfinite(strength):  # no draw was better than the linear model
            return subject.linear(None)[0], 0.0
        rng = np.random.default_rng(self._seed)
        rows = sum(len(run.U) for run in subject.runs)
        more = imagined(subject, members, min(4 * rows, 8_000 - rows), rng)
        features = self.features(subject, 500, 2 * self._n_features)
        strengths = [s for s in STRENGTHS if s >= strength]
        drawn = member(subject, features, None, strengths, self._deadline + 60.0, more)
        regression = Regression(subject.design, drawn.weights._model.features)
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
