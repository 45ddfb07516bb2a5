"""How much memory a benchmark needed."""

from __future__ import annotations

import resource
import sys


def peak_memory() -> float:
    """Highest memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
