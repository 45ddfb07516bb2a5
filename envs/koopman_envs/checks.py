"""What the environments refuse, and how they say so."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bounds = tuple[Sequence[float], Sequence[float]]


def reset_options(
    options: Mapping[str, Any] | None, copies: tuple[int, ...] = (), **bounds: Bounds
) -> dict[str, Array]:
    """Return the given reset options as float64 arrays within their bounds.

    Args:
        options: What was given to ``reset``.
        copies: Shape of the copies; an option is one vector for all of them or one for each.
        **bounds: Lowest and highest vector of every known option.

    Returns:
        Option name -> (n,) or (*copies, n).
    """
    checked: dict[str, Array] = {}
    for name, value in (options or {}).items():
        if name not in bounds:
            raise ValueError(f"unknown reset option {name!r}; known are {sorted(bounds)}")
        low, high = (np.asarray(side, dtype=np.float64) for side in bounds[name])
        vector = np.array(value, dtype=np.float64)
        shapes = list(dict.fromkeys([low.shape, (*copies, *low.shape)]))
        if vector.shape not in shapes:
            expected = " or ".join(str(shape) for shape in shapes)
            raise ValueError(f"reset option {name!r} has shape {vector.shape}; expected {expected}")
        if not ((vector >= low) & (vector <= high)).all():
            raise ValueError(
                f"reset option {name!r} is {vector}; expected every entry within {low} and {high}"
            )
        checked[name] = vector
    return checked


def render_mode(mode: str | None, modes: Sequence[str]) -> str | None:
    """Return mode if it is None or one of modes."""
    if mode not in (None, *modes):
        raise ValueError(f"render_mode is {mode!r}; choose None or one of {list(modes)}")
    return mode


def observation_noise(share: float) -> float:
    """Return a finite share of at least 0."""
    if not (np.isfinite(share) and share >= 0.0):
        raise ValueError(
            f"observation_noise is {share}; expected a finite share of at least 0, such as 0.01"
        )
    return float(share)


def actuator_delay(steps: int) -> int:
    """Return a whole number of steps of at least 0."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 0:
        raise ValueError(
            f"actuator_delay is {steps!r}; expected a whole number of time steps of at least 0"
        )
    return int(steps)


def observed(indices: Sequence[int] | None, count: int) -> list[int]:
    """Return distinct indices of count outputs; all of them for None."""
    chosen = list(range(count)) if indices is None else list(indices)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(count)):
        raise ValueError(
            f"observed is {indices!r}; expected distinct indices out of 0 … {count - 1}, "
            "or None for all"
        )
    return [int(i) for i in chosen]


def mismatched(parameters: Any, mismatch: Mapping[str, float] | None) -> Any:
    """Multiply fields of a parameter dataclass by the factors of mismatch."""
    known = [field.name for field in fields(parameters)]
    changed: dict[str, float] = {}
    for name, factor in (mismatch or {}).items():
        if name not in known:
            raise ValueError(f"mismatch names {name!r}; the parameters are {known}")
        if not np.isfinite(factor):
            raise ValueError(f"mismatch[{name!r}] is {factor}; expected a finite factor")
        changed[name] = getattr(parameters, name) * factor
    return replace(parameters, **changed)
