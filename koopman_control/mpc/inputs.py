"""Inputs: controlled, measured or on their way; plans of them, moved on, bounded, parametrised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from koopman_control.common.arrays import Array, Index, finite_array, positive_int
from koopman_control.common.border import CheckedFields, checked
from koopman_control.identification import LiftedModel

PERIODS = (6.0, 60.0)  # of the switching signals, in steps
AMPLITUDES = (0.25, 0.5, 1.0, 1.0)  # share of the input box


def switching(n: int, horizon: int, box: Array, rng: np.random.Generator) -> Array:
    """Draw n plans that switch between two levels in every input, shape (n, horizon, m).

    Optimal inputs of underactuated plants are nearly bang-bang; period, phase and amplitude are
    random. `box` of shape (2, m) must be finite.
    """
    m = box.shape[1]
    period = rng.uniform(*PERIODS, (n, 1, m))
    phase = rng.uniform(0.0, 1.0, (n, 1, m))
    amplitude = rng.choice(AMPLITUDES, (n, 1, m))
    wave = np.sign(np.sin(2.0 * np.pi * (np.arange(horizon)[:, None] / period + phase)))
    middle, half = 0.5 * (box[0] + box[1]), 0.5 * (box[1] - box[0])
    return np.asarray(middle + half * amplitude * wave)


def shifted(plan: Array) -> Array:
    """Move plans (..., N, m), or whatever has a row for each step, on by one; hold the last row."""
    return np.concatenate([plan[..., 1:, :], plan[..., -1:, :]], axis=-2)


def within_bounds(plans: Array, box: Array, rate: Array, previous: Array) -> Array:
    """Clip plans (S, N, m) to the input box and, from the previous input on, to the rate bounds."""
    plans = np.clip(plans, box[0], box[1])
    if np.isfinite(rate).any():
        before = previous
        for k in range(plans.shape[1]):
            plans[:, k] = before = np.clip(plans[:, k], before - rate, before + rate)
    return plans


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

    Attributes:
        sent: The inputs, the one that acted in the last step first.
    """

    def __init__(self, delay: int, rest: Array) -> None:
        self._rest, self._delay = rest, delay
        self.restart()

    def restart(self, rest: Array | None = None) -> None:
        """Begin an episode, after another input (c,) than usual, if it is given."""
        self.sent = (self._rest if rest is None else rest,) * (self._delay + 1)

    def send(self, u: Array) -> None:
        """Send an input, shape (c,)."""
        self.sent = (*self.sent[1:], u)

    def replace(self, u: Array) -> None:
        """Take note that another input (c,) was sent last."""
        self.sent = (*self.sent[:-1], u)

    @property
    def acted(self) -> Array:
        """Input that acted in the last step, shape (c,)."""
        return self.sent[0]

    @property
    def pending(self) -> Array:
        """Inputs that will act in the next steps whatever is planned, shape (delay, c)."""
        return np.array(self.sent[1:]).reshape(-1, len(self._rest))


@dataclass(frozen=True)
class Blocks(CheckedFields):
    """Inputs held constant over blocks of steps ("move blocking").

    Args:
        lengths: Steps in each block; the last block lasts to the end of the horizon, so that
            `Blocks([1] * n)` is a control horizon of n steps. A number asks for that many blocks,
            short at first and growing.

    Example:
        >>> Blocks([1, 2]).matrix(4)
        array([[1., 0.],
               [0., 1.],
               [0., 1.],
               [0., 1.]])
    """

    lengths: int | Sequence[int]

    @checked
    def matrix(self, horizon: int) -> Array:
        """Weights of the free values in every step, shape (horizon, values)."""
        if isinstance(self.lengths, int):
            starts = _growing(horizon, _count("lengths", self.lengths, horizon))[:-1]
        else:
            lengths = [positive_int("lengths", n) for n in self.lengths]
            starts = np.cumsum([0, *lengths])[:-1]
            if not lengths or starts[-1] >= horizon:
                raise ValueError(
                    f"lengths is {self.lengths}; expected blocks that begin within the horizon of "
                    f"{horizon} steps"
                )
        block = np.searchsorted(starts, np.arange(horizon), side="right") - 1
        return np.asarray(np.eye(len(starts))[block])


@dataclass(frozen=True)
class Knots(CheckedFields):
    """Inputs linear between knots (a first-order hold in the plan).

    Args:
        steps: Steps at which the knots lie, the first 0; the last input is held from the last knot
            on. A number, at least 2, asks for that many knots, dense at first, the last one at the
            end of the horizon.

    Example:
        >>> Knots([0, 2]).matrix(4)
        array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ],
               [0. , 1. ]])
    """

    steps: int | Sequence[int]

    @checked
    def matrix(self, horizon: int) -> Array:
        """Weights of the free values in every step, shape (horizon, values)."""
        if isinstance(self.steps, int):
            count = _count("steps", self.steps, horizon)
            steps = _growing(horizon - 1, count - 1) if count > 1 else np.zeros(1, dtype=np.int64)
        else:
            steps = np.asarray(self.steps)
            rising = steps.ndim == 1 and len(steps) and steps[0] == 0 and np.all(np.diff(steps) > 0)
            if steps.dtype.kind != "i" or not rising or steps[-1] >= horizon:
                raise ValueError(
                    f"steps is {self.steps}; expected rising whole numbers from 0 to at most "
                    f"{horizon - 1}, the last step of the horizon"
                )
        return np.stack(
            [np.interp(np.arange(horizon), steps, unit) for unit in np.eye(len(steps))]
        ).T


def _count(name: str, value: int, horizon: int) -> int:
    if not 1 <= value <= horizon:
        raise ValueError(f"{name} is {value}; expected between 1 and the horizon, {horizon}")
    return value


def _growing(total: int, parts: int) -> Index:
    """Cut 0 ... total into parts of whole, geometrically growing length; returns the cuts."""

    def excess(ratio: float) -> float:
        return float(np.sum(ratio ** np.arange(parts))) - total

    if parts == 1:  # of any ratio
        return np.array([0, total])
    ratio = 1.0 if parts == total else brentq(excess, 1.0, float(total) + 1.0)
    cuts = np.concatenate([[0.0], np.cumsum(ratio ** np.arange(parts))])
    return np.floor(cuts + 0.5).astype(np.int64)
