"""Packages that only some functions need: imported when used, missed with a remedy."""

from importlib import import_module
from typing import Any

from koopman_control.common.border import checked


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
