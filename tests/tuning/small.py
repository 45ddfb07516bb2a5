"""A search of seconds. Run as a program, it kills itself after some trials."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from koopman_control.tuning import Tuning, tune
from tests.benchmark.tiny import tiny_task


def small_search(**changes: Any) -> Tuning:
    settings: dict[str, Any] = {
        "task": tiny_task(n_rounds=0),
        "trials": 6,
        "names": ("horizon", "R", "features", "Q"),
        "seeds": 1,
        "episodes": 1,
    }
    return Tuning(**(settings | changes))


if __name__ == "__main__":
    left = int(sys.argv[2])

    def count_down(number: int, mean: float | None) -> None:
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    tune(small_search(), Path(sys.argv[1]), 1, count_down)
