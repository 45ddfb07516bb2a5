"""From data to a model with nothing to choose: everything by simulations of data left out.

In the order of `identify`: sampling, limits and feed-through are read from the data; memory and
coupling are chosen by small models; draws of the features are fitted by output error, each to a
part of the data, and judged on the rest; the draws that simulate best are the teachers of one
model, which also sees what they agree on under inputs nobody has logged. Averaging draws takes the
luck out of them, and one model is what a controller needs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.common.border import checked
from koopman_control.features import Coordinates, FeatureMap, PolynomialFeatures, SampledFeatures
from koopman_control.identification.delays import without_input_delay
from koopman_control.identification.least_squares import single_threaded_blas
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
STRENGTHS = (100.0, 10.0, 1.0, 0.1)  # of the pull on features, from the linear model on
WEAK = 1e-6  # pull of the linear part to the linear model
ONE_STEP = 1e-6  # ridge of one-step fits
N_FOLDS = 3
STEEPNESS = 0.5  # smooth features extrapolate better


@dataclass(frozen=True)
class Structure:
    """What a model looks like, beside its numbers.

    Args:
        memory: Past samples and inputs in the state.
        feedthrough: Whether the input of a row of the log acts on the outputs of the same row.
        coupling: "linear" or "bilinear".
        thinning: Rows of the log to a step of the model.
    """

    memory: int
    feedthrough: bool = False
    coupling: Coupling = "linear"
    thinning: int = 1

    def __str__(self) -> str:
        """Say it in a few words."""
        through = ", feed-through" if self.feedthrough else ""
        every = f", every {self.thinning} rows" if self.thinning > 1 else ""
        return f"memory {self.memory}, {self.coupling} in the inputs{through}{every}"


@dataclass(frozen=True)
class Trial:
    """A structure that was tried.

    Args:
        structure: The structure.
        n_features: Features of the model.
        error: Root mean square of the errors of free runs on data left out, in standard deviations
            of the outputs, averaged over draws; infinite where they diverged.
        seconds: Time it took.
    """

    structure: Structure
    n_features: int
    error: float
    seconds: float


class Subject:
    """Data seen with a structure: runs, folds of them, and a linear model by output error.

    Args:
        data: Trajectories, thinned and shifted.
        structure: The structure.
        angles: Observation columns that are angles in radians.
        most_rows: Steps that a fit looks at.
        deadline: Of `time.monotonic`.
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
        self.spread = np.where(now.std(axis=0) > 0.0, now.std(axis=0), 1.0)
        self._linear: dict[int, tuple[Array, float]] = {}

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
        runs = self.without(fold)
        regression = self.regression(PolynomialFeatures(1), runs)
        K = regression.factor(runs).solver().solve(ONE_STEP)
        model = regression.model(K)
        weights = OuterWeights(model)
        key = -1 if fold is None else fold
        if key not in self._linear:
            fit = OutputErrorFit(
                weights, runs, weights.regressors(runs), self.spread, most_rows=self.most_rows
            )
            pull = Prior(np.zeros_like(weights.theta), np.full(weights.theta.shape[1], 1e-10))
            theta, error = weights.theta, np.inf
            for length in fit.lengths():
                theta, reached = fit.fit(theta, pull, length, 25, self._deadline)
                error = reached if np.isfinite(reached) else error
            self._linear[key] = theta, error
        theta, error = self._linear[key]
        return weights.model(theta), theta, error


