"""Cross-validation of regularisation and features on multi-step errors of left-out runs.

What there is to choose from is checked, candidates are fitted on folds, the best is chosen, draws
of it may be averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array, positive_int
from koopman_control.features import FeatureMap, FeatureUnion, redrawn
from koopman_control.identification.errors import (
    Windows,
    bounded_score,
    conformal_quantiles,
    rms_per_step,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.least_squares import Accumulator
from koopman_control.identification.model import LEVEL, LiftedModel
from koopman_control.identification.penalties import Penalty, Solver, solver_for
from koopman_control.identification.preparation import fitted_candidates, warn_of_idle_inputs
from koopman_control.identification.regression import Design, Regression, saturating_states
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.snapshots import Deal, Run, dealt, sample_of


def feature_maps(features: Any, default: FeatureMap) -> list[FeatureMap]:
    """Return one feature map, a sequence of them or None, the default, as a list."""
    given = default if features is None else features
    maps = list(given) if isinstance(given, (list, tuple)) else [given]
    if not maps:
        raise ValueError("features is an empty list; expected at least one feature map")
    return maps


def checked_candidates(
    maps: Sequence[FeatureMap],
    regularization: Any,
    path: Sequence[float],
    n_folds: int,
    n_draws: int,
) -> Sequence[float]:
    """Check what cross-validation chooses from, and return the regularisations to try.

    Args:
        maps: Candidate features.
        regularization: A number, or a text ("cv", ...) for all of `path`.
        path: Strengths worth trying.
        n_folds: Folds; 0 leaves nothing to choose by.
        n_draws: Draws of the features.
    """
    if positive_int("n_draws", n_draws) > 1:
        for features in maps:
            redrawn(features, 1)  # refuses what has only one draw, before the first fit
    number = isinstance(regularization, (int, float, np.integer, np.floating))
    if isinstance(regularization, str):
        strengths = path
    elif number and 0.0 <= float(regularization) < np.inf:
        strengths = (float(regularization),)
    else:
        raise ValueError(
            f'regularization is {regularization!r}; expected "cv" or a number of at least 0'
        )
    if n_folds != 0:
        positive_int("n_folds", n_folds, minimum=2)
    elif len(strengths) > 1 or len(maps) > 1:
        raise ValueError(
            "n_folds is 0, which leaves nothing to choose by; expected a number as "
            "regularization and a single feature map, or at least 2 folds"
        )
    return strengths


class Folds(Protocol):
    """Data by fold, in memory or on shards.

    Attributes:
        n_pairs: Snapshot pairs of all data.
        n_fixed: Sums, the first ones, that no fold leaves out.
    """

    n_pairs: int
    n_fixed: int

    @property
    def sample(self) -> Sequence[Run]:
        """Return runs that stand for all data."""

    @property
    def n_folds(self) -> int:
        """Return the number of folds that can be left out."""

    @property
    def windows(self) -> list[Windows]:
        """Return what each fold is judged on."""

    def sums(self, lifts: Sequence[Any]) -> list[list[Accumulator]]:
        """Accumulate every fold for every candidate, by candidate and fold."""


class FoldsInMemory:
    """Folds of runs.

    Args:
        runs: The data.
        n_folds: Folds they are dealt into; 0 keeps all in one that is not judged.
        horizon: Longest prediction judged, in steps.
        always: Runs that every solver sees and that are not judged.
        deal: Into folds of how many runs.
        n_further: Number of further windows of the last fold.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        n_folds: int,
        horizon: int,
        always: Sequence[Run] = (),
        *,
        deal: Deal = dealt,
        n_further: int = 0,
    ) -> None:
        self.sample, self.n_pairs = sample_of(runs), sum(len(run.U) for run in runs)
        pieces = deal([len(run.U) for run in runs], n_folds) if n_folds else []
        folds = [[runs[i].piece(a, b) for i, a, b in fold] for fold in pieces]
        self._folds, self._n_further = folds or [list(runs)], n_further if folds else 0
        self._always, self._horizon = always, horizon
        self.n_folds, self.n_fixed = len(self._folds), 1 if always else 0

    @cached_property
    def windows(self) -> list[Windows]:
        """What each fold is judged on."""
        return [windows_of(fold, self._horizon) for fold in self._folds]

    @property
    def further(self) -> list[Windows]:
        """More windows of the last fold, in a list; none if none were asked for."""
        n, last = self._n_further, self._folds[-1]
        return [windows_of(last, self._horizon, n)] if n else []

    def sums(self, lifts: Sequence[Any]) -> list[list[Accumulator]]:
        """Accumulate every fold for every candidate, by candidate and fold."""
        parts = [*([self._always] if self._always else []), *self._folds]
        return [lift.sums(parts) for lift in lifts]


