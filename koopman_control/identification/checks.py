"""What is wrong with the settings and data of a fit, said before or instead of fitting."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from koopman_control.features import FeatureMap
from koopman_control.identification.regression import Frame


def one_of(name: str, value: object, allowed: Sequence[object], where: str = "") -> None:
    """Raise a ValueError unless value is one of those allowed."""
    if value not in allowed:
        expected = ", ".join(str(choice) for choice in allowed)
        raise ValueError(f"{name} is {value!r}; {where}expected one of {expected}")


def regularizations(value: Any, candidates: Sequence[float]) -> Sequence[float]:
    """Return the candidates for "cv" and otherwise the value alone, checked."""
    if value == "cv":
        return candidates
    number = isinstance(value, (int, float, np.integer, np.floating))
    if number and 0.0 <= float(value) < np.inf:
        return (float(value),)
    raise ValueError(f'regularization is {value!r}; expected "cv" or a number of at least 0')


def feature_maps(features: Any) -> list[FeatureMap]:
    """Return one feature map or a sequence of them as a list, checked."""
    given = list(features) if isinstance(features, (list, tuple)) else [features]
    if not given:
        raise ValueError("features is an empty list; expected at least one feature map")
    for item in given:
        if not isinstance(item, FeatureMap):
            raise TypeError(f"features holds {item!r}; expected feature maps: SampledFeatures(100)")
    return given


def warn_of_idle_inputs(frame: Frame, names: Sequence[str] | None) -> None:
    """Warn of inputs that never move; the model takes their effect to be zero."""
    for i in np.flatnonzero(np.isinf(frame.input_scale)).tolist():
        name = f" ({names[i]})" if names else ""
        warnings.warn(
            f"action column {i}{name} never moves in data, so its effect is unknown and taken to "
            "be zero; collect with an excitation of it, or leave it out of the actions",
            UserWarning,
            stacklevel=3,  # where the user calls fit
        )


def too_few_samples(n_usable: int, n_total: int, need: str) -> ValueError:
    """Say how many samples there are, what is needed, and what to do."""
    censored = f" ({n_total - n_usable} more end on a known limit)" if n_usable < n_total else ""
    remedy = 'collect more steps, or use fewer features or coupling="linear"'
    if 2 * n_usable < n_total:
        remedy += "; if the bounds are no limits of the plant, limits=None uses all samples"
    return ValueError(f"data holds {n_usable} usable samples{censored}, but {need}; {remedy}")
