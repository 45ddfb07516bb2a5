"""A long short-term memory network that predicts all leads at once.

It reads deviations from the mean day, whose signs may be reversed at random, beside the other
columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from examples.paper.common.forecasters import Settings
from examples.paper.common.lstm import BATCH, HELD_OUT, descended
from koopman_control.common import Array, optional_package

READ = 3  # days that are read hour by hour
CHECKED = 256  # held-out origins

DAY = 24  # rows
ORIGINS = 3  # rows between two origins of the regression; nearer ones tell nearly the same


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


def origins_of(train: Array, days: int, horizon: int) -> tuple[Array, Array]:
    """Return histories (S, DAY days, p) along rows (T, p), and the deviations ahead (S, H)."""
    windows = np.lib.stride_tricks.sliding_window_view(train, DAY * days + horizon, axis=0)
    both = windows[::ORIGINS].swapaxes(1, 2)
    history, ahead = both[:, : DAY * days], both[:, DAY * days :, 0]
    return history, ahead - continued(history, days, horizon)


@dataclass(frozen=True)
class DirectLSTMModel:
    """Reads deviations from the mean day and predicts those ahead, divided by `scale`."""

    days: int
    scale: float
    net: Any
    head: Any

    def forecast(self, history: Array, horizon: int, known: Array | None = None) -> Array:
        """Predict the first column from histories (S, L, p); returns (S, H, 1)."""
        torch = optional_package("torch", "paper")
        with torch.no_grad():
            leads = self.head(
                self.net(torch.tensor(read(history, self.days, self.scale)))[0][:, -1]
            )
        return shifted(continued(history, self.days, horizon), self.scale * leads.numpy())


def read(history: Array, days: int, scale: float) -> Any:
    """Return the network's input (S, READ DAY, p): deviations, and the other columns."""
    profile = mean_day(history, days)
    recent = history[:, -READ * DAY :].copy()
    recent[..., 0] = (recent[..., 0] - np.tile(profile, (1, READ))) / scale
    return recent.astype(np.float32)


class DirectLSTM:
    """One layer and a linear head for all leads, its search with and without reversed signs.

    Args:
        leads: Largest leads to try; beyond, the mean day is repeated.
        seconds: CPU seconds of the final training; a search fit gets a third.
        hidden: Widths to try.
        days: Days of the mean day to try.
        rate: Learning rate of Adam, which falls along a cosine.
    """

    name = "LSTM, direct"

    def __init__(
        self,
        leads: Sequence[int],
        seconds: float,
        hidden: Sequence[int],
        days: Sequence[int],
        rate: float = 3e-3,
    ) -> None:
        self.seconds, self.rate = seconds, rate
        self.grid = [
            {"leads": last, "hidden": width, "days": n, "reversed": flag}
            for last, width, n, flag in product(leads, hidden, days, (True, False))
        ]

    def searched(self, train: Array) -> Iterator[tuple[Settings, DirectLSTMModel]]:
        """Fit once for every setting of the search."""
        for settings in self.grid:
            yield settings, self._trained(train, settings, 0, self.seconds / 3.0)

    def fit(self, train: Array, settings: Settings, seed: int) -> DirectLSTMModel:
        """Fit to rows (T, p), the first column of which is to be forecast."""
        return self._trained(train, settings, seed, self.seconds)

    def _trained(
        self, train: Array, settings: Settings, seed: int, seconds: float
    ) -> DirectLSTMModel:
        torch = optional_package("torch", "paper")
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        history, ahead = origins_of(train, settings["days"], settings["leads"])
        scale = float(ahead.std())
        X = torch.tensor(read(history, settings["days"], scale))
        Y = torch.tensor((ahead / scale).astype(np.float32))
        net = torch.nn.LSTM(X.shape[2], settings["hidden"], batch_first=True)
        head = torch.nn.Linear(settings["hidden"], settings["leads"])
        split = int((1.0 - HELD_OUT) * len(X))
        checked = np.linspace(split, len(X) - 1, CHECKED).astype(int)
        rng = np.random.default_rng(seed)
        choices = (-1.0, 1.0) if settings["reversed"] else (1.0,)

        def loss(index: Any, sign: Any) -> Any:
            inputs = X[index]
            inputs[..., 0] *= sign
            return ((head(net(inputs)[0][:, -1]) - sign * Y[index]) ** 2).mean()

        def signs() -> Any:
            return torch.tensor(rng.choice(choices, (BATCH, 1)).astype(np.float32))

        descended(
            [*net.parameters(), *head.parameters()],
            lambda: loss(rng.integers(0, split, BATCH), signs()),
            lambda: loss(checked, 1.0),
            self.rate,
            seconds,
        )
        return DirectLSTMModel(settings["days"], scale, net, head)