@dataclass(frozen=True)
class Member:
    """A draw of features, fitted to a part of the data.

    Args:
        weights: Its weights' place.
        theta: Their values.
        error: Of free runs left out, in standard deviations of the outputs.
        strength: Pull on the features that did best.
    """

    weights: OuterWeights
    theta: Array
    error: float
    strength: float


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
        deadline: Of `time.monotonic`.
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
    if judged:
        best = replace(best, error=free_run_error(weights, theta, judged, subject.spread))
    lengths = fit.lengths()
    for strength in strengths:
        pull = np.where(weights.is_feature, strength, WEAK)
        for length in lengths:
            theta, reached = fit.fit(theta, Prior(center, pull), length, 10, deadline)
        lengths = lengths[-2:]
        if not np.isfinite(reached):
            break
        left_out = (
            free_run_error(weights, theta, judged, subject.spread) if judged else reached
        )
        if left_out < best.error or not judged:
            best = Member(weights, theta, left_out, strength)
        if time.monotonic() > deadline:
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
    n_draws: int = 8,
    seconds: float = 60.0,
    random_state: int = 0,
) -> Identified:
    """Identify a model from data, everything chosen by free runs on data left out.

    Args:
        data: Trajectories; a few hundred steps at least.
        structure: Memory, feed-through, coupling and thinning; None chooses them.
        angles: Observation columns that are angles in radians.
        n_features: Features of a draw; the model has twice as many.
        n_draws: Draws of features.
        seconds: Time after which nothing new is tried; what was begun is finished.
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
    begun = time.monotonic()
    positive_int("n_features", n_features)
    positive_int("n_draws", n_draws)
    deadline = begun + positive_float("seconds", seconds)
    runs, findings = with_found_limits(check_trajectories(data))
    search = _Search(runs, angles, n_features, random_state, begun, deadline)
    with single_threaded_blas():
        chosen = search.structure() if structure is None else structure
        subject = search.subject(chosen, 20_000)
        members = search.members(subject, n_draws)
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
        seconds=time.monotonic() - begun,
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
        self.findings: list[str] = []

    def subject(self, structure: Structure, most_rows: int) -> Subject:
        """See the data with a structure."""
        return Subject(
            shifted(thinned(self._data, structure.thinning), structure.feedthrough),
            structure, self._angles, most_rows, self._deadline,
        )  # fmt: skip

    def features(self, draw: int, count: int) -> SampledFeatures:
        """Draw features."""
        return SampledFeatures(
            count, steepness=STEEPNESS, random_state=self._seed * 1_000 + draw
        )

    def structure(self) -> Structure:
        """Choose thinning, feed-through, memory and coupling, one after the other."""
        best = Structure(1, thinning=self._thinning())
        if through(thinned(self._data, best.thinning)):
            best = self._better([best, replace(best, memory=2), replace(best, feedthrough=True),
                                 replace(best, memory=2, feedthrough=True)])  # fmt: skip
        best = self._better([replace(best, memory=n) for n in self._memories(best)], patience=2)
        return self._better([best, replace(best, coupling="bilinear")])

    def _memories(self, structure: Structure) -> list[int]:
        """Memories that the data can tell apart."""
        rows = total_steps(self._data) // structure.thinning
        p, m = self._data[0].observations.shape[1], self._data[0].actions.shape[1]
        return [n for n in MEMORIES if 10 * (1 + (p + m) * (n + 1)) < rows]

    def _better(self, candidates: Iterable[Structure], patience: int = 100) -> Structure:
        """Try structures until `patience` in a row are no better; the first of equals wins."""
        best, best_error, worse = None, np.inf, 0
        for structure in candidates:
            trial = next((t for t in self.trials if t.structure == structure), None)
            trial = trial or self._try(structure)
            if best is None or trial.error < 0.97 * best_error:
                best, best_error, worse = structure, trial.error, 0
            else:
                worse += 1
            if worse >= patience or time.monotonic() > self._begun + 0.5 * (
                self._deadline - self._begun
            ):
                break
        assert best is not None
        return best

    def _try(self, structure: Structure) -> Trial:
        """Fit small models to two parts of the data, and judge them on the rest."""
        begun, errors, count = time.monotonic(), [], max(8, self._n_features // 2)
        subject = self.subject(structure, 5_000)
        for fold in range(min(2, len(subject.folds))):
            draw = member(
                subject, self.features(900 + fold, count), fold, STRENGTHS[1:3], self._deadline
            )
            errors.append(min(draw.error, 10.0))
        error = float(np.sqrt(np.mean(np.square(errors))))
        self.trials.append(Trial(structure, count, error, time.monotonic() - begun))
        return self.trials[-1]

    def _thinning(self) -> int:
        """Choose how many rows make a step: as many as cost a linear model nothing."""
        rows = total_steps(self._data)
        errors: dict[int, float] = {}
        for k in (1, 2, 5, 10, 20):
            if k > 1 and rows // k < 1_000:
                break
            data = thinned(self._data, k)
            if k > 1 and lost_by_thinning(self._data, k) > 0.01:
                break
            subject = Subject(data, Structure(1), self._angles, 5_000, self._deadline)
            errors[k] = subject.linear(None)[2]
            if k == 1 and rows < 5_000:
                break
        least = min(errors.values())
        good = [k for k, error in errors.items() if error <= 1.05 * least or not least < np.inf]
        if max(good) > 1:
            self.findings.append(
                f"The log is sampled more finely than the plant moves: {max(good)} rows make a "
                "step of the model, with the mean of their inputs."
            )
        return max(good)

    def members(self, subject: Subject, n_draws: int) -> list[Member]:
        """Fit draws, each without another part of the data; keep the better half."""
        found: list[Member] = []
        for draw in range(n_draws):
            if found and time.monotonic() > self._deadline:
                break
            features = self.features(draw, self._n_features)
            fold = draw % len(subject.folds)
            found.append(member(subject, features, fold, STRENGTHS, self._deadline + 30.0))
        found.sort(key=lambda m: m.error)
        return found[: max(1, (len(found) + 1) // 2)]

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
        strength = float(np.median([m.strength for m in members]))
        if not np.isfinite(strength):  # no draw was better than the linear model
            return subject.linear(None)[0], 0.0
        rng = np.random.default_rng(self._seed)
        rows = sum(len(run.U) for run in subject.runs)
        more = imagined(subject, members, min(4 * rows, 8_000 - rows), rng)
        features = self.features(500, 2 * self._n_features)
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
        source = subject.data[rng.integers(len(subject.data))]
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


def thinned(data: Sequence[Trajectory], k: int) -> list[Trajectory]:
    """Keep every k-th observation; the input of a step is the mean of those of its rows."""
    if k == 1:
        return list(data)
    found = []
    for run in data:
        n = len(run) // k
        if n < 1:
            continue
        actions = run.actions[: n * k].reshape(n, k, -1).mean(axis=1)
        dt = None if run.dt is None else run.dt * k
        observations = run.observations[: n * k + 1 : k]
        found.append(replace(run, observations=observations, actions=actions, dt=dt, rewards=None))
    return found


def lost_by_thinning(data: Sequence[Trajectory], k: int) -> float:
    """Share of the inputs' and outputs' movement that happens between every k-th row."""
    lost = []
    for signal in ("observations", "actions"):
        inside, all_of_it = 0.0, 0.0
        for run in data:
            values = getattr(run, signal)
            n = (len(values) - 1) // k
            if n < 2:
                continue
            kept = values[: n * k + 1]
            grid, fine = np.arange(0, n * k + 1, k), np.arange(n * k + 1)
            between = np.column_stack([np.interp(fine, grid, column[grid]) for column in kept.T])
            inside += float(((kept - between) ** 2).sum())
            all_of_it += float(((kept - kept.mean(axis=0)) ** 2).sum())
        lost.append(inside / max(all_of_it, 1e-300))
    return max(lost[0] * 100.0, lost[1])


def shifted(data: Sequence[Trajectory], feedthrough: bool) -> list[Trajectory]:
    """Let every input stand beside the step it acts in."""
    return without_input_delay(data, -1) if feedthrough else list(data)


def through(data: Sequence[Trajectory]) -> bool:
    """Whether the next row's input helps to predict its outputs: a sign of feed-through.

    Judged by one-step predictions with a memory of 2, fitted to one half and judged on the other.
    A controller that reads the same row leaves the same sign, so simulations decide.
    """
    pieces = [run for run in data if len(run) > 4]
    if not pieces:
        return False
    past, after, targets = [], [], []
    for run in pieces:
        y, u = run.observations[:-1], run.actions  # rows with an input
        columns = [y[2 - k : len(y) - 1 - k] for k in range(3)]
        columns += [u[2 - k : len(u) - 1 - k] for k in range(3)]
        past.append(np.hstack(columns))
        after.append(u[3:])
        targets.append(y[3:] - y[2:-1])
    P, A, Y = (np.concatenate(part) for part in (past, after, targets))
    half, errors = len(P) // 2, []
    for Phi in (P, np.hstack([P, A])):
        scale = Phi.std(axis=0) + 1e-300
        Z = np.hstack([np.ones((len(Phi), 1)), (Phi - Phi.mean(axis=0)) / scale])
        K = np.linalg.lstsq(Z[:half], Y[:half], rcond=1e-10)[0]
        errors.append(np.sqrt(np.mean((Y[half:] - Z[half:] @ K) ** 2, axis=0)))
    return bool((errors[1] < 0.9 * errors[0]).any())


def with_found_limits(data: list[Trajectory]) -> tuple[list[Trajectory], list[str]]:
    """Find outputs that stop at a value, as sensors and overflows do, where no bounds are known."""
    if data[0].observation_bounds is not None:
        return data, []
    Y = np.concatenate([run.observations for run in data])
    bounds = np.tile([[-np.inf], [np.inf]], Y.shape[1])
    names = data[0].observation_names or tuple(f"y{i}" for i in range(Y.shape[1]))
    found = []
    for i, column in enumerate(Y.T):
        values, counts = np.unique(column, return_counts=True)
        if len(values) < 20:
            continue
        for side, end in ((0, 0), (1, -1)):
            usual = np.median(np.sort(counts)[::-1][:20])
            rest = counts[1:] if end == 0 else counts[:-1]
            if counts[end] >= max(5, 4 * rest.max(), 0.005 * len(column)) and usual < counts[end]:
                bounds[side, i] = values[end]
                what = "above" if side else "below"
                found.append(
                    f"{names[i]} is exactly {values[end]:g} in {counts[end]} rows and never "
                    f"{what}: taken as a limit that the plant or the sensor holds."
                )
    if not found:
        return data, []
    return [replace(run, observation_bounds=bounds) for run in data], found
