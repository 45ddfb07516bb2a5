"""Direct forecasts of the first column: `DirectForecaster` in the manner of the comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array
from koopman_control.forecasting import DirectForecaster

DAY = 24  # rows


@dataclass(frozen=True)
class DirectModel:
    """A fitted forecaster of the columns that are not known in advance."""

    forecaster: DirectForecaster

    def forecast(self, history: Array, horizon: int, known: Array | None = None) -> Array:
        """Predict the first column from histories (S, L, p), the last q known ahead; (S, H, 1).

        Beyond the forecaster's horizon its last day is repeated.
        """
        assert known is not None
        q, H = known.shape[2], self.forecaster.horizon
        measured, told = np.split(history, [history.shape[2] - q], axis=2)
        inputs = np.concatenate([told[:, 1:], known[:, :H]], axis=1)
        if inputs.shape[1] < history.shape[1] - 1 + H:  # what lies beyond is not asked for
            missing = history.shape[1] - 1 + H - inputs.shape[1]
            inputs = np.pad(inputs, ((0, 0), (0, missing), (0, 0)), mode="edge")
        ahead = self.forecaster.forecast(measured, inputs)[..., :1]
        leads = np.arange(horizon)
        return np.asarray(ahead[:, np.where(leads < H, leads, H - DAY + (leads - H) % DAY)])


class Direct:
    """Direct forecasters, one for each longest lead.

    Args:
        leads: Longest leads to try.
        lookback: Rows that count.
        n_known: Last columns, which are known ahead.
    """

    name = "sampled, direct"

    def __init__(self, leads: Sequence[int], lookback: int, n_known: int) -> None:
        self.leads, self.lookback, self.n_known = leads, lookback, n_known

    def searched(self, train: Array) -> Iterator[tuple[Settings, DirectModel]]:
        """Fit once for every setting of the search."""
        for leads in self.leads:
            settings = {"leads": leads}
            yield settings, self.fit(train, settings, seed=0)

    def fit(self, train: Array, settings: Settings, seed: int) -> DirectModel:
        """Fit to rows (T, p), the first column of which is to be forecast."""
        measured, known = np.split(train, [train.shape[1] - self.n_known], axis=1)
        forecaster = DirectForecaster(
            settings["leads"], periods=(DAY,), lookback=self.lookback, random_state=seed
        )
        return DirectModel(forecaster.fit(measured, inputs=known[1:]))
