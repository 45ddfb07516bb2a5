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
    """States x (n, N), references r (q, N) and actions a (m, N) of N copies.

    Args:
        plant: The single environment whose formulas move them.
        count: Number N of copies.
    """

    def __init__(self, plant: ODEEnv, count: int) -> None:
        self.plant, self.count = plant, count
        self.x = np.zeros((len(plant.state_high), count))
        self.r = np.zeros((len(plant.reference_high), count))
        self.a = np.zeros((len(plant.input_high), count))
        self._queue = np.zeros((plant.delay, *self.a.shape))
        self.tape: Tape | None = None
        if type(plant).advance is Plant.advance:
            self.tape = Tape(self._formula, self.x, self.a, self.r)

    def begin(self, copies: Sequence[int], generators: list[np.random.Generator]) -> None:
        """Start an episode in some copies, each by its own generator."""
        for i in copies:
            self.x[:, i] = self.plant.sample_state(generators[i])
            self.r[:, i] = self.plant.sample_reference(generators[i])
        self._queue[:, :, copies] = 0.0

    def choose(self, actions: NDArray[np.floating[Any]]) -> None:
        """Set the finite actions (N, m) of the next step; a delay hands out earlier ones."""
        np.maximum(actions.T, -1.0, out=self.a)
        np.minimum(self.a, 1.0, out=self.a)
        if self.plant.delay:
            latest = self.a.copy()
            self.a[:] = self._queue[0]
            self._queue[:-1] = self._queue[1:].copy()
            self._queue[-1] = latest

    def advance(self) -> Array:
        """Move one time step on and return the rewards (N,)."""
        *x, cost = self.tape() if self.tape is not None else self._formula(self.x, self.a, self.r)
        rewards: Array = np.empty(self.count)
        np.negative(cost, out=rewards)
        _fill(self.x, self.plant.limit(x))
        r = self.plant.next_reference(self.r)
        if r is not self.r:
            _fill(self.r, list(r))
        return rewards

    def _formula(self, x: Components, a: Components, r: Components) -> Components:
        plant = self.plant
        u = [
            center + half * v
            for v, center, half in zip(a, plant.input_center, plant.input_half, strict=True)
        ]
        # The cost comes first: it is that of the state before the step.
        cost = plant.cost(x, u, r)
        return [*plant.advance(x, u), cost]


def _fill(rows: Array, parts: Components) -> None:
    """Copy parts into rows; no part may be a view of another row."""
    for row, part in zip(rows, parts, strict=True):
        row[:] = part
