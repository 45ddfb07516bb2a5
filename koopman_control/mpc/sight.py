"""What the controller sees: observations, estimates, forecasts, inputs that are on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, only_numbers
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.estimation import Estimate, Estimator
from koopman_control.mpc.estimation.ahead import ahead
from koopman_control.mpc.inputs import Forecast, InputLayout, Pipeline
from koopman_control.mpc.start import Start


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

    def restart(self) -> None:
        """Begin an episode."""
        self._estimates: list[Estimate | None] = [None] * len(self._estimators)
        self.seen = self.nothing
        self._forecast = self._acted = self._layout.nothing(self._steps)
        self._pipeline.restart()

    def read(self, observation: Any) -> tuple[Array, str]:
        """Convert an observation, NaN where there is none, and say what is wrong with it.

        Raises:
            ValueError: If it is no array of the right shape.
        """
        expected = self.seen.shape
        try:
            y = np.asarray(observation, dtype=np.float64)
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

    def look(self, observation: Any, disturbance: ArrayLike | None, first: bool) -> str:
        """Take in all that is known of the plant; say why, if there is nothing to plan from.

        Raises:
            ValueError: In an episode's first step, if an argument has the wrong shape.
        """
        y, trouble = self.nothing, ""
        try:
            self.foresee(disturbance)
        except Exception:  # the forecast before goes on
            if first:
                raise
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
