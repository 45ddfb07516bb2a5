"""Averaging linear models over feature draws: the mean of their roll-outs is a linear model again.

Where a linear roll-out is far from exact, single feature draws err differently; their mean errs
less, and, what matters more for a controller, no single bad draw decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureUnion
from koopman_control.identification.model.model import LiftedModel


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
        if model.coordinates != first.coordinates or not np.array_equal(model.scale, first.scale):
            raise ValueError(
                f"models[{i}] has other states or scales than models[0]; fit both to the same data"
            )
    features = FeatureUnion([model.features for model in models])
    features.maps_ = [model.features for model in models]
    features.n_features_in_ = len(first.center)
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
    common = 1 + len(models[0].center)
    n_angles = int(models[0].coordinates.is_angle.sum())
    sizes = [model.features._n_features_out for model in models]
    full = common + sum(sizes) + n_angles
    blocks, start = [], common
    for size in sizes:
        columns = [*range(common), *range(start, start + size), *range(full - n_angles, full)]
        blocks.append(np.eye(full)[columns])
        start += size
    return np.vstack(blocks)
