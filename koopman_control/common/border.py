"""The boundary: one layer that checks what comes in, and packages that only some functions need."""

from importlib import import_module
from typing import Any

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


@checked
def optional_package(name: str, extra: str) -> Any:
    """Import a package that is not required, or say how to get it.

    Args:
        name: What to import.
        extra: The extra of this package that brings it along.

    Raises:
        ImportError: It is not installed; the message holds the command that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {name.partition('.')[0]}, which is not installed: "
            f"pip install 'koopman-control[{extra}]'"
        ) from error
