"""What the environments refuse, and how they say so."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.border import at_least, require, shown
from koopman_envs.integration import Components, Rates

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
        vector = numbers(f"reset option {name!r}", value).copy()
        shapes = list(dict.fromkeys([low.shape, (*copies, *low.shape)]))
        if vector.shape not in shapes:
            expected = " or ".join(str(shape) for shape in shapes)
            raise ValueError(f"reset option {name!r} has shape {vector.shape}; expected {expected}")
        inside = (vector >= low) & (vector <= high)
        if not inside.all():
            *_, i = where = tuple(int(index) for index in np.argwhere(~inside)[0])
            raise ValueError(
                f"reset option {name!r} holds {vector[where]} at index {where}; expected a number "
                f"from {low[i]} to {high[i]} there"
            )
        checked[name] = vector
    return checked


def numbers(name: str, value: Any) -> Array:
    """Return a value as a float64 array."""
    require(name, value, ArrayLike)
    return np.asarray(value, dtype=np.float64)


def render_mode(mode: str | None, modes: Sequence[str]) -> str | None:
    """Return mode if it is None or one of modes."""
    if mode not in (None, *modes):
        raise ValueError(f"render_mode is {mode!r}; choose None or one of {list(modes)}")
    return mode


def seed(value: Any) -> int | None:
    """Return a seed as Gymnasium takes it, or None."""
    if value is None:
        return None
    at_least("seed", value, 0)
    return int(value)


def step_limit(steps: int | None) -> int:
    """Return the number of time steps of an episode; the largest one for None and -1."""
    if steps is None or steps == -1:
        return int(np.iinfo(np.int64).max)
    at_least("max_episode_steps", steps, 1)
    return int(steps)


def observed(indices: Sequence[int] | None, count: int) -> list[int]:
    """Return distinct indices of count outputs; all of them for None."""
    chosen = list(range(count)) if indices is None else [int(i) for i in indices]
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(count)):
        raise ValueError(
            f"observed is {indices!r}; expected distinct indices out of 0 … {count - 1}, "
            "or None for all"
        )
    return chosen


def mismatched(parameters: Any, mismatch: Mapping[str, float] | None) -> Any:
    """Multiply fields of a parameter dataclass by the factors of mismatch."""
    known = [field.name for field in fields(parameters)]
    changed: dict[str, float] = {}
    for name, factor in (mismatch or {}).items():
        if name not in known:
            raise ValueError(f"mismatch names {name!r}; the parameters are {known}")
        if not (np.isfinite(factor) and factor >= 0.0):
            raise ValueError(
                f"mismatch[{name!r}] is {factor}; expected a finite factor of at least 0"
            )
        changed[name] = getattr(parameters, name) * factor
    return replace(parameters, **changed)


def finite_rates(rates: Rates, x: Components, u: Components, mismatch: Any) -> None:
    """Refuse a mismatch under which a plant has no finite rates, such as one without a mass."""
    try:
        with np.errstate(all="ignore"):
            finite = bool(np.isfinite(rates(x, u)).all())
    except ZeroDivisionError:
        finite = False
    if not finite:
        raise ValueError(
            f"mismatch is {shown(mismatch)}, with which the state changes infinitely fast; "
            "expected factors that leave masses, areas and the like above 0"
        )
