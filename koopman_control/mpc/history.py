"""What a controller remembers of an episode, for models whose state reaches into the past."""

from __future__ import annotations

from collections import deque

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel


class History:
    """The last observations and applied inputs of an episode.

    At the start of an episode the plant is taken to have rested at its first observation under the
    input given to `restart`.

    Args:
        model: The model; its coordinates say how far back to remember.
    """

    def __init__(self, model: LiftedModel) -> None:
        self._coordinates = model.coordinates
        memory = model.coordinates.memory
        self._observations: deque[Array] = deque(maxlen=memory)
        self._inputs: deque[Array] = deque(maxlen=memory)

    def restart(self, u: Array) -> None:
        """Forget the episode; before the next one, inputs are taken to have been u, shape (m,)."""
        self._observations.clear()
        self._inputs.clear()
        self._rest = u.copy()

    def state(self, y: Array) -> Array:
        """Return the state at an observation of shape (p,), without remembering it; shape (d,)."""
        memory = self._coordinates.memory
        if not memory:
            return self._coordinates.state(y)
        missing = memory - len(self._inputs)
        seen = [*self._observations, y]
        observations = np.stack([seen[0]] * missing + seen)
        inputs = np.stack([self._rest] * missing + list(self._inputs))
        return np.asarray(self._coordinates.along(observations, inputs)[-1])

    def record(self, y: Array | None, u: Array) -> None:
        """Remember an observation (None: unusable, the last one is kept) and the input applied."""
        if y is None:
            if not self._observations:
                return
            y = self._observations[-1]
        self._observations.append(y.copy())
        self._inputs.append(u.copy())
