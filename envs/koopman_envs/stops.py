"""Hard physical stops, for one copy (floats) and for many (arrays) alike."""

from typing import Any

import numpy as np


def bounded(value: Any, low: float, high: float) -> Any:
    """Return value moved into low … high."""
    return np.minimum(np.maximum(value, low), high)


def stopped(position: Any, speed: Any, low: float, high: float) -> tuple[Any, Any]:
    """Return position within low … high, and the speed: zero where a stop was hit."""
    held = bounded(position, low, high)
    return held, np.where(held == position, speed, 0.0)


def excess(value: Any, low: float, high: float) -> Any:
    """Return by how much value lies outside low … high; 0 inside."""
    return np.maximum(np.maximum(value - high, low - value), 0.0)
