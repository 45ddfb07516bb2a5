"""What a forecaster remembers, and its units.

Past samples themselves, or a recurrent state driven by them; `Scaling` takes series in the user's
units to standardised states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import spread
from koopman_control.forecasting.series import Series
from koopman_control.identification.snapshots import Run

RECURRENT_GAIN = 0.5  # spectral norm of the recurrent weights; below 1 every start is forgotten
FORGOTTEN = 20.0  # time constants' worth of leaking within the memory; at this gain e^-10 is left


class Memory(Protocol):
    """How a state x of d numbers is made from outputs y (p of them) and inputs u (m)."""

    @property
    def length(self) -> int:
        """Number of past steps that a state needs."""

    def along(self, Y: Array, U: Array) -> Array:
        """Return states (T + 1 - length, d) along outputs (T + 1, p) and inputs (T, m)."""

    def last(self, Y: Array, U: Array) -> Array:
        """Return states (S, d) after histories (S, length + 1, p) and inputs (S, length, m)."""

    def advanced(self, x: Array, u: Array, y_next: Array) -> Array:
        """Return the next states (S, d), given inputs (S, m) and next outputs (S, p)."""


@dataclass(frozen=True)
class DelayMemory:
    """Past outputs, as differences from step to step, and past inputs.

    x = [y_t, y_t - y_t-1, ..., y_t-l+1 - y_t-l, u_t-1, ..., u_t-l]. Differences keep the columns
    apart where the time step is small.

    Args:
        length: Number of past steps l.
        n_outputs: Number of outputs p.
        n_inputs: Number of inputs m.
    """

    length: int
    n_outputs: int
    n_inputs: int

    def along(self, Y: Array, U: Array) -> Array:
        """Return states (T + 1 - length, d) along outputs (T + 1, p) and inputs (T, m)."""
        if not self.length:
            return Y
        windows = np.lib.stride_tricks.sliding_window_view
        past = windows(U, self.length, axis=0)  # (T - length + 1, m, length)
        return self.last(windows(Y, self.length + 1, axis=0).swapaxes(1, 2), past.swapaxes(1, 2))

    def last(self, Y: Array, U: Array) -> Array:
        """Return states (S, d) after histories (S, length + 1, p) and inputs (S, length, m)."""
        steps = np.diff(Y, axis=1)[:, ::-1].reshape(len(Y), -1)
        return np.concatenate([Y[:, -1], steps, U[:, ::-1].reshape(len(Y), -1)], axis=1)

    def advanced(self, x: Array, u: Array, y_next: Array) -> Array:
        """Return the next states (S, d), given inputs (S, m) and next outputs (S, p)."""
        if not self.length:
            return y_next
        p, edge = self.n_outputs, self.n_outputs * (1 + self.length)
        steps, inputs = x[:, p : edge - p], x[:, edge : x.shape[1] - self.n_inputs]
        return np.concatenate([y_next, y_next - x[:, :p], steps, u, inputs], axis=1)


@dataclass(frozen=True)
class RecurrentMemory:
    """A random recurrent layer: h_t+1 = (1 - a) h_t + a tanh(V h_t + W y_t+1 + B u_t).

    The leaks a run from 1 (no memory of its own) to `FORGOTTEN` / length, so the layer holds both
    recent and older values; x = [y_t, h_t].

    Args:
        length: Number of past steps after which a start is forgotten.
        leak: a, shape (r,).
        V: Recurrent weights, shape (r, r).
        W: Weights of the outputs, shape (r, p).
        B: Weights of the inputs, shape (r, m).
    """

    length: int
    leak: Array
    V: Array
    W: Array
    B: Array

    @classmethod
    def drawn(cls, length: int, size: int, n_outputs: int, n_inputs: int, seed: int) -> Memory:
        """Draw a layer of `size` neurons."""
        rng = np.random.default_rng(seed)
        V = rng.standard_normal((size, size))
        V *= RECURRENT_GAIN / np.linalg.norm(V, 2)
        drive = rng.standard_normal((size, n_outputs + n_inputs)) / np.sqrt(n_outputs + n_inputs)
        leak = np.geomspace(1.0, min(1.0, FORGOTTEN / length), size)
        return cls(length, leak, V, drive[:, :n_outputs], drive[:, n_outputs:])

    def along(self, Y: Array, U: Array) -> Array:
        """Return states (T + 1 - length, d) along outputs (T + 1, p) and inputs (T, m)."""
        driven = self._driven(Y[None], U[None])
        return np.concatenate([Y, driven[0]], axis=1)[self.length :]

    def last(self, Y: Array, U: Array) -> Array:
        """Return states (S, d) after histories (S, length + 1, p) and inputs (S, length, m)."""
        return np.concatenate([Y[:, -1], self._driven(Y, U)[:, -1]], axis=1)

    def advanced(self, x: Array, u: Array, y_next: Array) -> Array:
        """Return the next states (S, d), given inputs (S, m) and next outputs (S, p)."""
        h = x[:, self.W.shape[1] :]
        return np.concatenate([y_next, self._next(h, u, y_next)], axis=1)

    def _next(self, h: Array, u: Array, y_next: Array) -> Array:
        driven = np.tanh(h @ self.V.T + y_next @ self.W.T + u @ self.B.T)
        return (1.0 - self.leak) * h + self.leak * driven

    def _driven(self, Y: Array, U: Array) -> Array:
        """Run from rest through Y (S, T + 1, p) and U (S, T, m); returns (S, T + 1, r)."""
        H = np.empty((*Y.shape[:2], len(self.leak)))
        h, u = np.zeros((len(Y), len(self.leak))), np.zeros((len(Y), U.shape[2]))
        for t in range(Y.shape[1]):
            h = self._next(h, u, Y[:, t])
            H[:, t] = h
            u = U[:, t] if t < U.shape[1] else u
        return H


def memory_of(length: int, n_recurrent: int, p: int, m: int, seed: int) -> Memory:
    """Choose the kind of memory: delays, or a recurrent layer of `n_recurrent` neurons."""
    if n_recurrent:
        return RecurrentMemory.drawn(length, n_recurrent, p, m, seed)
    return DelayMemory(length, p, m)


@dataclass(frozen=True)
class Scaling:
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
    def of(cls, data: Sequence[Series], length: int, n_recurrent: int, seed: int) -> Scaling:
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
