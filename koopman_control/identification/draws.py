"""Draws of features, each fitted by output error to a part of the data and judged on the rest.

They build on a linear model that is fitted the same way, which pulls them less and less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import CheckedFields
from koopman_control.features import Coordinates, FeatureMap, PolynomialFeatures
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

    @property
    def strengths(self) -> tuple[float, ...]:
        """Pulls worth trying, the strongest first."""
        plenty = sum(len(run.U) for run in self.runs) > PLENTY
        return tuple(s for s in STRENGTHS if plenty or s >= 0.99 * WEAKEST)

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
