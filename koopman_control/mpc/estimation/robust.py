"""The filter for the noise that a model was fitted with: a Kalman filter that doubts glitches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.smoothing import step_noise
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


def estimators_for(
    models: Sequence[LiftedModel], rollout: Rollout, observer: Observer | Literal["auto"] | None
) -> tuple[Estimator, ...]:
    """Make what tells the state: one estimator for each model, or one that suits all of them."""
    if observer is None or (observer == "auto" and models[0].signals.noise is None):
        return (History(models[0]),)
    if isinstance(observer, str):
        return tuple(map(RobustFilter.for_noise_of, models))
    return tuple(observer.attached(each, rollout) for each in models)
