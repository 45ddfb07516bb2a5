"""The sampled RNN behind the same interface as the baselines, tuned in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from examples.paper.common.forecasters import Settings
from koopman_control.common import Array
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import SampledRNN


class Sampled:
    """Sampled RNNs of one width.

    Args:
        width: Neurons of the sampled layer.
        grid: Settings to try: `steepness` of the features, the others of `SampledRNN`.
    """

    def __init__(self, width: int, grid: Sequence[Settings]) -> None:
        self.name = f"sampled RNN ({width})"
        self.width, self.grid = width, grid

    def searched(self, train: Array) -> Iterator[tuple[Settings, SampledRNN]]:
        """Fit once for every setting of the search."""
        for settings in self.grid:
            yield settings, self.fit(train, settings, seed=0)

    def fit(self, train: Array, settings: Settings, seed: int) -> SampledRNN:
        """Fit to rows (T, p)."""
        others = {key: value for key, value in settings.items() if key != "steepness"}
        features = SampledFeatures(self.width, steepness=settings["steepness"], random_state=seed)
        return SampledRNN(features, random_state=seed, **others).fit(train)
