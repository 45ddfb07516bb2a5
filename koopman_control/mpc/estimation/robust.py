"""The filter for the noise that a model was fitted with: a Kalman filter that doubts glitches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.compiled_rollouts import CompiledRollOut, compiled_roll_out
from koopman_control.identification.smoother import step_noise
from koopman_control.mpc.estimation.base import Estimate, Estimator, History, Observer
from koopman_control.mpc.estimation.kalman import (
    ExtendedFilter,
    Uncertain,
    corrected_root,
    predicted_root,
)

DOUBTFUL = 5.0  # standard deviations of an innovation


@dataclass(frozen=True)
class Doubting(Uncertain):
    """An estimate, and the entries (p,) that were left out because they stood out so far."""

    root: Array = field(default_factory=lambda: np.zeros((0, 0)))
    doubted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))


class RobustFilter(ExtendedFilter):
    """An extended Kalman filter on the re-lifted map, whatever the roll-out that plans.

    An entry that stands out is left out once, as a glitch of its sensor. If the next one stands
    out as well, the plant has done what no model says: it is believed, and the state before is not.

    Args: those of `ExtendedFilter`.
    """

    def __init__(self, model: LiftedModel, noise: Array, measurement: Array, offset: Array) -> None:
        super().__init__(model, noise, measurement, offset)
        self._fast = compiled_roll_out(model.one_step)
        self._roots = np.ascontiguousarray(self._noise), np.ascontiguousarray(self._R_root)
        self._limits = np.ascontiguousarray(model.limits)
        self._turning = model.coordinates.is_angle[: self._sensor.size].copy()
        if self._fast is not None:
            d, p = model.n_states, self._sensor.size
            nobody = Doubting(np.zeros(d), root=np.eye(d), doubted=np.zeros(p, dtype=bool))
            self._corrected(self._fast, nobody, np.zeros(p), np.zeros(self._fast.n_inputs))

    @classmethod
    def for_noise_of(cls, model: LiftedModel) -> Self:
        """Make one for a model that knows the noise of its states."""
        noise = model.signals.noise
        assert noise is not None  # for the type checker
        return cls.of(model, step_noise(model, noise[1] ** 2), np.diag(noise[0] ** 2), None)

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Predict by one step and correct by what can be believed; see `Estimator`."""
        if not isinstance(before, Doubting):
            first = super().update(None, y, u)
            if not isinstance(first, Uncertain):
                return first
            nobody = np.zeros(self._sensor.size, dtype=bool)
            return Doubting(first.x, root=np.asarray(first.root), doubted=nobody)
        if self._fast is not None:
            return self._corrected(self._fast, before, self._sensor.read(y), u)
        model, p = self._model, self._sensor.size
        x = model.one_step.step(before.x[None], u[None])[0]
        (F,), _ = model.one_step.jacobians(before.x[None], u[None])
        root = predicted_root(before.root, F, self._noise)
        miss = self._sensor.innovation(self._sensor.read(y), x[:p])
        size = np.sqrt((root[:p] ** 2).sum(axis=1) + (self._R_root**2).sum(axis=1))
        far = np.abs(np.nan_to_num(miss)) > DOUBTFUL * size
        again = far & before.doubted
        if again.any():
            root = root * np.max(np.abs(miss / size)[again])
        there = ~np.isnan(miss) & (again.any() | ~far)
        if there.any():
            gain, root = corrected_root(root, self._H[there], self._R_root[there])
            low, high = model.limits
            x = np.minimum(np.maximum(x + gain @ miss[there], low), high)
        return Doubting(x, root=root, doubted=far & ~again)

    def _corrected(
        self, fast: CompiledRollOut, before: Doubting, measured: Array, u: Array
    ) -> Doubting:
        """Do the same in compiled loops; those are made at the first call."""
        from koopman_control.mpc.estimation.robust_loops import correct

        x, F = fast.step(before.x, u)
        root, doubted = correct(
            x,
            F,
            before.root,
            self._roots,
            np.ascontiguousarray(measured),
            self._turning,
            before.doubted,
            DOUBTFUL,
            self._limits,
        )
        return Doubting(x, root=root, doubted=doubted)


def estimators_for(
    models: Sequence[LiftedModel], rollout: Rollout, observer: Observer | Literal["auto"] | None
) -> tuple[Estimator, ...]:
    """Make what tells the state: one estimator for each model, or one that suits all of them."""
    if observer is None or (observer == "auto" and models[0].signals.noise is None):
        return (History(models[0]),)
    if isinstance(observer, str):
        return tuple(map(RobustFilter.for_noise_of, models))
    return tuple(observer.attached(each, rollout) for each in models)
