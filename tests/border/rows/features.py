"""Features."""

from typing import Any

import numpy as np

import koopman_control as kc
import koopman_control.features as features
from koopman_control.features import FeatureChain, FunctionFeatures
from tests.border import parts
from tests.border.parts import runs as data
from tests.border.parts import states
from tests.border.rows.row import Row, fields, fit_settings, points


def names_out(map_: Any) -> Row:
    """Features are named after the states."""
    return Row(
        f"{type(map_).__name__}.get_feature_names_out",
        lambda **k: map_.fit(states()).get_feature_names_out(**k),
        lambda: dict(input_features=["a", "b"]),
    )


ROWS = [
    Row(
        "register_features",
        features.register_features,
        lambda: dict(
            kind=kc.SampledFeatures,
            examples=features.families()["SampledFeatures"].examples,
            compiled=True,
            saved=True,
        ),
    ),
    fit_settings(
        kc.SampledFeatures,
        dict(
            n_features=4,
            activation="tanh",
            n_layers=1,
            sampling="pairs",
            steepness=1.0,
            ignored=(0,),
            random_state=0,
        ),
    ),
    fit_settings(
        kc.FourierFeatures, dict(n_features=4, length_scale=1.0, orthogonal=False, random_state=0)
    ),
    fit_settings(
        kc.RadialFeatures,
        dict(n_features=4, kernel="gaussian", centers="sampled", length_scale=1.0, random_state=0),
    ),
    fit_settings(kc.PolynomialFeatures, dict(degree=2, interaction_only=False, ignored=(0,))),
    Row(
        "RecurrentFeatures",
        lambda **k: (
            parts.estimator(memory=1).set_params(features=kc.RecurrentFeatures(**k)).fit(data())
        ),
        fields(
            n_features=4, recurrence="cyclic", spectral_radius=0.5, steepness=0.5, random_state=0
        ),
    ),
    fit_settings(FunctionFeatures, dict(function=np.sin, derivative=None, differences="central")),
    fit_settings(
        FeatureChain,
        dict(maps=[kc.PolynomialFeatures(2), kc.SampledFeatures(3, random_state=0)]),
    ),
    fit_settings(
        kc.FeatureUnion,
        dict(maps=[kc.PolynomialFeatures(2), kc.SampledFeatures(3, random_state=0)]),
    ),
    Row(
        "FeatureMap.fit",
        kc.SampledFeatures(3, random_state=0).fit,
        lambda: dict(X=states(), y=states()),
    ),
    *[
        points(cls, m, **s)
        for cls, s in (
            (kc.SampledFeatures, dict(n_features=3, random_state=0)),
            (kc.PolynomialFeatures, {}),
        )
        for m in ("transform", "jacobian")
    ],
    Row(
        "FeatureChain.get_params",
        lambda **k: FeatureChain([kc.PolynomialFeatures(2)]).get_params(**k),
        lambda: dict(deep=True),
    ),
    *[names_out(map_) for map_ in (kc.PolynomialFeatures(2), kc.FourierFeatures(3))],
    *[names_out(kind([kc.PolynomialFeatures(2)])) for kind in (FeatureChain, kc.FeatureUnion)],
    Row(
        "Coordinates",
        features.Coordinates,
        lambda: dict(n_observations=3, columns=((0, 1), 2), memory=0, n_inputs=1),
    ),
    Row(
        "Coordinates.of",
        features.Coordinates.of,
        lambda: dict(n_observations=3, states=[0, 1, 2], angles=[(0, 1)], memory=0, n_inputs=1),
    ),
]
