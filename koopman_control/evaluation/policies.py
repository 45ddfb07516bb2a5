"""Controllers that know nothing: the floor every learned controller has to leave behind."""

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, bounds_array, finite_array, seed_number
from koopman_control.common.border import checked


class RandomPolicy:
    """Draws every action uniformly from the action box.

    Each `reset` starts another stream of random numbers, so episodes differ. `seed`, which
    `evaluate` calls with the seed of the episode before it resets, fixes what comes next, so that
    an episode does not depend on the ones run before it.

    Example:
        >>> policy = RandomPolicy([[-2.0], [2.0]], seed=7)
        >>> policy.act(np.zeros(3)).shape
        (1,)
    """

    @checked
    def __init__(self, action_bounds: ArrayLike, seed: int = 0) -> None:
        """Take the action box, shape (2, m): lowest values, then highest, and a seed."""
        self._low, self._high = _box(action_bounds)
        self._key, self._resets = [seed_number("seed", seed), 0], 0
        self.reset()

    def reset(self) -> None:
        """Go on to the next stream of random numbers."""
        self._resets += 1
        self._rng = np.random.default_rng([self._resets, *self._key])

    @checked
    def seed(self, seed: int) -> None:
        """Let the next `reset` start the streams that belong to this seed."""
        # Key 0 belongs to a policy that was never seeded.
        self._key, self._resets = [self._key[0], seed_number("seed", seed) + 1], 0

    def act(self, observation: Array) -> Array:
        """Return a random action, shape (m,), whatever the observation."""
        return self._rng.uniform(self._low, self._high)


class ZeroPolicy:
    """Does nothing: the zero action, or the point of the box that is nearest to it.

    Example:
        >>> ZeroPolicy([[-2.0], [2.0]]).act(np.zeros(3))
        array([0.])
    """

    @checked
    def __init__(self, action_bounds: ArrayLike) -> None:
        """Take the action box, shape (2, m): lowest values, then highest."""
        low, high = _box(action_bounds)
        self._action = np.clip(np.zeros_like(low), low, high)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observation: Array) -> Array:
        """Return the same action, shape (m,), whatever the observation."""
        return self._action.copy()


def _box(action_bounds: ArrayLike) -> tuple[Array, Array]:
    box = finite_array("action_bounds", action_bounds, ndim=2)
    low, high = bounds_array("action_bounds", box, box.shape[1])
    return low, high
