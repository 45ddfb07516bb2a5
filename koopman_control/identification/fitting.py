"""One fit: its settings, the choices it makes on first data, and the sums of all data so far."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone

from koopman_control.common.arrays import Array
from koopman_control.features import Angle, Coordinates, FeatureMap
from koopman_control.identification.corrections import LeastSquares
from koopman_control.identification.crossvalidation import (
    CrossValidation,
    Folds,
    FoldsInMemory,
    Selection,
    alone,
    best_of,
    trials_of,
)
from koopman_control.identification.delays import without_input_delay
from koopman_control.identification.least_squares import RFactor, RidgeSolver
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.penalties import solver_for
from koopman_control.identification.preparation import (
    checked_runs,
    limits_of,
    too_few_samples,
    unlimited,
    warn_of_few_levels,
    warn_of_lost_directions,
)
from koopman_control.identification.regression import Coupling, Design, Regression
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.shards import (
    KeptFolds,
    PilotSummation,
    ShardedFolds,
    ShardSums,
    Summation,
    extent,
    merged_sums,
)
from koopman_control.identification.signals import Signals
from koopman_control.identification.snapshots import Run, dealt, runs_of
from koopman_control.identification.trimming import JUDGED
from koopman_control.identification.workers import Shards
from koopman_control.trajectories import Trajectory, check_trajectories
from koopman_control.trajectories.trajectory import like_the_first


@dataclass(frozen=True)
class FitSettings:
    """Settings of an `EDMDc` as a fit needs them, checked.

    Args:
        features: Candidates, unfitted.
        input_features: Unfitted, or None.
        coupling: "linear" or "bilinear".
        strengths: Regularisations to choose from.
        per_state: Choose one for each state.
        least_squares: How the regression is set up.
        rollout: Roll-out judged.
        horizon: Longest prediction judged, in steps.
        states: Observation columns to model, or None.
        angles: Columns that are angles.
        memory: Number of past steps in the state.
        n_folds: Folds of the cross-validation, or 0.
        described: The estimator in words.
    """

    features: list[FeatureMap]
    input_features: FeatureMap | None
    coupling: Coupling
    strengths: Sequence[float]
    per_state: bool
    least_squares: LeastSquares
    rollout: Rollout
    horizon: int
    states: Sequence[int] | None
    angles: Sequence[Angle]
    memory: int
    n_folds: int
    described: str

    def coordinates(self, data: Sequence[Trajectory]) -> Coordinates:
        """Say what a state of the data is."""
        p, m = data[0].observations.shape[1], data[0].actions.shape[1] if self.memory else 0
        return Coordinates.of(p, self.states, self.angles, memory=self.memory, n_inputs=m)

    def quick_fit(self, data: Sequence[Trajectory]) -> LiftedModel:
        """Fit the middle one of the candidate features, roughly, without a word about it."""
        middle, some = self.features[len(self.features) // 2], self.strengths[::3]
        rough = replace(
            self, features=[middle], strengths=some, per_state=False, horizon=JUDGED, n_folds=2
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Fit.to(rough, data).model


@dataclass(frozen=True)
class StateRuns:
    """From the trajectories of a shard to runs, on a worker.

    Args:
        like: A trajectory that has the columns and time step expected.
        coordinates: What a state is.
        input_delay: Samples that pass before an input acts.
    """

    like: Trajectory
    coordinates: Coordinates
    input_delay: int

    @classmethod
    def like_those(cls, first: Trajectory, coordinates: Coordinates, input_delay: int) -> StateRuns:
        """Expect trajectories like one of them, of which a step is sent along."""
        step = replace(
            first, observations=first.observations[:2], actions=first.actions[:1], rewards=None
        )
        return cls(step, coordinates, input_delay)

    def __call__(self, trajectories: Sequence[Trajectory]) -> list[Run]:
        """Read the states of every trajectory that is long enough; there may be none."""
        data = like_the_first(trajectories, self.like)
        lost = abs(self.input_delay) + self.coordinates.memory
        long = [trajectory for trajectory in data if len(trajectory) > lost]
        if not long:
            return []
        shifted = without_input_delay(long, self.input_delay) if self.input_delay else long
        return checked_runs(shifted, self.coordinates)


class Fit:
    """Choices made on first data, and the sums of all data so far.

    Args:
        settings: What to do.
        seen: One of the trajectories.
        selection: What was chosen, and its sums, which are used up.
    """

    def __init__(self, settings: FitSettings, seen: Trajectory, selection: Selection) -> None:
        self._settings, self.seen, self.selection = settings, seen, selection
        trial = selection.trial
        self.regression, self._n_pairs = trial.regression, trial.folds.n_pairs
        self.model, decomposed = self._solved(trial.factor)
        least = selection.choices[0].regularization
        warn_of_lost_directions(
            trial.regression, trial.factor, decomposed, trial.folds.sample, least
        )
        self._total = trial.total()

    @classmethod
    def to(
        cls,
        settings: FitSettings,
        data: Sequence[Trajectory],
        weights: Sequence[Array] | None = None,
    ) -> Fit:
        """Fit to data in memory.

        Args:
            settings: What to do.
            data: Trajectories, checked and without delay.
            weights: A weight for each step of each trajectory, or None.
        """
        runs = checked_runs(data, settings.coordinates(data), weights)
        folds = FoldsInMemory(runs, settings.n_folds, settings.horizon)
        return cls(settings, data[0], _selected(settings, data[0], folds))

    @classmethod
    def to_shards(cls, settings: FitSettings, shards: Shards, input_delay: int) -> Fit:
        """Fit to shards, which workers read three times, as to all their data in memory."""
        first = shards.some()[0]
        coordinates = settings.coordinates([first])
        read = StateRuns.like_those(first, coordinates, input_delay)
        extents = shards.each(partial(extent, read=read), [None] * len(shards))
        if not any(one.lengths for one in extents):
            raise ValueError(
                f"no trajectory in {len(shards)} shards is longer than "
                f"{coordinates.memory + abs(input_delay)} steps, the memory of the state and the "
                "delay; use a shorter memory or longer trajectories"
            )
        folds = ShardedFolds(shards, read, extents, dealt, settings.n_folds, settings.horizon)
        selection = _selected(settings, first, folds)
        selection.trial.folds = folds.kept()
        if len(first) > abs(input_delay):
            (first,) = without_input_delay([first], input_delay)
        return cls(settings, first, selection)

    def summed(self, shards: Shards, input_delay: int) -> ShardSums:
        """Sum up shards by the choices of this fit, its pilot."""
        tasks = [[i] for i in range(len(shards))]
        work, nothing = self.summation(input_delay), [None] * len(shards)
        return shards.summed(work, nothing, ShardSums.add, tasks)

    def summation(self, input_delay: int) -> PilotSummation:
        """Return what sums up a shard by the choices of this fit, its pilot."""
        read = StateRuns.like_those(self.seen, self.model.coordinates, input_delay)
        summation = Summation(read, [self.regression], [self._total.basis])
        settings = self._settings
        return PilotSummation(summation, settings.n_folds, settings.horizon, self._mark)

    def merged(self, parts: Sequence[ShardSums]) -> Fit:
        """Return the fit to the data of all parts, with the scales and features of this one."""
        total, settings, pilot = merged_sums(parts, self._mark), self._settings, self.selection
        used = [i for i, sums in enumerate(total.sums[0]) if sums.factor().n_samples]
        sums = [total.sums[0][i] for i in used]
        windows = [one for i in used if (one := total.windows[i]) is not None]
        if settings.n_folds and len(windows) < 2:
            raise ValueError("parts hold a single step; expected at least two, to leave some out")
        folds = KeptFolds(pilot.trial.folds.sample, total.n_pairs, windows)
        trial = CrossValidation(self.regression, sums, folds, settings.least_squares.penalty)
        n_samples, k = trial.factor.n_samples, self.regression.n_regressors
        if n_samples < k:
            need = f"there are {k} unknowns per lifted state"
            raise too_few_samples(int(n_samples), total.n_pairs, need)
        return Fit(settings, self.seen, _best_of(settings, [trial]))

    @cached_property
    def _mark(self) -> str:
        """What tells the choices of this fit apart from those of others."""
        signals, design = self.model.signals, self.regression.design
        probe = self.regression.features.values(signals.center + 0.1 * signals.scale)
        basis = self._total.basis
        found: str = joblib.hash([signals.center, signals.scale, design.input_scale, probe, basis])
        return found

    def add(self, data: Sequence[Trajectory], weights: Sequence[Array] | None) -> None:
        """Add rows to the sums of the fit; `solve` brings the model up to date."""
        checked = check_trajectories([self.seen, *data])[1:]
        runs = runs_of(checked, self.model.coordinates, weights)
        self._total.absorb(self.regression.sums([runs], self._total.basis)[0])
        self._n_pairs += sum(len(run.U) for run in runs)

    def solve(self) -> None:
        """Solve for the model of all data so far."""
        self.model, _ = self._solved(self._total.factor())

    def _solved(self, factor: RFactor) -> tuple[LiftedModel, RidgeSolver]:
        """Solve for the model with the choices made, and note the facts about the fit."""
        settings, best, decomposed = self._settings, self.selection.choices[0], factor.solver()
        penalty = settings.least_squares.penalty
        solver = decomposed if penalty == "ridge" else solver_for(penalty, factor)
        strength = self.selection.strength
        summary: dict[str, Any] = {
            "estimator": settings.described,
            "regularization": best.regularization,
            "condition_number": decomposed.condition_number,
            "n_samples": factor.n_samples,
            "n_censored": self._n_pairs - factor.n_samples,
            "n_features": best.features._n_features_out,
            "cv_score": best.score,
            "cv_rollout": settings.rollout,
            "cv_horizon": settings.horizon,
            "cv_scores": self.selection.scores(),
        }
        if isinstance(strength, np.ndarray):
            per_state = strength[self.regression.state_targets]
            summary["regularization_per_state"] = per_state.tolist()
        self.coefficients, self._summary = solver.solve(strength), summary
        model = self.regression.model(self.coefficients, summary)
        return replace(model, error_quantiles=self.selection.error_quantiles()), decomposed

    def with_coefficients(self, K: Array) -> Fit:
        """Return the same fit with other coefficients (k, n) of its regression."""
        other = copy(self)
        model = self.regression.model(K, self._summary)
        other.coefficients = K
        other.model = replace(model, error_quantiles=self.model.error_quantiles)
        return other

    def score_left_out(self, seen: Sequence[Trajectory], judged: Sequence[Trajectory]) -> float:
        """Score the choices on `judged`, each part of it by a fit that left it out."""
        settings, fitted = self._settings, self.model.signals
        data = check_trajectories([*seen, *judged])
        runs = checked_runs(data, fitted.coordinates)
        design = _design(settings, data[0], fitted.coordinates, runs, fitted.input_features)
        signals = replace(design.signals, saturating=fitted.saturating)
        regression = Regression(
            replace(design, signals=signals), self.selection.choices[0].features
        )
        before, after = (runs_of(part, fitted.coordinates) for part in (seen, judged))
        folds = FoldsInMemory(after, max(2, settings.n_folds), settings.horizon, before)
        penalty = settings.least_squares.penalty
        trial = CrossValidation(regression, folds.sums([regression])[0], folds, penalty)
        return -trial.score(self.selection.strength, settings.rollout)


def _selected(settings: FitSettings, first: Trajectory, folds: Folds) -> Selection:
    """Accumulate the data once for every candidate, and choose."""
    if settings.n_folds and folds.n_folds < 2:
        raise ValueError("data holds a single step; expected at least two, to leave some out")
    coordinates, input_features = settings.coordinates([first]), settings.input_features
    if input_features is not None:
        U = np.concatenate([run.U for run in folds.sample])
        input_features = clone(input_features).fit(U)
        warn_of_few_levels(input_features, U)
    design = _design(settings, first, coordinates, folds.sample, input_features)
    trials = trials_of(
        design, folds, settings.features, settings.least_squares.penalty, first.action_names
    )
    return _best_of(settings, trials)


def _best_of(settings: FitSettings, trials: Sequence[CrossValidation]) -> Selection:
    if not settings.n_folds:
        return alone(trials[0], settings.strengths[0])
    return best_of(trials, settings.strengths, settings.rollout, settings.per_state)


def _design(
    settings: FitSettings,
    first: Trajectory,
    coordinates: Coordinates,
    sample: Sequence[Run],
    input_features: FeatureMap | None,
) -> Design:
    """Read scales and limits from a sample of the data as the settings say."""
    least_squares = settings.least_squares
    limited = least_squares.limits == "data"
    limits = limits_of(first, coordinates, sample) if limited else unlimited(coordinates)
    signals = Signals.of([first], sample, coordinates, limits, input_features)
    return Design.of(
        signals, sample, settings.coupling, least_squares.targets, least_squares.derivatives
    )
