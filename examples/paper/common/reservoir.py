"""An echo state network: reservoirpy draws and drives the reservoir, forecasts run in batches.

pip install "koopman-control[paper]"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array, optional_package
from koopman_control.identification.least_squares.factor import RFactor

WASH_OUT = 100


@dataclass(frozen=True)
class ESNModel:
    """y+ = y + C [1, y, r, r^2], r = (1 - a) r + a tanh(W r + V y + b), all standardised."""

    center: Array
    scale: Array
    leak: float
    W: Array
    V: Array
    b: Array
    C: Array

    def forecast(self, history: Array, horizon: int, known: Array | None = None) -> Array:
        """Drive the reservoir by histories (S, L, p), then let it run; returns (S, H, p).

        What is known in advance, (S, H, q), replaces predictions of the last q columns.
        """
        Y = (history - self.center) / self.scale
        r = np.zeros((len(Y), len(self.W)))
        for t in range(Y.shape[1]):
            r = self._next(r, Y[:, t])
        y, out = Y[:, -1], np.empty((len(Y), horizon, Y.shape[2]))
        for k in range(horizon):
            y = np.clip(y + readout_rows(y, r) @ self.C, -10.0, 10.0)
            if known is not None:
                q = known.shape[2]
                y[:, -q:] = (known[:, k] - self.center[-q:]) / self.scale[-q:]
            r = self._next(r, y)
            out[:, k] = y
        return out * self.scale + self.center

    def _next(self, r: Array, y: Array) -> Array:
        driven = np.tanh(r @ self.W.T + y @ self.V.T + self.b)
        return (1.0 - self.leak) * r + self.leak * driven


def readout_rows(y: Array, r: Array) -> Array:
    """Return [1, y, r, r^2], shape (S, 1 + p + 2 n)."""
    return np.concatenate([np.ones((len(y), 1)), y, r, r**2], axis=1)


class ESN:
    """Echo state networks of one width, searched over radius, input scale and ridge.

    Args:
        units: Reservoir neurons; the read-out sees them and their squares.
        radii: Spectral radii to try.
        input_scales: Input scales to try.
        ridges: Weights of the ridge term to try.
        leaks: Leaking rates to try.
    """

    def __init__(
        self,
        units: int = 500,
        radii: tuple[float, ...] = (0.4, 0.9),
        input_scales: tuple[float, ...] = (0.1, 0.5),
        ridges: tuple[float, ...] = (1e-14, 1e-11, 1e-8, 1e-5),
        leaks: tuple[float, ...] = (1.0,),
    ) -> None:
        self.name = f"ESN ({units})"
        self.units, self.ridges = units, ridges
        self.grid = list(product(radii, input_scales, leaks))

    def searched(self, train: Array) -> Iterator[tuple[Settings, ESNModel]]:
        """Fit once for every setting of the search."""
        for radius, input_scale, leak in self.grid:
            settings = {"radius": radius, "input_scale": input_scale, "leak": leak}
            for ridge, model in self._fits(train, settings, self.ridges, seed=0):
                yield settings | {"ridge": ridge}, model

    def fit(self, train: Array, settings: Settings, seed: int) -> ESNModel:
        """Fit to rows (T, p)."""
        reservoir = {k: v for k, v in settings.items() if k != "ridge"}
        return next(self._fits(train, reservoir, (settings["ridge"],), seed))[1]

    def _fits(
        self, train: Array, settings: Settings, ridges: tuple[float, ...], seed: int
    ) -> Iterator[tuple[float, ESNModel]]:
        center, scale = train.mean(axis=0), train.std(axis=0)
        Y = (train - center) / scale
        node = self._reservoir(settings, seed)
        states = np.asarray(node.run(Y[:-1]))[WASH_OUT:]
        y, target = Y[WASH_OUT:-1], np.diff(Y[WASH_OUT:], axis=0)
        solver = RFactor.of(readout_rows(y, states), target).solver()
        W, V = (node.W.toarray(), node.Win)
        for ridge in ridges:
            C = solver.solve(ridge)
            yield ridge, ESNModel(center, scale, settings["leak"], W, V, np.ravel(node.bias), C)

    def _reservoir(self, settings: Settings, seed: int) -> Any:
        nodes = optional_package("reservoirpy.nodes", "paper")
        bias = np.random.default_rng(seed).uniform(-1.0, 1.0, self.units)
        return nodes.Reservoir(
            self.units,
            sr=settings["radius"],
            lr=settings["leak"],
            input_scaling=settings["input_scale"],
            input_connectivity=1.0,
            bias=bias,
            seed=seed,
        )
