"""Forecasters that see some columns only; which ones is part of the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from examples.paper.common.forecasters import Baseline, Model, Settings
from koopman_control.common import Array


@dataclass(frozen=True)
class ColumnsModel:
    """A model of some columns, beginning with the first, which is forecast."""

    columns: tuple[int, ...]
    model: Model

    def forecast(self, history: Array, horizon: int, known: Any = None) -> Array:
        """Predict from histories (S, L, p), of which the last q are known ahead, (S, H, q)."""
        unknown = history.shape[2] - known.shape[2]
        ahead = known[..., [column - unknown for column in self.columns if column >= unknown]]
        return self.model.forecast(history[..., self.columns], horizon, ahead)


class Columns:
    """A baseline with a choice of columns.

    Args:
        baseline: What sees them.
        choices: Columns to try, each time beginning with 0.
    """

    def __init__(self, baseline: Baseline, choices: Sequence[tuple[int, ...]]) -> None:
        self.name = baseline.name
        self.baseline, self.choices = baseline, choices

    def searched(self, train: Array) -> Iterator[tuple[Settings, ColumnsModel]]:
        """Fit once for every setting of the search."""
        for columns in self.choices:
            for settings, model in self.baseline.searched(train[:, columns]):
                yield {"columns": columns, **settings}, ColumnsModel(columns, model)

    def fit(self, train: Array, settings: Settings, seed: int) -> ColumnsModel:
        """Fit to rows (T, p)."""
        columns = settings["columns"]
        rest = {key: value for key, value in settings.items() if key != "columns"}
        return ColumnsModel(columns, self.baseline.fit(train[:, columns], rest, seed))
