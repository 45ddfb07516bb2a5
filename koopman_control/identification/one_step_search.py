"""One-step least squares as a rival of output-error fits: judged by the same free runs left out.

Where there is little noise and much data, a longer memory and more features at once do better than
whole runs fitted with few; a fit costs one factorisation, so that many can be tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap
from koopman_control.identification.draws import HOPELESS, Structure, Subject
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.output_error import OuterWeights, free_run_error

RIDGES = (1e-8, 1e-6, 1e-4, 1e-2)


@dataclass(frozen=True)
class OneStepFit:
    """One-step least squares that was judged.

    Args:
        structure: The structure.
        features: Its features, unfitted.
        ridge: Weight of the ridge that did best.
        errors: Root mean square of the errors of free runs on each part of the data left out, in
            standard deviations of the outputs.
    """

    structure: Structure
    features: FeatureMap
    ridge: float
    errors: tuple[float, ...]

    @property
    def error(self) -> float:
        """Root mean square over the parts."""
        return float(np.sqrt(np.mean(np.square(np.minimum(self.errors, HOPELESS)))))


def judged_one_step(subject: Subject, features: FeatureMap) -> OneStepFit:
    """Fit without each part of the data, for every ridge from one factor, and judge on that part.

    Args:
        subject: Data and structure.
        features: Unfitted.
    """
    errors = np.full((len(RIDGES), len(subject.folds)), np.inf)
    for i, judged in enumerate(subject.folds):
        runs = subject.without(i)
        regression = subject.regression(features, runs)
        solver = regression.factor(runs).solver()
        for j, ridge in enumerate(RIDGES):
            weights = OuterWeights(regression.model(solver.solve(ridge)))
            errors[j, i] = free_run_error(weights, weights.theta, judged, subject.spread)
    sizes: Array = np.square(np.minimum(errors, HOPELESS)).mean(axis=1)
    best = int(np.argmin(sizes))
    return OneStepFit(subject.structure, features, RIDGES[best], tuple(errors[best].tolist()))


def best_of(fits: Sequence[OneStepFit]) -> OneStepFit:
    """Return the one with the least error; the first of equals."""
    return min(fits, key=lambda fit: fit.error)


def fitted_one_step(subject: Subject, fit: OneStepFit) -> LiftedModel:
    """Fit to all data."""
    regression = subject.regression(fit.features, subject.runs)
    return regression.model(regression.factor(subject.runs).solver().solve(fit.ridge))