class CrossValidation:
    """Solvers that each leave one fold out, from one pass over the data.

    Args:
        regression: The candidate.
        sums: Its sums by fold, from `folds.sums`.
        folds: The data.
        penalty: What regularises.
    """

    def __init__(
        self,
        regression: Regression,
        sums: Sequence[Accumulator],
        folds: Folds,
        penalty: Penalty = "ridge",
    ) -> None:
        self.regression, self.folds = regression, folds
        self._penalty: Penalty = penalty
        self._sums = list(sums)
        self.factor = Accumulator.merged(self._sums)

    def total(self) -> Accumulator:
        """Return the sums over all data, ready for more."""
        whole = self._sums[0]
        for part in self._sums[1:]:
            whole.absorb(part)
        self._sums = [whole]
        return whole

    def errors(self, regularization: float | Array, rollout: Rollout) -> Array:
        """Return the scaled errors on all left-out windows, shape (W, horizon, d)."""
        return np.concatenate(
            [
                scaled_errors(
                    self.regression.model(self._coefficients(solver, regularization, rollout)),
                    windows,
                    self.scale,
                    rollout,
                )
                for solver, windows in zip(self._solvers, self.folds.windows, strict=True)
            ]
        )

    def left_out(self, regularization: float | Array) -> list[LiftedModel]:
        """Return for every fold a model that has not seen it; for a single one, one that has."""
        solvers = self._solvers if self.folds.n_folds > 1 else [self.factor.solver()]
        return [self.regression.model(solver.solve(regularization)) for solver in solvers]

    def _coefficients(
        self, solver: Solver, regularization: float | Array, rollout: Rollout
    ) -> Array:
        """Solve for all targets, or, to lift again at each step, only for the states' own."""
        if rollout != "relifted":
            return solver.solve(regularization)
        K = np.zeros((self.regression.n_regressors, self.regression.n_targets))
        targets = self.regression.state_targets
        if isinstance(regularization, np.ndarray):
            regularization = regularization[targets]
        K[:, targets] = solver.solve(regularization, targets)
        return K

    def score(self, regularization: float | Array, rollout: Rollout) -> float:
        """Return the bounded multi-step error, 0 (perfect) to 1 (no better than the mean)."""
        return bounded_score(self.errors(regularization, rollout))

    def per_state(self, common: float, strengths: Sequence[float], rollout: Rollout) -> Array:
        """Choose a regularisation for each state after the other, starting from the common one.

        Returns:
            Strength per target, shape (q,); the features' targets keep the common one.
        """
        chosen = np.full(self.regression.n_targets, common)
        best = self.score(chosen, rollout)
        for column in self.regression.state_targets:
            for value in strengths:
                trial = chosen.copy()
                trial[column] = value
                score = self.score(trial, rollout)
                if score < best:
                    best, chosen = score, trial
        return chosen

    @cached_property
    def _solvers(self) -> list[Solver]:
        """A solver per fold that has seen all the others."""
        first, sums = self.folds.n_fixed, self._sums
        return [
            solver_for(self._penalty, Accumulator.merged([*sums[:i], *sums[i + 1 :]]))
            for i in range(first, len(sums))
        ]

    @cached_property
    def scale(self) -> Array:
        """What errors are divided by, shape (d,)."""
        return state_scale(self.folds.sample, self.regression.design.signals.coordinates)


@dataclass(frozen=True)
class Choice:
    """One candidate of the cross-validation: features, regularisation and held-out score."""

    features: FeatureMap
    regularization: float
    score: float


@dataclass(frozen=True)
class Selection:
    """What cross-validation chose.

    Args:
        trial: The best candidate, its data accumulated.
        strength: Regularisation, one for all targets or one for each, shape (q,).
        choices: All candidates, best first.
        errors: Left-out errors of the best by roll-out, shape (W, horizon, d) in standard
            deviations; empty where nothing was judged.
    """

    trial: CrossValidation
    strength: float | Array
    choices: list[Choice]
    errors: dict[Rollout, Array]

    @property
    def error_per_step(self) -> dict[str, Array]:
        """Root mean square of the left-out errors 1 ... horizon steps ahead, by roll-out."""
        return {rollout: rms_per_step(errors) for rollout, errors in self.errors.items()}

    def scores(self) -> list[dict[str, Any]]:
        """Describe all judged candidates, best first, as plain data."""
        maps = {id(choice.features): choice.features for choice in self.choices}
        described = {key: " ".join(repr(features).split()) for key, features in maps.items()}
        return [
            {
                "features": described[id(choice.features)],
                "regularization": choice.regularization,
                "score": choice.score,
            }
            for choice in (self.choices if self.errors else ())
        ]

    def error_quantiles(self, level: float = LEVEL) -> dict[Rollout, Array]:
        """Bound the left-out errors in the units of the states, by roll-out, shape (horizon, d)."""
        levels = np.array([level])
        return {
            rollout: conformal_quantiles(np.abs(errors), levels)[0]
            * self.trial.scale[: errors.shape[2]]
            for rollout, errors in self.errors.items()
        }


