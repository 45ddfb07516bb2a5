"""The states of many copies of one plant, by component, and how they move together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_envs.integration import Components
from koopman_envs.ode import ODEEnv
from koopman_envs.plant import Plant
from koopman_envs.tape import Tape

Array = NDArray[np.float64]


class Copies:
    """States x (n, N), references r (q, N) and inputs u (m, N) of N copies.

    Args:
        plant: The single environment whose formulas move them.
        count: Number N of copies.
    """

    def __init__(self, plant: ODEEnv, count: int) -> None:
        self.plant, self.count = plant, count
        self._center = np.array(plant.input_center)[:, None]
        self._half = np.array(plant.input_half)[:, None]
        self.x = np.zeros((len(plant.state_high), count))
        self.r = np.zeros((len(plant.reference_high), count))
        self.u = np.zeros((len(plant.input_high), count))
        self._queue = np.zeros((plant.delay, *self.u.shape))
        self._tape: Tape | None = None
        if type(plant).advance is Plant.advance:
            self._tape = Tape(self._formula, self.x, self.u, self.r)

    def begin(self, copies: Sequence[int], generators: list[np.random.Generator]) -> None:
        """Start an episode in some copies, each by its own generator."""
        for i in copies:
            self.x[:, i] = self.plant.sample_state(generators[i])
            self.r[:, i] = self.plant.sample_reference(generators[i])
        self._queue[:, :, copies] = self._center[:, :, None].transpose(1, 0, 2)

    def choose(self, actions: NDArray[np.floating[Any]]) -> None:
        """Set the inputs of the next step from finite actions (N, m)."""
        u = self.u
        np.maximum(actions.T, -1.0, out=u)
        np.minimum(u, 1.0, out=u)
        np.multiply(u, self._half, out=u)
        np.add(u, self._center, out=u)
        if self.plant.delay:
            latest = u.copy()
            u[:] = self._queue[0]
            self._queue[:-1] = self._queue[1:].copy()
            self._queue[-1] = latest

    def advance(self) -> Array:
        """Move one time step on and return the rewards (N,)."""
        *x, cost = self._tape() if self._tape else self._formula(self.x, self.u, self.r)
        rewards: Array = np.empty(self.count)
        np.negative(cost, out=rewards)
        _fill(self.x, self.plant.limit(x))
        r = self.plant.next_reference(self.r)
        if r is not self.r:
            _fill(self.r, list(r))
        return rewards

    def _formula(self, x: Components, u: Components, r: Components) -> Components:
        # The cost comes first: it is that of the state before the step.
        cost = self.plant.cost(x, u, r)
        return [*self.plant.advance(x, u), cost]


def _fill(rows: Array, parts: Components) -> None:
    """Copy parts into rows; no part may be a view of another row."""
    for row, part in zip(rows, parts, strict=True):
        row[:] = part
