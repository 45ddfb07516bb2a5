"""What a plan starts from: observations, estimates, forecasts and inputs that are on their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, only_numbers
from koopman_control.identification import LiftedModel, Rollout, lifted, linear_response
from koopman_control.mpc.estimation import Estimator
from koopman_control.mpc.estimation.base import Estimate
from koopman_control.mpc.inputs import Forecast, InputLayout, Pipeline


class Start(NamedTuple):
    """Start of a prediction; planned inputs are completed, outputs moved.

    Args:
        x: State, shape (d,).
        z: Lifted state, shape (n,), or None for the lift of x; for linear roll-outs.
        offset: What is added to predicted states, shape (d,), or None for nothing.
        forecast: Inputs that are measured, not planned, or None.
        others: What predictions of further models start from, if they differ from the first in more
            than the lift of x.
    """

    x: Array
    z: Array | None = None
    offset: Array | None = None
    forecast: Forecast | None = None
    others: tuple[Start, ...] = ()

    def each(self, n: int) -> list[Start]:
        """Return what each of n models starts from."""
        others = self.others or (self._replace(z=None),) * (n - 1)
        return [self, *others]

    def joined(self, U: Array) -> Array:
        """Complete planned inputs (..., N, c) to inputs of the model."""
        return U if self.forecast is None else self.forecast.joined(U)

    def kept(self, Gamma: Array) -> Array:
        """Keep sensitivities (..., N m) to planned inputs, shape (..., N c)."""
        return Gamma if self.forecast is None else self.forecast.kept(Gamma)

    def outputs(self, X: Array) -> Array:
        """Move the model's states (..., d) by the offset."""
        return X if self.offset is None else X + self.offset

    def states(self, Y: Array) -> Array:
        """Move outputs (..., d) back to the model's states."""
        return Y if self.offset is None else Y - self.offset

    def lifted(self, model: LiftedModel) -> Array:
        """Lifted state, shape (n,)."""
        return model.lift(self.x) if self.z is None else self.z

    def moved(self, response: Array) -> Array | None:
        """What linear predictions (N d,) are moved by: the offset and the response to known inputs.

        None if by nothing.
        """
        if self.offset is None and self.forecast is None:
            return None
        shift = np.zeros((len(response) // len(self.x), len(self.x)))
        if self.offset is not None:
            offset = np.concatenate([self.offset, *(own.offset for own in self.others)])
            shift.reshape(-1, len(offset))[:] = offset
        if self.forecast is not None:
            shift += (response @ self.forecast.others.ravel()).reshape(shift.shape)
        return shift.ravel()

    def linearized(self, model: LiftedModel, U: Array, rollout: Rollout) -> tuple[Array, Array]:
        """Predict outputs (N, d) along one plan (N, c), and differentiate: (N d, N c)."""
        if rollout == "linear":
            Phi, response = linear_response(model.A, model.B, model.C, len(U))
            Gamma = self.kept(response)
            Y, shift = Phi @ self.lifted(model) + Gamma @ U.ravel(), self.moved(response)
            return (Y if shift is None else Y + shift).reshape(len(U), -1), Gamma
        X, Gamma = model.linearize(self.x, self.joined(U), rollout)
        return self.outputs(X), self.kept(Gamma)


def ahead(model: LiftedModel, rollout: Rollout, now: Estimate, U: Array) -> Estimate:
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


class Sight:
    """From observations to what a plan starts from.

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
        self._pipeline = Pipeline(delay, rest)
        self.nothing = np.full(models[0].coordinates.n_observations, np.nan)
        self.restart()

    def restart(self, rest: Array | None = None) -> None:
        """Begin an episode, at rest under an input (c,), by default the usual one."""
        self._estimates: list[Estimate | None] = [None] * len(self._estimators)
        self.seen = self.nothing
        self._forecast = self._acted = self._layout.nothing(self._steps)
        self._pipeline.restart(rest)
        self.ignored = ""

    @property
    def progress(self) -> tuple[Any, ...]:
        """All that changes from step to step."""
        return self._estimates, self.seen, self._forecast, self._acted, self._pipeline.sent

    @progress.setter
    def progress(self, before: tuple[Any, ...]) -> None:
        self._estimates, self.seen, self._forecast, self._acted, self._pipeline.sent = before

    def read(self, observation: Any) -> tuple[Array, str]:
        """Convert an observation, NaN where there is none, and say what is wrong with it.

        Raises:
            ValueError: If it is no array of the right shape.
        """
        expected = self.seen.shape
        try:
            y = np.array(observation, dtype=np.float64)  # a copy: some plants use theirs again
        except Exception as error:  # foreign types may raise whatever they like
            raise ValueError(
                f"observation is {type(observation).__name__}, {error}; expected {expected[0]} "
                "numbers"
            ) from None
        if y.shape != expected:
            raise ValueError(f"observation has shape {y.shape}; expected {expected}")
        if only_numbers(y):
            return y, ""
        return np.where(np.isfinite(y), y, np.nan), "observation not finite"

    def foresee(self, disturbance: ArrayLike | None) -> None:
        """Take a forecast of the measured inputs, or move the one before on.

        Raises:
            ValueError: If it has the wrong shape or is not finite; the one before then goes on.
        """
        self._acted = self._forecast
        if len(self._layout.measured):
            self._forecast = self._forecast.moved_on()
        if disturbance is not None:
            self._forecast = self._layout.forecast(disturbance, self._steps)

    def observe(self, y: Array) -> bool:
        """Take an observation in; whether there is an estimate to plan from."""
        self._estimates = self._estimated(y)
        self.seen = y if only_numbers(y) else np.where(np.isnan(y), self.seen, y)
        return all([now is not None and now.known for now in self._estimates])

    def told(self, applied: ArrayLike, first: bool) -> Array | None:
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
            self._pipeline.restart(u)
        else:
            self._pipeline.replace(u)
        return u

    def look(self, observation: Any, disturbance: ArrayLike | None, first: bool) -> str:
        """Take in all that is known of the plant; say why, if there is nothing to plan from.

        Raises:
            ValueError: In an episode's first step, if an argument has the wrong shape.
        """
        y, trouble = self.nothing, ""
        try:
            self.foresee(disturbance)
        except Exception as error:  # the forecast before goes on
            if first:
                raise
            self.ignored += f"; {error}" if self.ignored else f"{error}"
        try:
            y, trouble = self.read(observation)
        except ValueError as error:
            if first:
                raise
            trouble = str(error)
        try:
            known = self.observe(y)
        except Exception as error:  # whatever it is, the loop must go on
            return f"{type(error).__name__}: {error}"
        return "" if known else trouble

    def send(self, u: Array) -> None:
        """Send an input, shape (c,)."""
        self._pipeline.send(u)

    @property
    def start(self) -> Start:
        """What a plan starts from now."""
        return self._start(self._estimates)

    def start_at(self, y: Array) -> Start:
        """Say what a plan would start from if y were observed next."""
        return self._start(self._estimated(y))

    def _estimated(self, y: Array) -> list[Estimate | None]:
        u = self._pipeline.acted
        if len(self._layout.measured):
            u = self._acted.joined(u, 0)
        pairs = zip(self._estimators, self._estimates, strict=True)
        return [estimator.update(before, y, u) for estimator, before in pairs]

    def _start(self, estimates: Sequence[Estimate | None]) -> Start:
        known = [now for now in estimates if now is not None]
        if len(known) < len(estimates):
            raise ValueError("observation does not tell the state; expected a complete one first")
        forecast = self._forecast
        if self._delay:
            known = self._ahead(known)
            forecast = Forecast(forecast.others[self._delay :], forecast.controlled)
        measured = forecast if len(self._layout.measured) else None
        first, *others = [Start(now.x, now.z, now.offset, measured) for now in known]
        return first._replace(others=tuple(others)) if others else first

    def _ahead(self, known: list[Estimate]) -> list[Estimate]:
        """Predict every model over the inputs that are on their way."""
        U = self._forecast.joined(self._pipeline.pending, slice(self._delay))
        known = known if len(known) > 1 else known * len(self._models)
        pairs = zip(self._models, known, strict=True)
        return [ahead(model, self._rollout, now, U) for model, now in pairs]


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
