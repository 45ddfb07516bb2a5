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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from koopman_control.common.arrays import positive_float, positive_int, seed_number
from koopman_control.common.border import checked
from koopman_control.common.files import PathLike
from koopman_control.common.workers import WorkerLostError, dask_client, in_order
from koopman_control.features import (
    FeatureMap,
    FeatureUnion,
    PolynomialFeatures,
    SampledFeatures,
)
from koopman_control.identification.draws import (
    CLEARLY,
    N_FOLDS,
    ONE_STEP,
    PLENTY,
    SATURATED,
    STRENGTHS,
    Draw,
    Member,
    Structure,
    Subject,
    Trial,
    compile_loops,
    fitted,
    member,
    restored,
)
from koopman_control.identification.kept_search import KeptSearch
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
from koopman_control.identification.one_step_search import (
    OneStepFit,
    best_of,
    fitted_one_step,
    judged_one_step,
)
from koopman_control.identification.output_error import (
    OuterWeights,
    free_run_error,
)
from koopman_control.identification.regression import Regression
from koopman_control.identification.teaching import Teacher, imagined
from koopman_control.trajectories import Trajectory, check_trajectories, total_steps

MEMORIES = (0, 1, 2, 3, 5, 8, 12, 20, 35, 50)
MOST_CUBED = 7  # states whose monomials of degree 3 are tried
FEWEST = 4  # features worth drawing
FEWEST_TEACHERS, KEPT = 3, 3  # draws a model learns from at least; else every third, the best
SIMILAR = 2.0  # of the least error: structures that teach, too, where data are few
ONE_STEP_FEATURES = 100  # of one-step fits
FEWEST_ONE_STEP = 5_000  # steps of data; among fewer, the best of many such fits is luck
PULLED = (1.0, 0.1)  # strengths of fits that teach together
STUDENTS = 4  # structures that learn from them
JUDGED = 3_000  # imagined steps that students are judged on
GRACE = 30.0  # seconds to finish what was begun
MOST_DRAWS = 36
RIVALS = 8  # structures that draw features of full size
DRAW_ROWS, MODEL_ROWS = 8_000, 20_000  # steps that a fit of a draw, or of the model, looks at
AS_GOOD = 1.25  # of the least error, in windows that differ by what is thinned
LOST = 0.01  # share of the movement of inputs that may happen within a step
STEEPNESS = 0.5  # smooth features extrapolate better


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
    jobs: int = 1,
    checkpoint: PathLike | None = None,
) -> Identified:
    """Identify a model from data, everything chosen by free runs on data left out.

    Args:
        data: Trajectories; a few hundred steps at least.
        structure: Memory, feed-through, coupling and thinning; None chooses them.
        angles: Observation columns that are angles in radians.
        n_features: Features of a draw; the model has twice as many.
        n_draws: Draws of features; None takes 36 where data are few, 2 where there are plenty.
        seconds: Time of computing, of each process, after which nothing new is tried; what was
            begun is finished. A search that is cut short depends on the machine.
        random_state: Seed of all draws.
        jobs: Processes that fit draws, as many at a time; `joblib.parallel_config` may send them to
            a cluster. A search that is not cut short finds the same with any number.
        checkpoint: File in which the search is kept while it goes on, and from which the same call
            goes on where an interrupted one was; None keeps nothing.

    Returns:
        The model and how it was found.

    Raises:
        ModuleNotFoundError: If numba is not installed.
        ValueError: If data are too few, an argument is out of range, or the checkpoint is of other
            data or settings.

    Example:
        >>> found = identify(trajectories)  # doctest: +SKIP
        >>> print(found.structure)  # doctest: +SKIP
        memory 2, linear in the inputs, feed-through
        >>> found.model.simulate(u, y[:3])  # doctest: +SKIP
    """
    positive_int("n_features", n_features, minimum=FEWEST)
    seed_number("random_state", random_state)
    if n_draws is not None:
        positive_int("n_draws", n_draws)
    positive_float("seconds", seconds)
    positive_int("jobs", jobs)
    runs, findings = with_found_limits(check_trajectories(data))
    runs, more = with_input_range(runs)
    findings += more
    settings = {"angles": list(angles), "n_features": n_features, "random_state": random_state}
    kept = KeptSearch(checkpoint, runs, settings)
    compile_loops()
    begun = time.process_time() - kept.spent
    search = _Search(runs, angles, n_features, random_state, begun, seconds, jobs, kept)
    with single_threaded_blas(), warnings.catch_warnings():
        # Draws that are no good are found out by their simulations.
        warnings.filterwarnings("ignore", message=SATURATED, category=UserWarning)
        chosen = search.structure() if structure is None else search.given(structure)
        steps = total_steps(runs) // chosen.thinning
        if n_draws is None:
            n_draws = int(np.clip(PLENTY // max(steps, 1), 2, MOST_DRAWS))
        plain = structure is None and steps >= FEWEST_ONE_STEP
        rival = search.one_step(chosen) if plain else None
        if steps > PLENTY:
            taught = [chosen]
            teachers, errors = search.best_draws(chosen, n_draws)
        else:
            taught = [chosen] if structure is not None else search.colleagues(chosen)
            teachers, errors = search.fits_to_all(taught, n_draws)
        error = float(np.mean(errors))
        if rival is not None and rival.error < CLEARLY * error:
            chosen, error, strength, by = (
                rival.structure,
                rival.error,
                0.0,
                "one-step least squares",
            )
            model = fitted_one_step(search.subject(chosen, MODEL_ROWS), rival)
            search.findings.append(
                "One-step least squares simulates data left out better than fits to whole runs: "
                "the model is fitted by that."
            )
        else:
            model, strength, chosen = search.student(taught, teachers)
            by = "output error of free runs"
        subject = search.subject(chosen, MODEL_ROWS)
        linear, _, _ = subject.linear(None)
        linear_error = search.linear_error(subject)
    return Identified(
        model=search.finished(model, chosen, strength, by),
        linear=search.finished(linear, chosen, 0.0, "output error of free runs"),
        structure=chosen,
        error=error,
        linear_error=linear_error,
        trials=tuple(search.trials),
        findings=tuple([*findings, *search.findings]),
        seconds=search.spent,
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
        seconds: float,
        jobs: int,
        kept: KeptSearch,
    ) -> None:
        self._data, self._angles, self._seed = data, angles, seed
        self._n_features, self._seconds, self._jobs = n_features, seconds, jobs
        self._begun = begun  # of `time.process_time`; earlier by what other processes took
        self.trials: list[Trial] = list(kept.trials)
        self._kept, self._whole = kept, True
        self._members: dict[Structure, list[Member]] = {}
        self._judged: list[Trial] = []
        self.findings: list[str] = []

    @property
    def spent(self) -> float:
        """Seconds of computing so far: of this process, and of others while it waited for them."""
        return time.process_time() - self._begun

    @property
    def _deadline(self) -> float:
        return self._begun + self._seconds

    def subject(self, structure: Structure, most_rows: int) -> Subject:
        """See the data with a structure."""
        return Subject(
            shifted(thinned(self._data, structure.thinning), structure.feedthrough),
            structure, self._angles, most_rows, self._deadline, self._whole,
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

    def given(self, structure: Structure) -> Structure:
        """Take a structure as it is."""
        self._whole = self._forgets(structure.thinning)
        return structure

    def structure(self) -> Structure:
        """Choose thinning, feed-through, memory and coupling, one after the other."""
        thinning = self._thinning()
        self._whole = self._forgets(thinning)
        best = self._better([Structure(0, thinning=thinning), Structure(1, thinning=thinning)])
        timing = row_timing(thinned(self._data, thinning))
        if timing.through:
            best = self._better([best, replace(best, memory=2), replace(best, feedthrough=True),
                                 replace(best, memory=2, feedthrough=True)])  # fmt: skip
        self._say_of_timing(timing, best.feedthrough)
        longer = [n for n in self._memories(best) if n > best.memory]
        best = self._better([best, *(replace(best, memory=n) for n in longer)], patience=2)
        memories = self._memories(best)
        less = [n for n in memories if 0 < n < best.memory][-1:]
        more = [n for n in memories if n > best.memory][:1]
        near = [replace(best, memory=n) for n in (best.memory, *more, *less)]
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
        if plenty or self.spent > self._seconds:
            best = rivals[0]
            for rival in rivals[1:]:
                best = rival if rival.beats(best) else best
            return best.structure
        self._judged = judged = [self._drawn(rival) for rival in rivals[:RIVALS]]
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
            if worse >= patience or self.spent > 0.5 * self._seconds:
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
        trial = Trial(structure, count, tuple(errors), time.process_time() - begun)
        self.trials.append(trial)
        self._kept.add_trial(trial, self.spent)
        return trial

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

    def _forgets(self, thinning: int) -> bool:
        """Whether the plant forgets where it began within a part of the data.

        Then fits see runs of the whole length, whose starts, measured with noise, count less. Where
        it integrates, what is missed early is carried to the end: shorter runs tell more.
        """
        data, structure = thinned(self._data, thinning), Structure(1)
        subject = Subject(data, structure, self._angles, 5_000, self._deadline, False)
        model, _, _ = subject.linear(None)
        sizes = np.sort(np.abs(np.linalg.eigvals(model.A)))[::-1]
        part = max(len(run.U) for fold in subject.folds for run in fold)
        return bool(sizes[1] < 1.0 - 1.0 / part)  # the first is that of the constant

    def members(self, subject: Subject, n_draws: int) -> list[Member]:
        """Fit draws, each without another part of the data; known ones are not fitted again."""
        known = self._members.setdefault(subject.structure, [])
        while len(known) < n_draws:
            kept = self._kept.member(subject.structure, len(known))
            if kept is None:
                break
            known.append(
                restored(subject, self.features(subject, len(known), self._n_features), *kept)
            )
        left = range(len(known), n_draws)
        folds = [draw % len(subject.folds) for draw in left]
        for found in self._fitted(subject, left, folds, subject.strengths):
            known += found
            self._kept.add_member(subject.structure, found[0], self.spent)
        return known[:n_draws]

    def _fitted(
        self,
        subject: Subject,
        numbers: Sequence[int],
        folds: Sequence[int | None],
        strengths: Sequence[float],
        late: float = 0.0,
    ) -> Iterator[list[Member]]:
        """Fit draws in as many processes as there are; yields what each gave, in their order.

        Once `late` seconds too late, none is begun but the first of all.
        """
        draws = [self.features(subject, number, self._n_features) for number in numbers]
        for fold in sorted(set(folds), key=str):
            subject.linear(fold)  # here, once for all

        def units() -> Iterator[Draw]:
            for number, features, fold in zip(numbers, draws, folds, strict=True):
                if number > 0 and self.spent > self._seconds + late:
                    return
                yield Draw(features, fold, self._seconds + GRACE - self.spent)

        elsewhere = self._jobs > 1 or dask_client() is not None
        for _, result in in_order(partial(fitted, subject, strengths), units(), self._jobs):
            if isinstance(result, WorkerLostError):
                raise result
            found, seconds = result
            self._begun -= seconds / self._jobs if elsewhere else 0.0
            yield found

    def one_step(self, structure: Structure) -> OneStepFit:
        """Judge one-step least squares with ever longer memories, then other couplings and draws.

        Ends two memories after the best, or when half of the time is over.
        """
        begun, until = time.process_time(), self._begun + 0.5 * self._seconds
        plain = replace(structure, coupling="linear", degree=1)
        fits: list[OneStepFit] = []

        def judge(structure: Structure, draw: int) -> None:
            if fits and time.process_time() > max(begun, until) + GRACE / 3.0:
                return
            subject = self.subject(structure, MODEL_ROWS)
            try:
                features = self.features(subject, 700 + draw, ONE_STEP_FEATURES)
            except ValueError:  # too few data for this structure
                return
            fits.append(judged_one_step(subject, features))

        for memory in (n for n in self._memories(plain) if n > 0 or structure.memory == 0):
            judge(replace(plain, memory=memory), 0)
            sizes = [fit.error for fit in fits]
            if len(sizes) > 2 and min(sizes[:-2]) <= min(sizes[-2:]):
                break
        if fits:
            judge(replace(best_of(fits).structure, coupling="bilinear"), 0)
            judge(best_of(fits).structure, 1)
            judge(best_of(fits).structure, 2)
        fits = fits or [OneStepFit(plain, PolynomialFeatures(1), 0.0, (np.inf,))]
        best = best_of(fits)
        seconds = time.process_time() - begun
        self.trials.append(Trial(best.structure, ONE_STEP_FEATURES, best.errors, seconds))
        return best

    def colleagues(self, structure: Structure) -> list[Structure]:
        """Return the structures that do nearly as well as the chosen one, which comes first."""
        size = {t.structure: t.typical for t in self._judged}
        least = min([*size.values(), np.inf])
        others = sorted((s for s in size if s != structure), key=lambda s: size[s])
        alike = [s for s in others if s.feedthrough == structure.feedthrough]
        return [structure, *(s for s in alike if size[s] <= SIMILAR * least)]

    def best_draws(self, structure: Structure, n_draws: int) -> tuple[list[Teacher], list[float]]:
        """Return draws that gain most over the linear model on data left out, and their errors."""
        subject = self.subject(structure, DRAW_ROWS)
        members = sorted(self.members(subject, n_draws), key=lambda m: m.gain)
        members = members[: max(min(FEWEST_TEACHERS, len(members)), len(members) // KEPT)]
        typical = np.min([m.strength for m in members])  # with plenty of data nothing overfits
        members = [replace(m, strength=float(typical)) for m in members]
        return [Teacher(subject, m) for m in members], [m.error for m in members]

    def fits_to_all(
        self, structures: Sequence[Structure], n_draws: int
    ) -> tuple[list[Teacher], list[float]]:
        """Fit draws of some structures to all data, weakly pulled, as their median bears it.

        Returns the fits, and the errors on data left out of the best draws of these structures.
        """
        each, teachers, left_out = max(1, n_draws // len(structures)), list[Teacher](), []
        for structure in structures:
            subject = self.subject(structure, DRAW_ROWS)
            known = self.members(subject, min(2 * N_FOLDS, n_draws))
            left_out += known
            if not np.isfinite([m.strength for m in known]).any():
                continue  # features do not help
            for fits in self._fitted(subject, range(each), [None] * each, PULLED, GRACE):
                teachers += [Teacher(subject, m) for m in fits]
        left_out.sort(key=lambda m: m.gain)
        few = left_out[: max(min(FEWEST_TEACHERS, len(left_out)), len(left_out) // KEPT)]
        return teachers, [m.error for m in few]

    def linear_error(self, subject: Subject) -> float:
        """Judge linear models on the parts that they have not seen."""
        errors = []
        for fold, judged in enumerate(subject.folds):
            model, _, _ = subject.linear(fold)
            weights = OuterWeights(model)
            errors.append(free_run_error(weights, weights.theta, judged, subject.spread))
        return float(np.sqrt(np.mean(np.square(errors))))

    def student(
        self, structures: Sequence[Structure], teachers: Sequence[Teacher]
    ) -> tuple[LiftedModel, float, Structure]:
        """Fit a model to all data, and to what the teachers agree on under inputs never logged.

        Of several structures, the one that agrees best with them under further such inputs is kept.

        Returns:
            The model, the pull on its features, and its structure.
        """
        subject = self.subject(structures[0], MODEL_ROWS)
        finite = [t.member.strength for t in teachers if np.isfinite(t.member.strength)]
        if not finite:  # no draw was better than the linear model
            return subject.linear(None)[0], 0.0, structures[0]
        strengths = [s for s in STRENGTHS if s >= 0.99 * min(finite)]
        best: tuple[Subject, Member] | None = None
        for structure in structures[:STUDENTS]:
            subject = self.subject(structure, MODEL_ROWS)
            rows = sum(len(run.U) for run in subject.runs)
            rng = np.random.default_rng(self._seed)
            more = imagined(teachers, subject, min(4 * rows, 8_000 - rows), rng)
            judged = imagined(teachers, subject, JUDGED, rng) if rows <= PLENTY else []
            features = self.features(subject, 500, 2 * self._n_features)
            drawn = member(subject, features, None, strengths, self._deadline + 60.0, more, judged)
            if best is None or drawn.error < best[1].error:
                best = subject, drawn
            if not judged or self.spent > self._seconds:
                break
        assert best is not None
        subject, drawn = best
        regression = Regression(subject.design, drawn.weights.features)
        K = regression.factor(subject.runs).solver().solve(ONE_STEP)
        model = OuterWeights(regression.model(K)).model(drawn.theta)
        pull = drawn.strength if np.isfinite(drawn.strength) else 0.0
        return model, pull, subject.structure

    def finished(
        self,
        model: LiftedModel,
        structure: Structure,
        strength: float,
        by: str,
    ) -> LiftedModel:
        """Tell a model of feed-through, how it was found, and where its outputs were."""
        Y = np.concatenate([run.observations for run in self._data])
        signals = replace(model.signals, input_delay=-1 if structure.feedthrough else 0)
        facts = {
            "estimator": f"identify: {structure}",
            "fitted_by": by,
            "feature_pull": strength,
            "n_samples": total_steps(self._data) // structure.thinning,
            "thinning": structure.thinning,
            "output_range": [Y.min(axis=0).tolist(), Y.max(axis=0).tolist()],
        }
        return replace(model, signals=signals, summary=facts)
