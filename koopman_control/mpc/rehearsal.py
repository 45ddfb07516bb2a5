"""Acting before the first episode, so that its first steps are no slower than the rest."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from koopman_control.common.arrays import Array

TIMES = 20  # Python specialises code that has run eight times; some of it runs in every other step
LONGEST = 0.05  # seconds; where a step takes long, its overhead does not count


def rehearse(act: Callable[[Array], Array], observation: Array) -> None:
    """Act on an observation (p,) again and again, for a short while."""
    end = perf_counter() + LONGEST
    with np.errstate(all="ignore"):  # an unusable model is noticed in the loop
        for _ in range(TIMES):
            act(observation)
            if perf_counter() > end:
                return
