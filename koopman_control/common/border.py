"""The boundary: one layer that checks what comes in, and packages that only some functions need."""

import difflib
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from koopman_envs.border import CheckedFields, at_least, check_fields, checked, require, shown
from koopman_envs.kinds import EXAMPLES

__all__ = [
    "CheckedFields",
    "at_least",
    "check_fields",
    "checked",
    "did_you_mean",
    "optional_package",
    "require",
    "shown",
]

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


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """Return " Did you mean NAME?" for the name nearest to what was given, or nothing.

    Capital letters and what stands before a slash may be left out.
    """
    known = {
        spelt: name for name in names for spelt in (name.lower(), name.rpartition("/")[2].lower())
    }
    nearest = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.6)
    return f" Did you mean {known[nearest[0]]}?" if nearest else ""
