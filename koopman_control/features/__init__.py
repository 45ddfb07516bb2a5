"""Features: from observations to the numbers a linear model can work with."""

from koopman_control.features.base import FeatureMap
from koopman_control.features.coordinates import Coordinates
from koopman_control.features.sampled import SampledFeatures

__all__ = ["Coordinates", "FeatureMap", "SampledFeatures"]
