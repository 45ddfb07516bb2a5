"""The one layer that checks what comes in; the environments, which stand alone, have it, too."""

from koopman_envs.border import CheckedFields, at_least, check_fields, checked, require, shown
from koopman_envs.kinds import EXAMPLES

__all__ = ["CheckedFields", "at_least", "check_fields", "checked", "require", "shown"]

# What to give instead, by the name of a class.
EXAMPLES |= {
    "Controller": "an object with reset() and act(observation)",
    "EDMDc": "an EDMDc(...)",
    "FeatureMap": "a feature map such as SampledFeatures(100)",
    "LiftedModel": "a LiftedModel, such as EDMDc(...).fit(data).model_",
    "Signal": "an input signal such as HeldUniform(5)",
    "Trajectory": "a Trajectory(observations, actions)",
}
