"""Next-generation reservoir computing (Gauthier et al. 2021): delays and their monomials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array
from koopman_control.identification.least_squares.factor import RFactor


@dataclass(frozen=True)
class NGRCModel:
    """y+ = y + C phi([y_t, y_t-1, ...])."""

    center: Array
    scale: Array
    taps: int
    degree: int
    C: Array

    def forecast(self, history: Array, horizon: int, known: None = None) -> Array:
        """Predict (S, H, p) from histories (S, L, p)."""
        past = ((history - self.center) / self.scale)[:, -self.taps :]
        out = np.empty((len(past), horizon, past.shape[2]))
        for k in range(horizon):
            taps = past[:, ::-1].reshape(len(past), -1)
            y = np.clip(past[:, -1] + monomials(taps, self.degree) @ self.C, -10.0, 10.0)
            past = np.concatenate([past[:, 1:], y[:, None]], axis=1)
            out[:, k] = y
        return out * self.scale + self.center


def monomials(X: Array, degree: int) -> Array:
    """Return all monomials of columns X (T, n) up to the degree, with the constant."""
    columns = [np.ones(len(X))]
    for order in range(1, degree + 1):
        for chosen in combinations_with_replacement(range(X.shape[1]), order):
            columns.append(X[:, list(chosen)].prod(axis=1))
    return np.stack(columns, axis=1)


class NGRC:
    """NG-RC, searched over delays, degree and ridge.

    Args:
        taps: Numbers of delayed samples to try.
        degrees: Degrees to try.
    """

    name = "NG-RC"
    ridges = (1e-14, 1e-11, 1e-8, 1e-5, 1e-2)

    def __init__(
        self, taps: tuple[int, ...] = (1, 2, 3), degrees: tuple[int, ...] = (2, 3)
    ) -> None:
        self.grid = [(t, d) for t in taps for d in degrees]

    def searched(self, train: Array) -> Iterator[tuple[Settings, NGRCModel]]:
        """Fit once for every setting of the search."""
        for taps, degree in self.grid:
            for ridge, model in self._fits(train, taps, degree, self.ridges):
                yield {"taps": taps, "degree": degree, "ridge": ridge}, model

    def fit(self, train: Array, settings: Settings, seed: int) -> NGRCModel:
        """Fit to rows (T, p); nothing is random, so the seed has no effect."""
        ridges = (settings["ridge"],)
        return next(self._fits(train, settings["taps"], settings["degree"], ridges))[1]

    def _fits(
        self, train: Array, taps: int, degree: int, ridges: tuple[float, ...]
    ) -> Iterator[tuple[float, NGRCModel]]:
        center, scale = train.mean(axis=0), train.std(axis=0)
        Y = (train - center) / scale
        first = taps - 1
        delayed = np.concatenate([Y[first - i : len(Y) - 1 - i] for i in range(taps)], axis=1)
        solver = RFactor.of(monomials(delayed, degree), np.diff(Y[first:], axis=0)).solver()
        for ridge in ridges:
            yield ridge, NGRCModel(center, scale, taps, degree, solver.solve(ridge))
