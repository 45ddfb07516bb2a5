"""What a controller is to everything that runs one."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, seed_number
from koopman_control.common.border import checked


@runtime_checkable
class Controller(Protocol):
    """Anything with a memory to clear and an action for every observation.

    It may take the input before an episode, ``reset(previous_input=...)``, and what acted in place
    of its latest action, ``act(observation, applied=...)``. It may have an attribute ``last`` whose
    ``fallback`` says whether its latest action came from a fallback, and a method ``seed(int)`` if
    it acts at random. All of these are optional.
    """

    def reset(self) -> None:
        """Forget the past: an episode begins."""

    def act(self, observation: Array) -> Array:
        """Return the action (m,) for an observation (p,)."""
        ...


def takes(method: Callable[..., Any], argument: str) -> bool:
    """Whether a method has an argument of that name."""
    try:
        return argument in inspect.signature(method).parameters
    except (TypeError, ValueError):  # some builtins do not tell
        return False


@checked
def begin_episode(
    controller: Controller, seed: int, previous_input: ArrayLike | None = None
) -> None:
    """Reset a controller, after seeding it if it can be seeded.

    Args:
        controller: The controller.
        seed: Its seed.
        previous_input: Input that acts as the episode begins, shape (m,); None: nothing is told.

    Raises:
        TypeError: If its `reset` does not take a previous input, but there is one.
    """
    reseed = getattr(controller, "seed", None)
    if callable(reseed):
        reseed(seed_number("seed", seed))
    if previous_input is None:
        controller.reset()
        return
    if not takes(controller.reset, "previous_input"):
        raise TypeError(
            f"previous_input is given, but reset of {type(controller).__name__} does not take it; "
            "leave it out, or let reset have an argument previous_input"
        )
    controller.reset(previous_input=previous_input)  # type: ignore[call-arg]
