"""What a controller is to everything that runs one."""

from typing import Protocol, runtime_checkable

from koopman_control.common.arrays import Array, seed_number
from koopman_control.common.border import checked


@runtime_checkable
class Controller(Protocol):
    """Anything with a memory to clear and an action for every observation.

    A controller may have an attribute ``last`` whose ``fallback`` says whether its latest action
    came from a fallback, and a method ``seed(int)`` if it acts at random; both are optional.
    """

    def reset(self) -> None:
        """Forget the past: an episode begins."""

    def act(self, observation: Array) -> Array:
        """Return the action (m,) for an observation (p,)."""
        ...


@checked
def begin_episode(controller: Controller, seed: int) -> None:
    """Reset a controller, after seeding it if it can be seeded."""
    reseed = getattr(controller, "seed", None)
    if callable(reseed):
        reseed(seed_number("seed", seed))
    controller.reset()
