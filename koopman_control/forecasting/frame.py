"""Units and memory of a forecaster: from series in the user's units to standardised states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features.base import spread
from koopman_control.forecasting.memory import Memory, memory_of
from koopman_control.forecasting.series import Series
from koopman_control.identification.data.snapshots import Run


@dataclass(frozen=True)
class Frame:
    """Scales measured on the first data, which later data keep.

    Args:
        memory: How states are made.
        center: Means of the outputs, shape (p,).
        scale: Standard deviations of the outputs, shape (p,).
        input_center: Means of the inputs, shape (m,).
        input_scale: Standard deviations of the inputs, shape (m,).
        bounds: Smallest and largest standardised outputs, widened on both sides by the range
            between them, shape (2, p). Forecasts stay within, so that none ever overflows.
    """

    memory: Memory
    center: Array
    scale: Array
    input_center: Array
    input_scale: Array
    bounds: Array

    @classmethod
    def of(cls, data: Sequence[Series], length: int, n_recurrent: int, seed: int) -> Frame:
        """Measure scales on series."""
        Y = np.concatenate([series.Y for series in data])
        U = np.concatenate([series.U for series in data])
        center, scale = Y.mean(axis=0), spread(Y)
        low, high = (Y.min(axis=0) - center) / scale, (Y.max(axis=0) - center) / scale
        return cls(
            memory=memory_of(length, n_recurrent, Y.shape[1], U.shape[1], seed),
            center=center,
            scale=scale,
            input_center=U.mean(axis=0),
            input_scale=spread(U),
            bounds=np.array([2.0 * low - high, 2.0 * high - low]),
        )

    def outputs(self, Y: Array) -> Array:
        """Standardise outputs (..., p)."""
        return (Y - self.center) / self.scale

    def inputs(self, U: Array) -> Array:
        """Standardise inputs (..., m)."""
        return (U - self.input_center) / self.input_scale

    def in_units(self, Y: Array) -> Array:
        """Return standardised outputs (..., p) in the user's units."""
        return Y * self.scale + self.center

    def runs(self, data: Sequence[Series]) -> list[Run]:
        """Read the states of every series that is longer than the memory.

        Raises:
            ValueError: If none is.
        """
        length = self.memory.length
        runs = []
        for series in data:
            if len(series.U) > length:
                U = self.inputs(series.U)
                runs.append(Run(self.memory.along(self.outputs(series.Y), U), U[length:]))
        if not runs:
            raise ValueError(
                f"no series has more than {length + 1} rows, which the memory of {length} needs; "
                "use a shorter memory or longer series"
            )
        return runs
