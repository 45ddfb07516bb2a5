"""What the controller sees: observations, estimates, forecasts, inputs that are on their way."""

from __future__ import annotations

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
        model: The model.
        rollout: How it is rolled out.
        estimator: Tells the state.
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
        model: LiftedModel,
        rollout: Rollout,
        estimator: Estimator,
        inputs: InputLayout,
        delay: int,
        horizon: int,
        rest: Array,
    ) -> None:
        self._model, self._rollout, self._estimator = model, rollout, estimator
        self._layout, self._delay, self._steps = inputs, delay, delay + horizon
        self._pipeline = Pipeline(delay, rest)
        self.nothing = np.full(model.coordinates.n_observations, np.nan)
        self.restart()

    def restart(self) -> None:
        """Begin an episode."""
        self._estimate: Estimate | None = None
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
        self._estimate = self._estimated(y)
        self.seen = y if only_numbers(y) else np.where(np.isnan(y), self.seen, y)
        return self._estimate is not None and self._estimate.known

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
        return self._start(self._estimate)

    def start_at(self, y: Array) -> Start:
        """Say what a plan would start from if y were observed next."""
        return self._start(self._estimated(y))

    def _estimated(self, y: Array) -> Estimate | None:
        u = self._pipeline.acted
        if len(self._layout.measured):
            u = self._acted.joined(u, 0)
        return self._estimator.update(self._estimate, y, u)

    def _start(self, now: Estimate | None) -> Start:
        if now is None:
            raise ValueError("observation does not tell the state; expected a complete one first")
        forecast = self._forecast
        if self._delay:
            U = forecast.joined(self._pipeline.pending, slice(self._delay))
            now = ahead(self._model, self._rollout, now, U)
            forecast = Forecast(forecast.others[self._delay :], forecast.controlled)
        known = forecast if len(self._layout.measured) else None
        return Start(now.x, now.z, now.offset, known)
