"""INTERIM, until `EDMDc(input_delay=...)` is here: a fit to inputs moved to the step they act in.

To be removed with its one use, in `Task.estimator`: there `EDMDc(**settings)` is all that remains.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from koopman_control.identification import EDMDc, with_input_delay
from koopman_control.trajectories import Trajectory

Data = Trajectory | Sequence[Trajectory]


class InputDelayedEDMDc(EDMDc):
    """`EDMDc` on data with every input moved to the step it acts in, one later."""

    def fit(self, data: Data, y: None = None, sample_weight: Any = None) -> InputDelayedEDMDc:
        """Fit a model without the delay."""
        # A plain EDMDc, as one of several draws clones itself and would move the inputs again.
        plain = EDMDc(**self.get_params(deep=False)).fit(_moved(data), y, sample_weight)
        self.__dict__.update(plain.__dict__)
        return self

    def score(self, data: Data, y: None = None) -> float:
        """Score as `EDMDc` does."""
        return super().score(_moved(data), y)

    def score_left_out(self, seen: Sequence[Trajectory], judged: Sequence[Trajectory]) -> float:
        """Score as `EDMDc` does."""
        return super().score_left_out(_moved(seen), _moved(judged))


def _moved(data: Data) -> list[Trajectory]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # runs of a single step tell nothing here
        return with_input_delay(data, 1)
