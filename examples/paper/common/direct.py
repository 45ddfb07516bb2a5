"""Forecasts of all leads at once: one least-squares solve on sampled features of the last days.

Fed with its own predictions, a model of the next hour drifts; a regression on every lead by itself
shrinks to what is known about it. Series and targets are taken as deviations from the mean day of
the last days, so that a forecast of what cannot be known is that day rather than the year's mean.
Every example is shown a second time with all signs reversed: a few months of data would else teach
that it always grows warmer, say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array
from koopman_control.features import FeatureMap, SampledFeatures
from koopman_control.features.scaling import spread
from koopman_control.identification import RFactor

DAY = 24  # rows
MEANS = (1, 2, 3, 5)  # days over which older rows are averaged
ORIGINS = 3  # rows between two origins of the regression; nearer ones tell nearly the same


@dataclass(frozen=True)
class DirectModel:
    """The first column's deviations at all leads: [z, features(z)] K.

    Args:
        days: Days of the mean day.
        scale: Standard deviations of the states, shape (d,).
        features: Map of standardised states to h neurons.
        K: Coefficients, shape (d + h, H).
    """

    days: int
    scale: Array
    features: FeatureMap
    K: Array

    def forecast(self, history: Array, horizon: int, known: Array | None = None) -> Array:
        """Predict the first column from histories (S, L, p); returns (S, H, 1)."""
        Z = states_of(history, self.days) / self.scale
        leads = regressors(Z, self.features) @ self.K
        return np.asarray(leads[:, :horizon] + continued(history, self.days, horizon))[..., None]


def mean_day(history: Array, days: int) -> Array:
    """Return the first column's mean at every hour of the last days, (S, DAY), oldest first."""
    last = history[:, -DAY * days :, 0].reshape(len(history), days, DAY)
    return np.asarray(last.mean(axis=1))


def continued(history: Array, days: int, horizon: int) -> Array:
    """Repeat the mean day over the horizon, shape (S, H)."""
    return np.tile(mean_day(history, days), (1, -(-horizon // DAY)))[:, :horizon]


def states_of(history: Array, days: int) -> Array:
    """Return what is known of the first column of histories (S, L, p).

    The last day's deviations from the mean day, deviations of means over days from its level, and
    its shape.
    """
    profile = mean_day(history, days)
    level = profile.mean(axis=1, keepdims=True)
    means = [
        history[:, -DAY * n :, 0].mean(axis=1, keepdims=True) - level for n in MEANS if n < days
    ]
    return np.hstack([history[:, -DAY:, 0] - profile, *means, profile - level])


def regressors(Z: Array, features: FeatureMap) -> Array:
    """Return [z, features(z)] of standardised states (T, d)."""
    return np.hstack([Z, features.values(Z)])


def origins_of(train: Array, days: int, horizon: int) -> tuple[Array, Array]:
    """Return histories (S, DAY days, p) along rows (T, p), and the deviations ahead (S, H)."""
    windows = np.lib.stride_tricks.sliding_window_view(train, DAY * days + horizon, axis=0)
    both = windows[::ORIGINS].swapaxes(1, 2)
    history, ahead = both[:, : DAY * days], both[:, DAY * days :, 0]
    return history, ahead - continued(history, days, horizon)


class Direct:
    """Direct forecasters of one width.

    Args:
        width: Neurons of the sampled layer.
        horizon: Largest lead.
        days: Days of the mean day to try.
        steepnesses: Steepnesses of the neurons to try.
        ridges: Weights of the ridge term to try.
    """

    def __init__(
        self,
        width: int,
        horizon: int,
        days: Sequence[int],
        steepnesses: Sequence[float],
        ridges: Sequence[float],
    ) -> None:
        self.name = f"sampled, direct ({width})"
        self.width, self.horizon = width, horizon
        self.grid = [
            {"days": n, "steepness": steepness, "ridge": ridge}
            for n, steepness, ridge in product(days, steepnesses, ridges)
        ]

    def searched(self, train: Array) -> Iterator[tuple[Settings, DirectModel]]:
        """Fit once for every setting of the search."""
        for settings in self.grid:
            yield settings, self.fit(train, settings, seed=0)

    def fit(self, train: Array, settings: Settings, seed: int) -> DirectModel:
        """Fit to rows (T, p), the first column of which is to be forecast."""
        history, ahead = origins_of(train, settings["days"], self.horizon)
        states = states_of(history, settings["days"])
        states, ahead = np.vstack([states, -states]), np.vstack([ahead, -ahead])
        scale = spread(states)
        Z = states / scale
        features = SampledFeatures(
            self.width, steepness=settings["steepness"], random_state=seed
        ).fit(Z, ahead)
        solver = RFactor.of(regressors(Z, features), ahead).solver()
        return DirectModel(settings["days"], scale, features, solver.solve(settings["ridge"]))
