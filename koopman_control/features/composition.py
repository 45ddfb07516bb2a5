"""Feature maps side by side and one after another, with exact Jacobians."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked
from koopman_control.features.base import FeatureMap, Monomials, Neurons
from koopman_control.features.coordinates import Coordinates
from koopman_control.features.fourier import FourierFeatures
from koopman_control.features.polynomial import PolynomialFeatures
from koopman_control.features.registry import register_features
from koopman_control.features.sampled import SampledFeatures


class Composition(FeatureMap):
    """Feature maps made of others, whose settings are reached by place: `0__n_features`.

    Args:
        maps: Feature maps; they are cloned, not changed, by `fit`.

    Attributes:
        maps_: The fitted feature maps.
    """

    maps_: list[FeatureMap]

    def __init__(self, maps: Sequence[FeatureMap]) -> None:
        self.maps = maps

    @checked
    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings; with `deep`, also every map by place and its settings."""
        params: dict[str, Any] = {"maps": self.maps}
        if deep and isinstance(self.maps, (list, tuple)):
            for i, item in enumerate(self.maps):
                params[str(i)] = item
                if hasattr(item, "get_params"):
                    nested = item.get_params(deep=True)
                    params |= {f"{i}__{name}": value for name, value in nested.items()}
        return params

    def set_params(self, **params: Any) -> Composition:
        """Set `maps`, a map by place, or a map's setting: `set_params(**{"0__degree": 2})`.

        Raises:
            ValueError: If there is no such setting.
        """
        if "maps" in params:
            self.maps = params.pop("maps")
        for name in [name for name in params if name.isdecimal() and int(name) < len(self.maps)]:
            maps = list(self.maps)
            maps[int(name)] = params.pop(name)
            self.maps = maps
        super().set_params(**params)
        return self

    def fit_to_states(self, X: Any, y: Any, coordinates: Coordinates) -> FeatureMap:
        """Fit; the maps that see the feature inputs learn what these are."""
        self._coordinates = coordinates
        try:
            return self.fit(X, y)
        finally:
            del self._coordinates

    def _fit(self, X: Array, y: Array | None) -> None:
        if not isinstance(self.maps, (list, tuple)) or not self.maps:
            raise TypeError(f"maps is {self.maps!r}; expected a list of at least one feature map")
        self.maps_ = []
        coordinates = getattr(self, "_coordinates", None)
        for item in self.maps:
            inputs, fresh = self._inputs_of_next(X), clone(item)
            if coordinates is None or inputs is not X:
                self.maps_.append(fresh.fit(inputs, y))
            else:
                self.maps_.append(fresh.fit_to_states(inputs, y, coordinates))

    @abstractmethod
    def _inputs_of_next(self, X: Array) -> Array:
        """Return what the map after those fitted so far sees of points X, shape (T, e)."""


class FeatureUnion(Composition):
    """The features of several maps of the same inputs, side by side.

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> from koopman_control import PolynomialFeatures, SampledFeatures
        >>> both = FeatureUnion([SampledFeatures(10), PolynomialFeatures(2)]).fit(X)
        >>> both.transform(X).shape
        (200, 13)
    """

    @property
    def _n_features_out(self) -> int:
        return sum(item._n_features_out for item in self.maps_)

    @checked
    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> Any:
        """Name the features after their maps, `<place>__<name>`."""
        super().get_feature_names_out()  # raises if not fitted
        names = [
            f"{i}__{name}"
            for i, item in enumerate(self.maps_)
            for name in item.get_feature_names_out(input_features)
        ]
        return np.array(names, dtype=object)

    def _inputs_of_next(self, X: Array) -> Array:
        return X

    def values(self, X: Array) -> Array:
        """Evaluate without checks, shape (..., e) to (..., h)."""
        return np.concatenate([item.values(X) for item in self.maps_], axis=-1)

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        return np.concatenate([item.derivatives(X) for item in self.maps_], axis=-2)

    def compiled_form(self) -> list[Neurons | Monomials] | None:
        """Return the parts of all maps, if each has a compiled form."""
        parts: list[Neurons | Monomials] = []
        for item in self.maps_:
            form = item.compiled_form()
            if form is None:
                return None
            parts += form
        return parts


class FeatureChain(Composition):
    """Feature maps one after another: each sees the features of the one before.

    Only the last one's features come out; a union with the first adds that one's.

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> from koopman_control import FourierFeatures, SampledFeatures
        >>> chain = FeatureChain([FourierFeatures(20), SampledFeatures(50)]).fit(X)
        >>> chain.jacobian(X).shape
        (200, 50, 2)
    """

    @property
    def _n_features_out(self) -> int:
        return self.maps_[-1]._n_features_out

    @checked
    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> Any:
        """Name the features as the last map does, given the names of the one before."""
        super().get_feature_names_out()  # raises if not fitted
        names = input_features
        for item in self.maps_:
            names = item.get_feature_names_out(names)
        return names

    def _inputs_of_next(self, X: Array) -> Array:
        return self.values(X)

    def values(self, X: Array) -> Array:
        """Evaluate without checks, shape (..., e) to (..., h)."""
        for item in self.maps_:
            X = item.values(X)
        return X

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        J = self.maps_[0].derivatives(X)
        for before, item in zip(self.maps_, self.maps_[1:], strict=False):
            X = before.values(X)
            J = item.derivatives(X) @ J
        return J


_WAVES = FourierFeatures(6, random_state=0)
_NEURONS = SampledFeatures(9, random_state=0)

register_features(
    FeatureUnion,
    [FeatureUnion([_NEURONS, PolynomialFeatures(2)]), FeatureUnion([FeatureUnion([_WAVES])])],
    compiled=True,
)
register_features(FeatureChain, [FeatureChain([_WAVES, _NEURONS])], compiled=False)
