"""Inputs of the model that are commanded, that are only measured, and that are on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, Index, finite_array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.planning.guesses import shifted


def columns_of(Gamma: Array, controlled: Index, n_inputs: int) -> Array:
    """Keep sensitivities (..., H n_inputs) to some inputs (c,), shape (..., H c)."""
    if len(controlled) == n_inputs:
        return Gamma
    by_input = Gamma.reshape(*Gamma.shape[:-1], -1, n_inputs)
    return np.asarray(by_input[..., controlled].reshape(*Gamma.shape[:-1], -1))


@dataclass(frozen=True)
class Forecast:
    """Measured inputs over the horizon: others (N, m), zero in the controlled columns (c,)."""

    others: Array
    controlled: Index

    def joined(self, U: Array, steps: slice | int = slice(None)) -> Array:
        """Complete controlled inputs (..., H, c), or (..., c) of one step, to all inputs."""
        full = np.empty((*U.shape[:-1], self.others.shape[1]))
        full[...] = self.others[steps]
        full[..., self.controlled] = U
        return full

    def moved_on(self) -> Forecast:
        """Forecast one step later, the last row held."""
        if not self.others.any():
            return self
        return Forecast(shifted(self.others), self.controlled)

    def kept(self, Gamma: Array) -> Array:
        """Keep sensitivities (..., H m) to controlled inputs, shape (..., H c)."""
        return columns_of(Gamma, self.controlled, self.others.shape[1])


class InputLayout:
    """Which of the model's inputs are controlled, and the forecast of the others.

    Args:
        n_inputs: Number of the model's inputs m.
        measured: Those that are measured rather than controlled.

    Raises:
        ValueError: If an index is out of range, repeated, or none is left to control.
    """

    def __init__(self, n_inputs: int, measured: Sequence[int]) -> None:
        kept = [i for i in range(n_inputs) if i not in tuple(measured)]
        if len(kept) + len(measured) != n_inputs or not kept:
            raise ValueError(
                f"measured_inputs is {tuple(measured)}; expected different indices between 0 and "
                f"{n_inputs - 1}, and at least one input left to control"
            )
        self.n_inputs, self.measured = n_inputs, np.array(measured, dtype=np.int64)
        self.controlled = np.array(kept, dtype=np.int64)

    def bounds(self, model: LiftedModel) -> Array | None:
        """Action bounds of the controlled inputs, shape (2, c), where the model has any."""
        bounds = model.action_bounds
        return None if bounds is None else bounds[:, self.controlled]

    def nothing(self, horizon: int) -> Forecast:
        """Forecast of measured inputs that stay at zero."""
        return Forecast(np.zeros((horizon, self.n_inputs)), self.controlled)

    def forecast(self, disturbance: ArrayLike, horizon: int) -> Forecast:
        """Spread measured inputs, held (k,) or a preview (rows, k), over a horizon.

        Raises:
            ValueError: If the shape is neither, or there is nothing to be measured.
        """
        k = len(self.measured)
        rows = np.atleast_2d(finite_array("disturbance", disturbance))
        if not k or rows.ndim != 2 or rows.shape[1] != k or not len(rows):
            hint = "" if k else "; name the inputs it stands for in measured_inputs"
            raise ValueError(
                f"disturbance has shape {np.shape(disturbance)}; expected ({k},), held over the "
                f"horizon, or a preview of shape (steps, {k}){hint}"
            )
        others = np.zeros((horizon, self.n_inputs))
        others[:, self.measured] = rows[np.minimum(np.arange(horizon), len(rows) - 1)]
        return Forecast(others, self.controlled)


class Pipeline:
    """Inputs that were sent and have not acted yet, oldest first.

    Args:
        delay: Steps until an input acts.
        rest: Input sent before an episode, shape (c,).
    """

    def __init__(self, delay: int, rest: Array) -> None:
        self._rest = rest
        self._sent: deque[Array] = deque(maxlen=delay + 1)
        self.restart()

    def restart(self) -> None:
        """Begin an episode."""
        self._sent.extend([self._rest] * (self._sent.maxlen or 1))

    def send(self, u: Array) -> None:
        """Send an input, shape (c,)."""
        self._sent.append(u)

    @property
    def acted(self) -> Array:
        """Input that acted in the last step, shape (c,)."""
        return self._sent[0]

    @property
    def pending(self) -> Array:
        """Inputs that will act in the next steps whatever is planned, shape (delay, c)."""
        return np.array(list(self._sent)[1:]).reshape(-1, len(self._rest))
