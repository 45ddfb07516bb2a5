"""Feature maps as plain settings and arrays, for files that never run code when read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.common.files import FileFormatError
from koopman_control.features.base import FeatureMap
from koopman_control.features.sampled import SampledFeatures

KNOWN: dict[str, type[FeatureMap]] = {cls.__name__: cls for cls in (SampledFeatures,)}


def describe_features(features: FeatureMap) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a fitted map's settings (JSON-able) and its fitted arrays by name."""
    name = type(features).__name__
    if name not in KNOWN:
        raise TypeError(f"features is a {name}; only {', '.join(KNOWN)} can be saved to a file")
    fitted = {
        key: value
        for key, value in vars(features).items()
        if isinstance(value, np.ndarray) and not value.dtype.hasobject  # leaves out column names
    }
    parameters = {key: _plain(value) for key, value in features.get_params().items()}
    return {"class": name, "parameters": parameters, "n_in": int(features.n_features_in_)}, fitted


def rebuild_features(settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> FeatureMap:
    """Rebuild a fitted map from `describe_features`; refuses classes it does not know."""
    name = settings["class"]
    if name not in KNOWN:
        raise FileFormatError(f"the file holds features of class {name!r}; expected {list(KNOWN)}")
    features = KNOWN[name](**settings["parameters"])
    features.n_features_in_ = int(settings["n_in"])
    for key, value in arrays.items():
        setattr(features, key, value)
    try:
        features.values(np.zeros((1, features.n_features_in_)))
    except (AttributeError, TypeError, ValueError) as error:
        raise FileFormatError(f"the file does not hold whole {name}: {error}") from error
    return features


def _plain(value: Any) -> Any:
    """Turn numpy scalars into Python numbers."""
    return value.item() if isinstance(value, np.generic) else value
