"""Draws of features, each fitted by output error to a part of the data and judged on the rest.

They build on a linear model that is fitted the same way, which pulls them less and less.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import CheckedFields
from koopman_control.features import Coordinates, FeatureMap, PolynomialFeatures
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
from koopman_control.trajectories import Trajectory

STRENGTHS = tuple(10.0**k for k in range(2, -6, -1))  # pulls on features, to the linear model
PLENTY = 40_000  # steps of data from which on any draw is as good as another
WEAKEST = 0.1  # pull that fewer data bear
WEAK = 1e-6  # pull of the linear part to the linear model
ONE_STEP = 1e-6  # ridge of one-step fits
N_FOLDS = 3
PATIENCE = 2  # weaker pulls tried that are no better
LONGEST = 5_000  # steps of a window
CLEARLY = 0.9  # of the error: a larger structure has to be worth it
HOPELESS = 10.0  # standard deviations; larger errors are all alike
SATURATED = ".*is saturated"  # warns SampledFeatures


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

    @property
    def typical(self) -> float:
        """Geometric mean over the parts, which one bad part does not decide."""
        return float(np.exp(np.mean(np.log(np.clip(self.errors, 1e-12, HOPELESS)))))

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
        whole: Whether fits see what is not left out in one piece, or cut up as folds are.
    """

    def __init__(
        self,
        data: Sequence[Trajectory],
        structure: Structure,
        angles: Sequence[int],
        most_rows: int,
        deadline: float,
        whole: bool = True,
    ) -> None:
        self.data, self.structure, self._angles = data, structure, angles
        self.most_rows, self._deadline, self._whole = most_rows, deadline, whole
        p, m = data[0].observations.shape[1], data[0].actions.shape[1]
        memory = structure.memory
        coordinates = Coordinates.of(
            p, None, list(angles), memory=memory, n_inputs=m if memory else 0
        )
        signals, self.runs = prepared(data, coordinates)
        self.design = Design.of(signals, self.runs, structure.coupling)
        self.folds = [fold for fold in split_into_folds(self.runs, N_FOLDS) if fold]
        now = np.concatenate([run.X[:, :p] for run in self.runs])
        self.longest = min(LONGEST, max(len(run.U) for run in self.runs))
        self.spread = np.where(now.std(axis=0) > 0.0, now.std(axis=0), 1.0)
        self._linear: dict[int | None, tuple[LiftedModel, Array, float]] = {}
        self._plain: Subject | None = None

    @property
    def strengths(self) -> tuple[float, ...]:
        """Pulls worth trying, the strongest first."""
        plenty = sum(len(run.U) for run in self.runs) > PLENTY
        return tuple(s for s in STRENGTHS if plenty or s >= 0.99 * WEAKEST)

    def regression(self, features: FeatureMap, runs: Sequence[Run]) -> Regression:
        """Fit features to the states of runs."""
        return fitted_candidates(self.design, runs, [features])[0]

    def without(self, fold: int | None) -> list[Run]:
        """Return the runs of all other folds; if `whole`, in pieces as long as they can be."""
        if fold is None and self._whole:
            return list(self.runs)
        if not self._whole or len(self.runs) >= N_FOLDS:  # in the latter case none was cut
            return [run for i, runs in enumerate(self.folds) if i != fold for run in runs]
        kept: list[Run] = []
        last = None
        for j in range(sum(map(len, self.folds))):
            i = j % len(self.folds)
            piece = self.folds[i][j // len(self.folds)]
            if i == fold:
                last = None
                continue
            if last is not None and np.array_equal(last.X[-1], piece.X[0]):
                weight = None
                if last.weight is not None and piece.weight is not None:
                    weight = np.concatenate([last.weight, piece.weight])
                X, U = np.concatenate([last.X, piece.X[1:]]), np.concatenate([last.U, piece.U])
                kept[-1] = piece = Run(X, U, weight)
            else:
                kept.append(piece)
            last = piece
        return kept

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
            best: tuple[LiftedModel, Array, float] | None = None
            for theta in [weights.theta, *self._uncoupled(weights.theta, fold)]:
                error = np.inf
                for length in fit.lengths(self.longest):
                    theta, reached = fit.fit(theta, pull, length, 25, self._deadline)
                    error = reached if np.isfinite(reached) else error
                if best is None or error < best[2]:
                    best = weights.model(theta), theta, error
            assert best is not None
            self._linear[fold] = best
        return self._linear[fold]

    def _uncoupled(self, theta: Array, fold: int | None) -> list[Array]:
        """Return what a bilinear fit may start from, too: the model linear in the inputs."""
        if self.structure.coupling == "linear":
            return []
        if self._plain is None:
            structure = replace(self.structure, coupling="linear")
            self._plain = Subject(
                self.data, structure, self._angles, self.most_rows, self._deadline, self._whole
            )
        _, plain, _ = self._plain.linear(fold)
        m = self.data[0].actions.shape[1]
        n_psi, start = plain.shape[1] - m, np.zeros_like(theta)
        start[:, :n_psi] = plain[:, :n_psi]
        start[:, n_psi * np.arange(1, m + 1)] = plain[:, n_psi:]
        return [start]

    def simulated(self, member: Member, outputs: Array, inputs: Array, U: Array) -> Array:
        """Simulate a member under inputs (H, m) from rows before: (K + 1, p) and (K, m).

        Of these, the last ones count that its memory holds. Returns outputs (H, p).
        """
        memory = self.structure.memory
        past = inputs[len(inputs) - memory :]
        x0 = self.design.signals.coordinates.along(outputs[len(outputs) - memory - 1 :], past)[-1]
        return member.weights.simulated(member.theta, x0, U)[0]


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


def restored(subject: Subject, features: FeatureMap, theta: Array, facts: Array) -> Member:
    """Return a draw from its weights, and its error, strength, gain and fold.

    The features are those it was fitted with; what they were fitted to, they are again.
    """
    error, strength, gain, fold = facts.tolist()
    without = None if fold < 0 else int(fold)
    regression = subject.regression(features, subject.without(without))
    K = np.zeros((regression.n_regressors, regression.n_targets))
    weights = OuterWeights(regression.model(K))
    return Member(weights, theta, error, strength, gain, without)


class _Path:
    """Fits of one draw of features on top of the linear model, pulled less and less."""

    def __init__(
        self, subject: Subject, features: FeatureMap, fold: int | None, more: Sequence[Run] = ()
    ) -> None:
        runs = subject.without(fold)
        _, linear, scale = subject.linear(fold)
        regression = subject.regression(features, runs)
        K = np.zeros((regression.n_regressors, regression.n_targets))
        self.weights = OuterWeights(regression.model(K))
        self.start = np.zeros_like(self.weights.theta)
        self.start[:, ~self.weights.is_feature] = linear
        self._longest, runs = subject.longest, [*runs, *more]
        error = (scale if np.isfinite(scale) else 1.0) * subject.spread
        self._fit = OutputErrorFit(
            self.weights,
            runs,
            self.weights.regressors(runs),
            error,
            most_rows=subject.most_rows,
        )

    def along(
        self, strengths: Sequence[float], deadline: float
    ) -> Iterator[tuple[float, Array, float]]:
        """Yield strength, weights, and error of the fit; it ends where the fit diverges."""
        theta, lengths = self.start, self._fit.lengths(self._longest)
        for strength in strengths:
            pull = np.where(self.weights.is_feature, strength, WEAK)
            reached = np.inf
            for length in lengths:
                theta, reached = self._fit.fit(theta, Prior(self.start, pull), length, 10, deadline)
            lengths = lengths[-2:]
            if not np.isfinite(reached):
                return
            yield strength, theta, reached


def member(
    subject: Subject,
    features: FeatureMap,
    fold: int | None,
    strengths: Sequence[float],
    deadline: float,
    more: Sequence[Run] = (),
    judged: Sequence[Run] = (),
) -> Member:
    """Fit features on top of the linear model, pulled less and less, and judge each on a fold.

    Args:
        subject: Data and structure.
        features: Unfitted.
        fold: Left out and judged on; None leaves nothing out.
        strengths: Pulls, the strongest first.
        deadline: Of `time.process_time`.
        more: Runs to fit beside those of the data.
        judged: Runs to judge on where no fold is left out; without any, the last strength is taken.
    """
    path = _Path(subject, features, fold, more)
    judged = subject.folds[fold] if fold is not None else judged
    plain = free_run_error(path.weights, path.start, judged, subject.spread) if judged else np.inf
    best, worse = Member(path.weights, path.start, plain, np.inf, fold=fold), 0
    for strength, theta, reached in path.along(strengths, deadline):
        error = free_run_error(path.weights, theta, judged, subject.spread) if judged else reached
        if error < best.error or not judged:
            gain = error / plain if plain > 0.0 else 1.0
            best, worse = Member(path.weights, theta, error, strength, gain, fold), 0
        else:
            worse += 1
        if worse >= PATIENCE or time.process_time() > deadline:
            break
    return best


@cache
def compile_loops() -> None:
    """Compile the loops of fits and simulations: once on a machine, half a minute of computing.

    Before a search's clock starts; else the first one on a machine would try less than others.
    """
    swing = np.sin(np.arange(13.0))
    subject = Subject([Trajectory(swing, swing[1:])], Structure(0), (), 100, np.inf)
    model, theta, _ = subject.linear(None)
    toy = Member(OuterWeights(model), theta, 0.0, 0.0)
    subject.simulated(toy, swing[:1, None], swing[:0, None], swing[:2, None])


@dataclass(frozen=True)
class Draw:
    """A draw of features that is to be fitted, in this process or another.

    Args:
        features: Unfitted.
        fold: Left out and judged on; None fits to all data and keeps every strength.
        seconds: Time of computing until the last fit of it begins.
    """

    features: FeatureMap
    fold: int | None
    seconds: float


def fitted(subject: Subject, strengths: Sequence[float], draw: Draw) -> tuple[list[Member], float]:
    """Fit a draw; returns what became of it and the seconds of computing.

    Args:
        subject: Data and structure, with the linear model that the draw builds on.
        strengths: Pulls, the strongest first.
        draw: The draw.
    """
    begun = time.process_time()
    deadline = begun + draw.seconds
    with single_threaded_blas(), warnings.catch_warnings():
        # Draws that are no good are found out by their simulations.
        warnings.filterwarnings("ignore", message=SATURATED, category=UserWarning)
        if draw.fold is None:
            found = members_along(subject, draw.features, strengths, deadline)
        else:
            found = [member(subject, draw.features, draw.fold, strengths, deadline)]
    return found, time.process_time() - begun


def members_along(
    subject: Subject, features: FeatureMap, strengths: Sequence[float], deadline: float
) -> list[Member]:
    """Fit features to all data, pulled less and less; every strength asked for is a member."""
    path = _Path(subject, features, None)
    stronger = [s for s in STRENGTHS if s > 1.01 * max(strengths)]
    found = path.along([*stronger, *strengths], deadline)
    return [
        Member(path.weights, theta, error, strength)
        for strength, theta, error in found
        if strength <= 1.01 * max(strengths)
    ]
