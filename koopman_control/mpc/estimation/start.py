"""What observers begin with, and what they compare observations with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.estimation.noise import state_mean


class Sensor:
    """Reads the present states from observations; the rest of a state is memory.

    Args:
        model: The model.
    """

    def __init__(self, model: LiftedModel) -> None:
        self._coordinates = model.coordinates
        self._present = replace(model.coordinates, memory=0, n_inputs=0)
        self.size = self._present.dim
        self._usual = state_mean(model)[: self.size]  # for what is not measured at first

    def read(self, y: Array) -> Array:
        """Return the measured states (p,) of an observation, NaN where there is none."""
        return self._present.state(y)

    def innovation(self, measured: Array, expected: Array) -> Array:
        """Return what measured states (p,) differ by, angles in [-pi, pi]."""
        return self._present.wrap(measured - expected)

    def first(self, measured: Array, u: Array) -> Array:
        """Return the state (d,) of a plant that rests at its first measurement under u (m,)."""
        now = np.where(np.isnan(measured), self._usual, measured)
        past = self._coordinates.memory
        return np.concatenate([now, np.zeros(past * self.size), *[u] * past])
