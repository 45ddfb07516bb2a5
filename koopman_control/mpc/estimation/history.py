"""The state read from observations as they are, remembering as many as the model reaches back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from koopman_control.common.arrays import Array, only_numbers
from koopman_control.identification import LiftedModel
from koopman_control.mpc.estimation.base import Estimate


@dataclass(frozen=True)
class Remembered(Estimate):
    """An estimate and the observations (k + 1, p) and inputs (k, m) it rests on, oldest first."""

    observations: tuple[Array, ...] = ()
    inputs: tuple[Array, ...] = ()


class History:
    """Believes every observation; what is not measured is not known.

    At the start of an episode the plant is taken to have rested at its first observation.

    Args:
        model: The model; its coordinates say how far back to remember.
    """

    def __init__(self, model: LiftedModel) -> None:
        self._coordinates = model.coordinates
        self._memory = model.coordinates.memory

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Return the state at an observation; see `Estimator`.

        Where something is missing, the last observation stands in for it in later states, and the
        present one is marked as unknown.
        """
        if not only_numbers(y):
            if not isinstance(before, Remembered):
                return before if before is None else replace(before, known=False)
            return replace(self._remembered(before, before.observations[-1], u), known=False)
        if not self._memory:
            return Estimate(self._coordinates.state(y))
        return self._remembered(before, y, u)

    def _remembered(self, before: Estimate | None, y: Array, u: Array) -> Remembered:
        if isinstance(before, Remembered):
            observations = (*before.observations[-self._memory :], y)
            inputs = (*before.inputs[1:], u)
        else:
            observations, inputs = (y,) * (self._memory + 1), (u,) * self._memory
        x = self._coordinates.along(np.stack(observations), np.stack(inputs))[-1]
        return Remembered(x, observations=observations, inputs=inputs)
