"""Which settings of a fit make sense, by themselves and together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from koopman_control.common.arrays import positive_float, positive_int
from koopman_control.common.border import check_fields
from koopman_control.features import FeatureMap, SampledFeatures
from koopman_control.features.base import redrawn
from koopman_control.identification.least_squares.penalties import path_of

if TYPE_CHECKING:
    from koopman_control.identification.edmdc import EDMDc


def checked_strengths(settings: EDMDc) -> Sequence[float]:
    """Check all settings of a fit and return the regularisations to try."""
    check_fields(settings)
    _check_corrections(settings)
    if settings.rollout not in ("relifted", settings.coupling):
        raise ValueError(
            f"rollout is {settings.rollout!r}; with coupling={settings.coupling!r} expected one of "
            f"relifted, {settings.coupling}"
        )
    positive_int("horizon", settings.horizon)
    positive_int("memory", settings.memory, minimum=0)
    if positive_int("n_draws", settings.n_draws) > 1:
        _check_draws(settings)
    strengths = regularizations(settings.regularization, path_of(settings.penalty))
    if settings.n_folds != 0:
        positive_int("n_folds", settings.n_folds, minimum=2)
    elif len(strengths) > 1 or len(candidate_features(settings)) > 1:
        raise ValueError(
            "n_folds is 0, which leaves nothing to choose by; expected a number as "
            "regularization and a single feature map, or at least 2 folds"
        )
    return strengths


def _check_corrections(settings: EDMDc) -> None:
    """Check what follows the fit."""
    if settings.refine_horizon and settings.coupling != "linear":
        raise ValueError(
            f"refine_horizon is True with coupling={settings.coupling!r}; only the linear roll-out "
            'is refined: use coupling="linear"'
        )
    if settings.stability not in (None, "auto"):
        positive_float("stability", settings.stability)


def _check_draws(settings: EDMDc) -> None:
    """Raise a ValueError before the first draw if others cannot differ or be averaged."""
    if settings.rollout != "linear":
        raise ValueError(
            f"n_draws is {settings.n_draws} with rollout={settings.rollout!r}; only linear "
            'roll-outs can be averaged: use n_draws=1, or rollout="linear"'
        )
    for features in candidate_features(settings):
        redrawn(features, 1)


def candidate_features(settings: EDMDc) -> list[FeatureMap]:
    """Return the candidate features, unfitted."""
    given = settings.features
    return feature_maps(SampledFeatures(random_state=0) if given is None else given)


def regularizations(value: Any, candidates: Sequence[float]) -> Sequence[float]:
    """Return the candidates for "cv..." and otherwise the value alone, checked."""
    if isinstance(value, str) and value in ("cv", "cv-per-state"):
        return candidates
    number = isinstance(value, (int, float, np.integer, np.floating))
    if number and 0.0 <= float(value) < np.inf:
        return (float(value),)
    raise ValueError(f'regularization is {value!r}; expected "cv" or a number of at least 0')


def feature_maps(features: Any) -> list[FeatureMap]:
    """Return one feature map or a sequence of them as a list, which is not empty."""
    given = list(features) if isinstance(features, (list, tuple)) else [features]
    if not given:
        raise ValueError("features is an empty list; expected at least one feature map")
    return given
