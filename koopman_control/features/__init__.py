"""Features: from observations to the numbers a linear model can work with."""

from koopman_control.features.base import FeatureMap
from koopman_control.features.coordinates import Angle, Coordinates
from koopman_control.features.sampled import SampledFeatures

__all__ = ["Angle", "Coordinates", "FeatureMap", "SampledFeatures"]
