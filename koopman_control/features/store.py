"""Feature maps as plain settings and arrays, for files that never run code when read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from koopman_control.common.arrays import Array, finite_array
from koopman_control.features.base import FeatureMap
from koopman_control.features.composition import Composition
from koopman_control.features.registry import families


def describe_features(features: FeatureMap) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a fitted map's settings (JSON-able) and its fitted arrays by name.

    Raises:
        TypeError: If it is, or contains, a map of a class that cannot be saved.
    """
    name, n_in = type(features).__name__, int(features.n_features_in_)
    family = families().get(name)
    if family is None or family.kind is not type(features):
        raise TypeError(
            f"features is a {name}; only {', '.join(_saved())} can be saved to a file, and what "
            "register_features makes known"
        )
    if not family.saved:
        raise TypeError(
            f"features holds {name}, which cannot be saved to a file: files hold no code; "
            "save the trajectories and fit again, or use another feature map"
        )
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
    if name not in _saved():
        raise ValueError(
            f"the file holds features of class {name!r}; expected {_saved()}: import or install "
            "the package that registers others"
        )
    cls = families()[name].kind
    composed = issubclass(cls, Composition)
    for key, value in arrays.items():
        if value.dtype.kind in "fc":
            finite_array(f"{name}.{key}", value)
    features = (
        _composed(cls, settings, arrays)
        if composed
        else cls(**{key: _immutable(value) for key, value in settings["parameters"].items()})
    )
    n_in = int(settings["n_in"])
    # Before anything of that size is made, it must be that of something in the file.
    known = {length for array in arrays.values() for length in array.shape}
    if composed:
        known = {features.maps_[0].n_features_in_}
    if n_in not in known:
        raise ValueError(f"{name} of {n_in} inputs need an array of that length")
    features.n_features_in_ = n_in
    if not composed:
        for key, value in arrays.items():
            if hasattr(cls, key) or not key.endswith("_"):
                raise ValueError(f"{name} have no fitted array {key!r}")
            setattr(features, key, value)
    features.values(np.zeros((1, n_in)))  # fails here rather than later
    return features


def _saved() -> list[str]:
    """Name the families that files may hold."""
    return [name for name, family in families().items() if family.saved]


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
