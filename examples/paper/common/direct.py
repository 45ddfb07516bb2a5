"""Forecasts of all leads at once: one least-squares solve on sampled features of the last days.

Fed with its own predictions, a model of the next hour drifts; a regression on every lead by itself
shrinks to what is known about it. Series and targets are taken as deviations from the mean day of
the last days, so that a forecast of what cannot be known is that day rather than the year's mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array
from koopman_control.features import FeatureMap, SampledFeatures
from koopman_control.features.base import spread
from koopman_control.identification import RFactor

DAY = 24  # rows
MEANS = (1, 2, 3, 5)  # days over which older rows are averaged
RECENT = (1, 6, 24, 72)  # rows over which further columns are averaged
ORIGINS = 3  # rows between two origins of the regression; nearer ones tell nearly the same


@dataclass(frozen=True)
class DirectModel:
    """The first column's deviations at all leads: [1, z, features(z)] K.

    Args:
        days: Days of the mean day.
        scale: Standard deviations of the states, shape (d,).
        features: Map of standardised states to h neurons.
        K: Coefficients, shape (1 + d + h, H).
    """

    days: int
    scale: Array
    features: FeatureMap
    K: Array

    def forecast(self, history: Array, horizon: int, known: Array | None = None) -> Array:
        """Predict the first column from histories (S, L, p); returns (S, H, 1)."""
        Z = states_of(history, self.days) / self.scale
        leads = regressors(Z, self.features) @ self.K
        return shifted(continued(history, self.days, horizon), leads)


def mean_day(history: Array, days: int) -> Array:
    """Return the first column's mean at every hour of the last days, (S, DAY), oldest first."""
    last = history[:, -DAY * days :, 0].reshape(len(history), days, DAY)
    return np.asarray(last.mean(axis=1))


def continued(history: Array, days: int, horizon: int) -> Array:
    """Repeat the mean day over the horizon, shape (S, H)."""
    return np.tile(mean_day(history, days), (1, -(-horizon // DAY)))[:, :horizon]


def shifted(ahead: Array, leads: Array) -> Array:
    """Add deviations at the first leads (S, h) to what else is expected (S, H); (S, H, 1)."""
    n = min(leads.shape[1], ahead.shape[1])
    return np.hstack([ahead[:, :n] + leads[:, :n], ahead[:, n:]])[..., None]


def states_of(history: Array, days: int) -> Array:
    """Return what is known at the end of histories (S, L, p).

    The first column's deviations from the mean day over the last day, deviations of its means over
    days from the level, and the mean day's shape; of further columns, means over recent rows.
    """
    profile = mean_day(history, days)
    level = profile.mean(axis=1, keepdims=True)
    means = [
        history[:, -DAY * n :, 0].mean(axis=1, keepdims=True) - level for n in MEANS if n < days
    ]
    further = [history[:, -n:, 1:].mean(axis=1) for n in RECENT]
    return np.hstack([history[:, -DAY:, 0] - profile, *means, profile - level, *further])


def regressors(Z: Array, features: FeatureMap) -> Array:
    """Return [1, z, features(z)] of standardised states (T, d)."""
    return np.hstack([np.ones((len(Z), 1)), Z, features.values(Z)])


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
        leads: Largest leads to try; beyond, the mean day is repeated.
        days: Days of the mean day to try.
        steepnesses: Steepnesses of the neurons to try.
        ridges: Weights of the ridge term to try.
    """

    def __init__(
        self,
        width: int,
        leads: Sequence[int],
        days: Sequence[int],
        steepnesses: Sequence[float],
        ridges: Sequence[float],
    ) -> None:
        self.name = f"sampled, direct ({width})"
        self.width, self.ridges = width, ridges
        self.grid = [
            {"leads": h, "days": n, "steepness": steepness}
            for h, n, steepness in product(leads, days, steepnesses)
        ]

    def searched(self, train: Array) -> Iterator[tuple[Settings, DirectModel]]:
        """Fit once for every setting of the search."""
        for settings in self.grid:
            for ridge, model in self._fits(train, settings, self.ridges, seed=0):
                yield settings | {"ridge": ridge}, model

    def fit(self, train: Array, settings: Settings, seed: int) -> DirectModel:
        """Fit to rows (T, p), the first column of which is to be forecast."""
        return next(self._fits(train, settings, (settings["ridge"],), seed))[1]

    def _fits(
        self, train: Array, settings: Settings, ridges: Sequence[float], seed: int
    ) -> Iterator[tuple[float, DirectModel]]:
        history, ahead = origins_of(train, settings["days"], settings["leads"])
        states = states_of(history, settings["days"])
        scale = spread(states)
        Z = states / scale
        features = SampledFeatures(
            self.width, steepness=settings["steepness"], random_state=seed
        ).fit(Z, ahead)
        solver = RFactor.of(regressors(Z, features), ahead).solver()
        for ridge in ridges:
            yield ridge, DirectModel(settings["days"], scale, features, solver.solve(ridge))
