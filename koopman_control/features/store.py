"""Feature maps as plain settings and arrays, for files that never run code when read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from koopman_control.common.arrays import Array, finite_array
from koopman_control.features.base import FeatureMap
from koopman_control.features.composition import Composition, FeatureChain, FeatureUnion
from koopman_control.features.fourier import FourierFeatures
from koopman_control.features.function import FunctionFeatures
from koopman_control.features.polynomial import PolynomialFeatures
from koopman_control.features.radial import RadialFeatures
from koopman_control.features.recurrent import RecurrentFeatures
from koopman_control.features.sampled import SampledFeatures

SIMPLE = (
    SampledFeatures,
    FourierFeatures,
    RadialFeatures,
    PolynomialFeatures,
    RecurrentFeatures,
)
COMPOSED = (FeatureUnion, FeatureChain)
KNOWN: dict[str, type[FeatureMap]] = {cls.__name__: cls for cls in (*SIMPLE, *COMPOSED)}


def describe_features(features: FeatureMap) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a fitted map's settings (JSON-able) and its fitted arrays by name.

    Raises:
        TypeError: If it is, or contains, a map of a class that cannot be saved.
    """
    name, n_in = type(features).__name__, int(features.n_features_in_)
    if isinstance(features, FunctionFeatures):
        raise TypeError(
            "features holds FunctionFeatures, which cannot be saved to a file: files hold no code; "
            "save the trajectories and fit again, or use another feature map"
        )
    if KNOWN.get(name) is not type(features):
        raise TypeError(f"features is a {name}; only {', '.join(KNOWN)} can be saved to a file")
    if isinstance(features, Composition):
        parts = [describe_features(item) for item in features.maps_]
        arrays = {f"{i}/{k}": a for i, (_, own) in enumerate(parts) for k, a in own.items()}
        return {"class": name, "n_in": n_in, "maps": [settings for settings, _ in parts]}, arrays
    fitted = {
        key: value
        for key, value in vars(features).items()
        if isinstance(value, np.ndarray) and not value.dtype.hasobject  # leaves out column names
    }
    parameters = {key: _plain(value) for key, value in features.get_params().items()}
    return {"class": name, "n_in": n_in, "parameters": parameters}, fitted


def rebuild_features(settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> FeatureMap:
    """Rebuild a fitted map from `describe_features`; raises something where it is not whole."""
    name = settings["class"]
    if name not in KNOWN:
        raise ValueError(f"the file holds features of class {name!r}; expected {list(KNOWN)}")
    cls = KNOWN[name]
    for key, value in arrays.items():
        if value.dtype.kind in "fc":
            finite_array(f"{name}.{key}", value)
    features = (
        _composed(cls, settings, arrays)
        if cls in COMPOSED
        else cls(**{key: _immutable(value) for key, value in settings["parameters"].items()})
    )
    n_in = int(settings["n_in"])
    # Before anything of that size is made, it must be that of something in the file.
    known = [features.maps_[0].n_features_in_] if cls in COMPOSED else _lengths(arrays)
    if n_in not in known:
        raise ValueError(f"{name} of {n_in} inputs need an array of that length")
    features.n_features_in_ = n_in
    if cls not in COMPOSED:
        for key, value in arrays.items():
            if hasattr(cls, key) or not key.endswith("_"):
                raise ValueError(f"{name} have no fitted array {key!r}")
            setattr(features, key, value)
    features.values(np.zeros((1, n_in)))  # fails here rather than later
    return features


def _lengths(arrays: Mapping[str, Array]) -> set[int]:
    return {length for array in arrays.values() for length in array.shape}


def _composed(
    cls: type[FeatureMap], settings: Mapping[str, Any], arrays: Mapping[str, Array]
) -> FeatureMap:
    """Rebuild a union or chain from its maps."""
    fitted = [
        rebuild_features(
            part, {k.removeprefix(f"{i}/"): a for k, a in arrays.items() if k.startswith(f"{i}/")}
        )
        for i, part in enumerate(settings["maps"])
    ]
    features = cls([clone(item) for item in fitted])
    features.maps_ = fitted
    return features


def _immutable(value: Any) -> Any:
    """Turn a list, all that JSON knows, back into a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Turn numpy scalars into Python numbers."""
    return value.item() if isinstance(value, np.generic) else value
