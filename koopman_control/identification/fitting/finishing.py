"""What may follow the least-squares fit: corrections for noise, horizon and stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.refinement.horizon import refine_over_horizon
from koopman_control.identification.refinement.robust import correct_for_noise
from koopman_control.identification.refinement.stability import stabilized, stabilized_if_needed
from koopman_control.trajectories import Trajectory

if TYPE_CHECKING:
    from koopman_control.identification.edmdc import EDMDc


def finished(settings: EDMDc, model: LiftedModel, data: Sequence[Trajectory]) -> LiftedModel:
    """Apply the corrections that the settings ask for, and note them in the summary.

    Corrections for noise and horizon are kept only where left-out data confirm them, so the bounds
    on the error of the plain fit are kept with them.

    Args:
        settings: An `EDMDc`, whose settings are read.
        model: The plain fit.
        data: The trajectories it was fitted to.
    """
    bounds = model.error_quantiles
    if settings.noise == "instruments":
        model = correct_for_noise(model, data, rollout=settings.rollout, horizon=settings.horizon)
    if settings.refine_horizon:
        model = refine_over_horizon(model, data, settings.horizon)
    return with_stability(settings, replace(model, error_quantiles=bounds), data)


def with_stability(settings: EDMDc, model: LiftedModel, data: Sequence[Trajectory]) -> LiftedModel:
    """Apply the setting `stability` to a model."""
    if settings.stability is None:
        return model
    if settings.stability != "auto":
        return stabilized(model, settings.stability, data)
    if settings.rollout != "linear":
        return model
    return stabilized_if_needed(model, data, settings.horizon)


def require_plain_fit(settings: EDMDc, what: str) -> None:
    """Raise a ValueError if the settings ask for corrections that need all data at once."""
    wanted: dict[str, Any] = {"noise": settings.noise, "refine_horizon": settings.refine_horizon}
    for name, value in wanted.items():
        if value not in ("ignore", False):
            raise ValueError(
                f'{name} is {value!r}, which {what}; use noise="ignore" and refine_horizon=False'
            )
