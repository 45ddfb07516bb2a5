"""What an estimate is, and what anything that makes one has to offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout


@dataclass(frozen=True)
class Estimate:
    """Where the plant is taken to be; also all that its maker remembers of the episode.

    Args:
        x: State, shape (d,).
        offset: What measured states are taken to differ from the model's, shape (d,), or None.
        z: Lifted state, shape (n,), or None for the lift of x.
        known: Whether it is fit to plan from.
    """

    x: Array
    offset: Array | None = None
    z: Array | None = None
    known: bool = True


class Estimator(Protocol):
    """Turns observations into estimates of one model's state; holds no memory of its own."""

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Return the estimate at an observation.

        Args:
            before: Its estimate one step earlier, or None in the first step of an episode.
            y: Observation, shape (p,); NaN where nothing was measured.
            u: Input that acted since, shape (m,); in the first step the one the plant rested under.

        Returns:
            The estimate, or None as long as there is nothing to go by.
        """


@runtime_checkable
class Observer(Protocol):
    """Settings of an estimator; the same ones serve any number of controllers and episodes."""

    def attached(self, model: LiftedModel, rollout: Rollout) -> Estimator:
        """Make the estimator for a model.

        Raises:
            ValueError: If the settings do not suit the model.
        """
