"""What follows from a controller's settings and model, and takes long to find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.estimation import Estimator, History, Observer
from koopman_control.mpc.settings import Bounds, Cost
from koopman_control.mpc.state import InputLayout, TargetRows
from koopman_control.mpc.terminal import with_terminal, with_terminal_set
from koopman_control.mpc.units import Units, units_of, with_prices
from koopman_control.mpc.weights import Weights, tightened, weights_for


class Settled(NamedTuple):
    """Weights, gain, units and estimators, as a file holds them.

    Args:
        weights: Weights and bounds.
        gain: Of the regulator at the target, as of `riccati`.
        units: Usual sizes.
        estimators: One for all models, or one for each.
    """

    weights: Weights
    gain: Array
    units: Units
    estimators: tuple[Estimator, ...]


def settled(
    models: Sequence[LiftedModel],
    horizon: int,
    cost: Cost,
    bounds: Bounds,
    targets: tuple[TargetRows, TargetRows],
    layout: InputLayout,
    rollout: Rollout,
    delay: int,
    observer: Observer | None,
) -> Settled:
    """Find what follows from settings as of `KoopmanMPC`; targets are of states and inputs."""
    model, n = models[0], len(models)
    estimators: tuple[Estimator, ...] = (History(model),)
    if observer is not None:
        estimators = tuple(observer.attached(each, rollout) for each in models)
    w = weights_for(model, horizon, layout.controlled, cost, bounds)
    w = tightened(w, bounds.tighten, model, rollout, delay)
    w, gain = with_terminal(w, cost.terminal, model, *targets, layout)
    units = units_of(w, model, layout.controlled, *targets)
    w = with_prices(w, units) if isinstance(bounds.slack_weight, str) else w
    w = with_terminal_set(w, bounds.terminal_set, model, *targets, gain, layout)
    return Settled(w.for_models(n), gain, units.for_models(n), estimators)
