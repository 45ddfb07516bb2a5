"""What a plan starts from: estimates, disturbance previews, inputs under way, and targets.

`StateEstimation` keeps it up to date; a `Situation` is what a planner is given at a step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, Index, all_finite, finite_array, only_numbers
from koopman_control.common.pickling import portable
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.rollouts import lifted, linear_response
from koopman_control.mpc.estimation import Estimate, Estimator
from koopman_control.mpc.settings import Target
from koopman_control.mpc.weights import Weights, stage_rows, widened


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
class DisturbancePreview:
    """Measured inputs over the horizon: others (N, m), zero in the controlled columns (c,)."""

    others: Array
    controlled: Index

    def joined(self, U: Array, steps: slice | int = slice(None)) -> Array:
        """Complete controlled inputs (..., H, c), or (..., c) of one step, to all inputs."""
        full = np.empty((*U.shape[:-1], self.others.shape[1]))
        full[...] = self.others[steps]
        full[..., self.controlled] = U
        return full

    def moved_on(self) -> DisturbancePreview:
        """Return the preview one step later, the last row held."""
        if not self.others.any():
            return self
        return DisturbancePreview(shifted(self.others), self.controlled)

    def kept(self, Gamma: Array) -> Array:
        """Keep sensitivities (..., H m) to controlled inputs, shape (..., H c)."""
        return columns_of(Gamma, self.controlled, self.others.shape[1])


class InputLayout:
    """Which of the model's inputs are controlled, and the preview of the others.

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
                f"measured is {tuple(measured)}; expected different indices between 0 and "
                f"{n_inputs - 1}, and at least one input left to control"
            )
        self.n_inputs, self.measured = n_inputs, np.array(measured, dtype=np.int64)
        self.controlled = np.array(kept, dtype=np.int64)

    def nothing(self, horizon: int) -> DisturbancePreview:
        """Return a preview of measured inputs that stay at zero."""
        return DisturbancePreview(np.zeros((horizon, self.n_inputs)), self.controlled)

    def preview(self, disturbance: ArrayLike, horizon: int) -> DisturbancePreview:
        """Spread measured inputs, held (k,) or a preview (rows, k), over a horizon.

        Raises:
            ValueError: If the shape is neither, or there is nothing to be measured.
        """
        k = len(self.measured)
        rows = np.atleast_2d(finite_array("disturbance", disturbance))
        if not k or rows.ndim != 2 or rows.shape[1] != k or not len(rows):
            hint = "" if k else "; name the inputs it stands for in Inputs(measured=...)"
            raise ValueError(
                f"disturbance has shape {np.shape(disturbance)}; expected ({k},), held over the "
                f"horizon, or a preview of shape (steps, {k}){hint}"
            )
        others = np.zeros((horizon, self.n_inputs))
        others[:, self.measured] = rows[np.minimum(np.arange(horizon), len(rows) - 1)]
        return DisturbancePreview(others, self.controlled)


class DelayLine:
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


