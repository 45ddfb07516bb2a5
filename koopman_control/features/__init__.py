"""Features: from observations to the numbers a linear model can work with."""

from koopman_control.features.base import (
    FeatureMap,
    Monomials,
    Neurons,
    constant_columns,
    redrawn,
    seed_names,
    spread,
)
from koopman_control.features.composition import FeatureChain, FeatureUnion
from koopman_control.features.coordinates import Angle, Coordinates
from koopman_control.features.fourier import FourierFeatures
from koopman_control.features.function import FunctionFeatures
from koopman_control.features.polynomial import PolynomialFeatures
from koopman_control.features.radial import RadialFeatures
from koopman_control.features.recurrent import RecurrentFeatures
from koopman_control.features.registry import families, register_features
from koopman_control.features.sampled import SampledFeatures
from koopman_control.features.store import describe_features, rebuild_features

__all__ = [
    "Angle",
    "Coordinates",
    "FeatureChain",
    "FeatureMap",
    "FeatureUnion",
    "FourierFeatures",
    "FunctionFeatures",
    "Monomials",
    "Neurons",
    "PolynomialFeatures",
    "RadialFeatures",
    "RecurrentFeatures",
    "SampledFeatures",
    "constant_columns",
    "describe_features",
    "families",
    "rebuild_features",
    "redrawn",
    "register_features",
    "seed_names",
    "spread",
]
