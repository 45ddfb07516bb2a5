"""A long short-term memory network in torch, trained one step ahead with early stopping.

pip install "koopman-control[paper]"
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array, optional_package

CHUNK, BATCH, HELD_OUT = 64, 64, 0.1
WARM_UP = 16  # steps of a chunk that only fill the memory
PATIENCE = 15  # checks without progress


@dataclass(frozen=True)
class LSTMModel:
    """Predicts increments of standardised rows."""

    center: Array
    scale: Array
    step: Array
    net: Any
    head: Any

    def forecast(self, history: Array, horizon: int, known: Array | None = None) -> Array:
        """Read histories (S, L, p), then feed predictions back; returns (S, H, p).

        What is known in advance, (S, H, q), replaces predictions of the last q columns.
        """
        torch = optional_package("torch", "paper")
        Y = torch.tensor((history - self.center) / self.scale, dtype=torch.float32)
        step = torch.tensor(self.step, dtype=torch.float32)
        out = np.empty((len(Y), horizon, Y.shape[2]))
        with torch.no_grad():
            hidden, memory = self.net(Y)
            y = Y[:, -1]
            for k in range(horizon):
                y = (y + self.head(hidden[:, -1]) * step).clamp(-10.0, 10.0)
                if known is not None:
                    q = known.shape[2]
                    row = (known[:, k] - self.center[-q:]) / self.scale[-q:]
                    y[:, -q:] = torch.tensor(row, dtype=torch.float32)
                out[:, k] = y.numpy()
                hidden, memory = self.net(y[:, None], memory)
        return out * self.scale + self.center


class LSTM:
    """One layer and a linear head, searched over width and learning rate.

    Args:
        seconds: CPU seconds of the final training; a search fit gets a third.
        hidden: Widths to try.
        rates: Learning rates of Adam to try; they fall along a cosine.
    """

    name = "LSTM"

    def __init__(
        self,
        seconds: float = 60.0,
        hidden: tuple[int, ...] = (32, 64),
        rates: tuple[float, ...] = (3e-3, 1e-2),
    ) -> None:
        self.seconds = seconds
        self.grid = [(h, r) for h in hidden for r in rates]

    def searched(self, train: Array) -> Iterator[tuple[Settings, LSTMModel]]:
        """Fit once for every setting of the search."""
        for hidden, rate in self.grid:
            settings = {"hidden": hidden, "rate": rate}
            yield settings, self._trained(train, settings, 0, self.seconds / 3.0)

    def fit(self, train: Array, settings: Settings, seed: int) -> LSTMModel:
        """Fit to rows (T, p)."""
        return self._trained(train, settings, seed, self.seconds)

    def _trained(self, train: Array, settings: Settings, seed: int, seconds: float) -> LSTMModel:
        torch = optional_package("torch", "paper")
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        center, scale = train.mean(axis=0), train.std(axis=0)
        Y = (train - center) / scale
        step = np.diff(Y, axis=0).std(axis=0)
        X = torch.tensor(Y[:-1], dtype=torch.float32)
        D = torch.tensor(np.diff(Y, axis=0) / step, dtype=torch.float32)
        net = torch.nn.LSTM(X.shape[1], settings["hidden"], batch_first=True)
        head = torch.nn.Linear(settings["hidden"], X.shape[1])
        parameters = [*net.parameters(), *head.parameters()]
        split = int((1.0 - HELD_OUT) * len(X))
        rng = np.random.default_rng(seed)
        held_out = chunks(torch, X, D, np.arange(split, len(X) - CHUNK, CHUNK))

        def loss(inputs: Any, targets: Any) -> Any:
            return ((head(net(inputs)[0]) - targets)[:, WARM_UP:] ** 2).mean()

        descended(
            parameters,
            lambda: loss(*chunks(torch, X, D, rng.integers(0, split - CHUNK, BATCH))),
            lambda: loss(*held_out),
            settings["rate"],
            seconds,
        )
        return LSTMModel(center, scale, step, net, head)


def descended(
    parameters: list[Any],
    batch_loss: Callable[[], Any],
    held_out_loss: Callable[[], Any],
    rate: float,
    seconds: float,
) -> None:
    """Run Adam with a falling rate; stop early, and keep what was best on held-out data."""
    torch = optional_package("torch", "paper")
    optimiser = torch.optim.Adam(parameters, lr=rate)
    best, kept, stale, count = np.inf, None, 0, 0
    started = time.process_time()
    while stale < PATIENCE and (spent := time.process_time() - started) < seconds:
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1.0 + np.cos(np.pi * spent / seconds))
        optimiser.zero_grad()
        batch_loss().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        count += 1
        if count % 50 == 0:
            with torch.no_grad():
                value = float(held_out_loss())
            stale = 0 if value < best else stale + 1
            if value < best:
                best, kept = value, [p.detach().clone() for p in parameters]
    if kept is not None:
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def chunks(torch: Any, X: Any, D: Any, starts: NDArray[np.int64]) -> tuple[Any, Any]:
    """Cut pieces of CHUNK rows out of inputs and targets."""
    index = torch.as_tensor(starts[:, None] + np.arange(CHUNK))
    return X[index], D[index]