class Start(NamedTuple):
    """Start of a prediction; planned inputs are completed, outputs moved.

    Args:
        x: State, shape (d,).
        z: Lifted state, shape (n,), or None for the lift of x; for linear roll-outs.
        offset: What is added to predicted states, shape (d,), or None for nothing.
        preview: Inputs that are measured, not planned, or None.
        others: What predictions of further models start from, if they differ from the first in more
            than the lift of x.
    """

    x: Array
    z: Array | None = None
    offset: Array | None = None
    preview: DisturbancePreview | None = None
    others: tuple[Start, ...] = ()

    def each(self, n: int) -> list[Start]:
        """Return what each of n models starts from."""
        others = self.others or (self._replace(z=None),) * (n - 1)
        return [self, *others]

    def joined(self, U: Array) -> Array:
        """Complete planned inputs (..., N, c) to inputs of the model."""
        return U if self.preview is None else self.preview.joined(U)

    def kept(self, Gamma: Array) -> Array:
        """Keep sensitivities (..., N m) to planned inputs, shape (..., N c)."""
        return Gamma if self.preview is None else self.preview.kept(Gamma)

    def outputs(self, X: Array) -> Array:
        """Move the model's states (..., d) by the offset."""
        return X if self.offset is None else X + self.offset

    def states(self, Y: Array) -> Array:
        """Move outputs (..., d) back to the model's states."""
        return Y if self.offset is None else Y - self.offset

    def lifted(self, models: Sequence[LiftedModel]) -> Array:
        """Lifted states of all models side by side, shape (n,)."""
        if len(models) == 1:
            return models[0].lift(self.x) if self.z is None else self.z
        pairs = zip(self.each(len(models)), models, strict=True)
        return np.concatenate([own.lifted((model,)) for own, model in pairs])

    def moved(self, response: Array) -> Array | None:
        """What linear predictions (N d,) are moved by: the offset and the response to known inputs.

        None if by nothing.
        """
        if self.offset is None and self.preview is None:
            return None
        shift = np.zeros((len(response) // len(self.x), len(self.x)))
        if self.offset is not None:
            offset = np.concatenate([self.offset, *(own.offset for own in self.others)])
            shift.reshape(-1, len(offset))[:] = offset
        if self.preview is not None:
            shift += (response @ self.preview.others.ravel()).reshape(shift.shape)
        return shift.ravel()

    def linearized(self, model: LiftedModel, U: Array, rollout: Rollout) -> tuple[Array, Array]:
        """Predict outputs (N, d) along one plan (N, c), and differentiate: (N d, N c)."""
        if rollout == "linear":
            Phi, response = linear_response(model.A, model.B, model.C, len(U))
            Gamma = self.kept(response)
            Y, shift = Phi @ self.lifted((model,)) + Gamma @ U.ravel(), self.moved(response)
            return (Y if shift is None else Y + shift).reshape(len(U), -1), Gamma
        X, Gamma = model.linearize(self.x, self.joined(U), rollout)
        return self.outputs(X), self.kept(Gamma)


class Situation(NamedTuple):
    """What a plan depends on at a step.

    Args:
        start: Where prediction starts.
        reference: Target of the predicted states, shape (N, d).
        input_reference: Target of the inputs, shape (N, m).
        previous: Input applied last, shape (m,).
        theta: All parameters of the problem, in the order in which it stacks them.
    """

    start: Start
    reference: Array
    input_reference: Array
    previous: Array
    theta: Array


def predicted_ahead(model: LiftedModel, rollout: Rollout, now: Estimate, U: Array) -> Estimate:
    """Return the estimate after inputs U (k, m): lifted once for a linear roll-out, else re-lifted.

    The offset stays as it is.
    """
    if rollout == "linear":
        z = model.lift(now.x) if now.z is None else now.z
        z = lifted(model.A, model.B, None, z, U[None])[0, -1]
        return replace(now, x=model.C @ z, z=z)
    x = now.x[None]
    for u in U:
        x = model.one_step.step(x, u[None])
    return replace(now, x=x[0], z=None)


class StateEstimation:
    """From observations to what a plan starts from; the memory of an episode.

    Args:
        models: The models; the first one says what observations mean.
        rollout: How they are rolled out.
        estimators: Tell the state: one for all models, or one for each.
        inputs: Which inputs are controlled.
        delay: Steps until an input acts.
        horizon: Number of steps N of a plan.
        rest: Input sent before an episode, shape (c,).

    Attributes:
        nothing: An observation without any entry, shape (p,).
        seen: Latest value of every entry of an observation, NaN before the first; shape (p,).
        ignored: What else was said in the latest step, but was of no use, and why; empty if none.
    """

    def __init__(
        self,
        models: Sequence[LiftedModel],
        rollout: Rollout,
        estimators: Sequence[Estimator],
        inputs: InputLayout,
        delay: int,
        horizon: int,
        rest: Array,
    ) -> None:
        self._models, self._rollout, self._estimators = models, rollout, estimators
        self._layout, self._delay, self._steps = inputs, delay, delay + horizon
        self._delay_line = DelayLine(delay, rest)
        self.nothing = np.full(models[0].coordinates.n_observations, np.nan)
        self.restart()

    def restart(self, rest: Array | None = None) -> None:
        """Begin an episode, at rest under an input (c,), by default the usual one."""
        self._estimates: list[Estimate | None] = [None] * len(self._estimators)
        self.seen = self.nothing
        self._preview = self._acted = self._layout.nothing(self._steps)
        self._delay_line.restart(rest)
        self.ignored = ""

    @property
    def progress(self) -> tuple[Any, ...]:
        """All that changes from step to step."""
        return self._estimates, self.seen, self._preview, self._acted, self._delay_line.sent

    @progress.setter
    def progress(self, before: tuple[Any, ...]) -> None:
        self._estimates, self.seen, self._preview, self._acted, self._delay_line.sent = before

    def _read(self, observation: Any) -> tuple[Array, str]:
        """Convert an observation, NaN where there is none, and say what is wrong with it.

        Raises:
            ValueError: If it is no array of the right shape.
        """
        y = observation_array(observation, self.seen.shape)
        if only_numbers(y):
            return y, ""
        return np.where(np.isfinite(y), y, np.nan), "observation not finite"

    def _take_preview(self, disturbance: ArrayLike | None) -> None:
        """Take a preview of the measured inputs, or move the one before on.

        Raises:
            ValueError: If it has the wrong shape or is not finite; the one before then goes on.
        """
        self._acted = self._preview
        if len(self._layout.measured):
            self._preview = self._preview.moved_on()
        if disturbance is not None:
            self._preview = self._layout.preview(disturbance, self._steps)

    def _observe(self, y: Array) -> bool:
        """Take an observation in; whether there is an estimate to plan from."""
        self._estimates = self._estimated(y)
        self.seen = y if only_numbers(y) else np.where(np.isnan(y), self.seen, y)
        return all([now is not None and now.known for now in self._estimates])

    def take_applied(self, applied: ArrayLike, first: bool) -> Array | None:
        """Take note of what acted in place of the input sent last, (c,), and return it.

        In an episode's first step the plant then rested under it. None if it is of no use.

        Raises:
            TypeError | ValueError: If it is none, in an episode's first step.
        """
        try:
            u = input_that_acted("applied", applied, len(self._layout.controlled))
        except Exception as error:  # what was sent is then taken to have acted
            if first:
                raise
            self.ignored = f"{error}"
            return None
        if first:
            self._delay_line.restart(u)
        else:
            self._delay_line.replace(u)
        return u

    def take_in(self, observation: Any, disturbance: ArrayLike | None, first: bool) -> str:
        """Take in all that is known of the plant; say why, if there is nothing to plan from.

        Raises:
            ValueError: In an episode's first step, if an argument has the wrong shape.
        """
        y, trouble = self.nothing, ""
        try:
            self._take_preview(disturbance)
        except Exception as error:  # the preview before goes on
            if first:
                raise
            self.ignored += f"; {error}" if self.ignored else f"{error}"
        try:
            y, trouble = self._read(observation)
        except ValueError as error:
            if first:
                raise
            trouble = str(error)
        try:
            known = self._observe(y)
        except Exception as error:  # whatever it is, the loop must go on
            return f"{type(error).__name__}: {error}"
        return "" if known else trouble

    def send(self, u: Array) -> None:
        """Send an input, shape (c,)."""
        self._delay_line.send(u)

    @property
    def start(self) -> Start:
        """What a plan starts from now."""
        return self._start(self._estimates)

    def start_at(self, y: Array) -> Start:
        """Say what a plan would start from if y were observed next."""
        return self._start(self._estimated(y))

    def _estimated(self, y: Array) -> list[Estimate | None]:
        u = self._delay_line.acted
        if len(self._layout.measured):
            u = self._acted.joined(u, 0)
        pairs = zip(self._estimators, self._estimates, strict=True)
        return [estimator.update(before, y, u) for estimator, before in pairs]

    def _start(self, estimates: Sequence[Estimate | None]) -> Start:
        known = [now for now in estimates if now is not None]
        if len(known) < len(estimates):
            raise ValueError("observation does not tell the state; expected a complete one first")
        preview = self._preview
        if self._delay:
            known = self._ahead(known)
            preview = DisturbancePreview(preview.others[self._delay :], preview.controlled)
        measured = preview if len(self._layout.measured) else None
        first, *others = [Start(now.x, now.z, now.offset, measured) for now in known]
        return first._replace(others=tuple(others)) if others else first

    def _ahead(self, known: list[Estimate]) -> list[Estimate]:
        """Predict every model over the inputs that are on their way."""
        U = self._preview.joined(self._delay_line.pending, slice(self._delay))
        known = known if len(known) > 1 else known * len(self._models)
        pairs = zip(self._models, known, strict=True)
        return [predicted_ahead(model, self._rollout, now, U) for model, now in pairs]


Rung = Literal["solved", "softened", "shifted", "safe"]


def fallback_inputs(
    plan: Array | None, previous: Array, safe: Array, weights: Weights
) -> tuple[Rung, Array]:
    """Continue a plan (N, m), or go to the safe input (m,); within the bounds in any case.

    Returns:
        Which of the two, and the inputs, shape (N, m).
    """
    box, rate = weights.input_bounds, weights.rate_bounds
    rung: Rung = "safe" if plan is None else "shifted"
    U = np.tile(safe, (box.shape[1], 1)) if plan is None else shifted(plan)
    return rung, within_bounds(U[None], box, rate, previous)[0]


class Refusal(Exception):
    """An argument of an episode's first step is of no use."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


WITHIN = 1.0 - 1e-9  # share of a rate bound that leads back into the box, so that there is a way


def reachable_from(applied: Array, weights: Weights) -> Array:
    """Move inputs (..., m) that acted so near to the box that the next one can be in it."""
    reach, (low, high) = WITHIN * weights.rate_bounds, weights.input_bounds[:, 0]
    return np.clip(applied, low - reach, high + reach)


def observation_array(observation: Any, expected: tuple[int, ...]) -> Array:
    """Copy an observation, which some plants use again, as numbers; they may be NaN or infinite.

    Raises:
        ValueError: If it is no array of the shape expected.
    """
    try:
        y = np.array(observation, dtype=np.float64)
    except Exception as error:  # foreign types may raise whatever they like
        raise ValueError(
            f"observation is {type(observation).__name__}, {error}; expected {expected[0]} numbers"
        ) from None
    if y.shape != expected:
        raise ValueError(f"observation has shape {y.shape}; expected {expected}")
    return y


def input_that_acted(name: str, value: ArrayLike, size: int) -> Array:
    """Check an input (size,) that somebody else applied; returns a copy.

    Raises:
        TypeError | ValueError: If it is no finite array of that shape.
    """
    try:
        return finite_array(name, value, shape=(size,)).copy()
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{error}; give what acted on the plant, one number for each of the {size} controlled "
            "inputs"
        ) from None


class NothingAskedError(Exception):
    """A target's function returned None: the plant is to be left alone."""


class TargetRows:
    """A target over the horizon, one row for each of the N steps ahead.

    Args:
        name: What the user calls it.
        target: A number, a row (d,), rows (N, d), a whole trajectory (T, d) with T > N, or a
            function of the observation that returns one of the first three, or None where the
            plant is to be left alone.
        horizon: Number of rows N.
        size: Length d of a row.
        width: Length to which rows are filled up with zeros; None: they are complete.
        copies: How often each row is then repeated, side by side.

    Raises:
        ValueError: If a target that is no function has the wrong shape.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        horizon: int,
        size: int,
        width: int | None = None,
        copies: int = 1,
    ) -> None:
        self._name, self._horizon, self._size = name, horizon, size
        self._width, self._copies = width or size, copies
        self._function = target if callable(target) else None
        self._rows = np.zeros((horizon, self._width * copies))
        self._last_start = 0  # window from which on nothing changes any more
        if not callable(target):
            self._rows = self._trajectory(target)
            self._last_start = len(self._rows) - horizon

    def __getstate__(self) -> dict[str, Any]:
        """Let a lambda travel to another process, too."""
        return {**vars(self), "_function": portable(self._function)}

    def __call__(self, observation: Array, step: int) -> Array:
        """Evaluate for an observation (p,), `step` steps into the episode; a row per step.

        Raises:
            NothingAskedError: If the target is a function that returned None.
        """
        if self._function is not None:
            value = self._function(observation.copy())  # it may do with it what it likes
            if value is None:
                raise NothingAskedError(f"{self._name} is None")
            return value if self._is_filled(value) else self._filled(value, self._horizon)
        start = min(step, self._last_start)
        return self._rows[start : start + self._horizon]

    def each(self, observations: Array, steps: Index) -> tuple[Array, NDArray[np.bool_]]:
        """Evaluate for observations (S, p), each at its step (S,); shape (S, N, width).

        Also returns for which of them anything is asked at all, shape (S,).
        """
        asked = np.ones(len(steps), dtype=bool)
        if self._function is None:
            starts = np.minimum(steps, self._last_start)
            return self._rows[starts[:, None] + np.arange(self._horizon)], asked
        rows = np.zeros((len(steps), *self._rows.shape))
        for i, (y, step) in enumerate(zip(observations, steps.tolist(), strict=True)):
            try:
                rows[i] = self(y, step)
            except NothingAskedError:
                asked[i] = False
        return rows, asked

    def at_rest(self) -> TargetRows:
        """Return a target of the same shape that calls no function, but is zero in its place."""
        resting = copy.copy(self)
        resting._function = None
        return resting

    @property
    def rest(self) -> Array:
        """Last row once, zero for a function; shape (width,)."""
        return np.asarray(self._rows[-1, : self._width])

    @property
    def values(self) -> Array:
        """All rows, zero for a function; shape (T, width * copies)."""
        return self._rows

    @property
    def constant(self) -> bool:
        """Whether it is the same at every step, whatever is observed."""
        return self._function is None and bool((self._rows == self._rows[-1]).all())

    def _trajectory(self, value: ArrayLike) -> Array:
        """Spread over the horizon; beyond its end, a trajectory's last row is held."""
        given = finite_array(self._name, value)
        if given.ndim != 2 or len(given) <= self._horizon:
            return self._filled(given, self._horizon)
        rows = self._filled(given, len(given))
        return np.concatenate([rows, np.repeat(rows[-1:], self._horizon - 1, axis=0)])

    def _is_filled(self, value: ArrayLike) -> TypeGuard[Array]:
        """Whether a value is what `_filled` would make of it; most are, and checking is slow."""
        if not isinstance(value, np.ndarray) or value.dtype != np.float64:
            return False
        return value.shape == self._rows.shape and all_finite(value.ravel())

    def _filled(self, value: ArrayLike, length: int) -> Array:
        rows = stage_rows(self._name, value, self._size, length)
        rows = rows if self._width == self._size else widened(rows, self._width)
        return rows if self._copies == 1 else np.tile(rows, self._copies)
