"""Functions of the user inside of our objects, on their way to another process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle


def portable(function: Any) -> Any:
    """Return what to pickle in place of a function: itself if that works, else its code.

    Functions of a module travel by their name. Others (lambdas, functions inside functions) do not,
    so they travel by value; another version of Python may not be able to read that.

    Args:
        function: A function, an object that can be called, or None.
    """
    if function is None or isinstance(function, ByValue):
        return function
    try:
        pickle.dumps(function)
    except Exception:  # of many kinds
        return ByValue(function)
    return function


class ByValue:
    """A function that becomes its code when it is pickled, and itself again when that is read."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function."""
        return self.function(*arguments, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return the function, as `copy.deepcopy` does of functions."""
        return self.function

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the code.

        Raises:
            pickle.PicklingError: It holds what cannot travel.
        """
        try:
            return cloudpickle.loads, (cloudpickle.dumps(self.function),)
        except Exception as error:
            raise pickle.PicklingError(
                f"{self.function!r} cannot be pickled: {error}; define it at the top level of a "
                "module, and let it hold no lock, open file or process"
            ) from error