def trials_of(
    design: Design,
    folds: Folds,
    features: Sequence[FeatureMap],
    penalty: Penalty,
    action_names: Sequence[str] | None,
) -> list[CrossValidation]:
    """Accumulate the data once for every candidate."""
    candidates = fitted_candidates(design, folds.sample, features, folds.n_pairs)
    trials = [
        CrossValidation(candidate, sums, folds, penalty)
        for candidate, sums in zip(candidates, folds.sums(candidates), strict=True)
    ]
    held = saturating_states(trials[0].regression, trials[0].factor, folds.sample)
    if held.any():
        design = replace(design, signals=replace(design.signals, saturating=held))
        for trial in trials:
            trial.regression = replace(trial.regression, design=design)
    warn_of_idle_inputs(design, action_names)
    return trials


def alone(trial: CrossValidation, strength: float) -> Selection:
    """Take the only candidate; it need not be judged."""
    choice = Choice(trial.regression.features, strength, float("nan"))
    return Selection(trial, strength, [choice], {})


def best_of(
    trials: Sequence[CrossValidation],
    strengths: Sequence[float],
    rollout: Rollout,
    per_state: bool,
) -> Selection:
    """Judge all candidates by the left-out errors of a roll-out."""
    judged = [
        (trial, Choice(trial.regression.features, value, trial.score(value, rollout)))
        for trial in trials
        for value in strengths
    ]
    judged.sort(key=lambda pair: pair[1].score)
    trial, best = judged[0]
    strength: float | Array = best.regularization
    if per_state:
        strength = trial.per_state(best.regularization, strengths, rollout)
    kinds: tuple[Rollout, ...] = (trial.regression.design.coupling, "relifted")
    errors = {kind: trial.errors(strength, kind) for kind in kinds}
    return Selection(trial, strength, [choice for _, choice in judged], errors)


def averaged(models: Sequence[LiftedModel]) -> LiftedModel:
    """Combine models of one data set into one whose linear roll-out is the mean of theirs.

    The lifted states stand side by side, z = (z_1, ..., z_K), each with its own dynamics, and the
    read-out takes the mean of what they say.

    Args:
        models: Linear models (no N) fitted to the same data, so with the same states and scales.

    Returns:
        A model with the lifted states of all.

    Raises:
        ValueError: If there is no model, one has input couplings, or they differ in states or
            scales.
    """
    if not models:
        raise ValueError("models is empty; expected at least one model")
    first = models[0]
    for i, model in enumerate(models):
        if model.N is not None or model.reduction is not None:
            raise ValueError(
                f"models[{i}] has input couplings N or is reduced; only plain linear models can be "
                'averaged: fit with coupling="linear"'
            )
        same_scale = np.array_equal(model.signals.scale, first.signals.scale)
        if model.coordinates != first.coordinates or not same_scale:
            raise ValueError(
                f"models[{i}] has other states or scales than models[0]; fit both to the same data"
            )
    features = FeatureUnion([model.features for model in models])
    features.maps_ = [model.features for model in models]
    features.n_features_in_ = len(first.signals.center)
    return replace(
        first,
        A=scipy.linalg.block_diag(*[model.A for model in models]),
        B=np.vstack([model.B for model in models]),
        C=np.hstack([model.C for model in models]) / len(models),
        features=features,
        reduction=_side_by_side(models),
        summary={**first.summary, "n_draws": len(models)},
    )


def _side_by_side(models: Sequence[LiftedModel]) -> Array:
    """Map [1, inputs, all features, angles] to the lifted states of all models in turn."""
    common, n_angles = 1 + len(models[0].signals.center), models[0].n_angles
    sizes = [model.features._n_features_out for model in models]
    full = common + sum(sizes) + n_angles
    blocks, start = [], common
    for size in sizes:
        columns = [*range(common), *range(start, start + size), *range(full - n_angles, full)]
        blocks.append(np.eye(full)[columns])
        start += size
    return np.vstack(blocks)
