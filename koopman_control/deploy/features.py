"""Feature maps as C statements that fill `out` from `in`."""

from __future__ import annotations

from itertools import count

import numpy as np

from koopman_control.deploy.arrays import Arrays
from koopman_control.deploy.programs import NotExportableError
from koopman_control.features import (
    FeatureChain,
    FeatureMap,
    FeatureUnion,
    FourierFeatures,
    PolynomialFeatures,
    RadialFeatures,
    SampledFeatures,
)


class FeatureCode:
    """Writes feature maps as calls of the functions in the template `lift.c`.

    Args:
        arrays: Takes their constants.
    """

    def __init__(self, arrays: Arrays) -> None:
        self._arrays, self._number = arrays, count()
        self.rooms: dict[str, int] = {}  # further arrays by name, and their lengths

    def lines(self, features: FeatureMap, source: str, target: str) -> list[str]:
        """Return the statements that evaluate a fitted map at `source` and fill `target`.

        Raises:
            NotExportableError: If the map is of a kind without C code.
        """
        if isinstance(features, FeatureUnion):
            parts, place = [], 0
            for item in features.maps_:
                parts += self.lines(item, source, f"{target} + {place}" if place else target)
                place += item._n_features_out
            return parts
        if isinstance(features, FeatureChain):
            parts = []
            for item in features.maps_[:-1]:
                room = self._room(item._n_features_out)
                parts += self.lines(item, source, room)
                source = room
            return parts + self.lines(features.maps_[-1], source, target)
        if type(features) is SampledFeatures:
            return self._sampled(features, source, target)
        if type(features) is FourierFeatures:
            return self._fourier(features, source, target)
        if type(features) is PolynomialFeatures:
            return self._polynomial(features, source, target)
        if type(features) is RadialFeatures:
            return self._radial(features, source, target)
        raise NotExportableError(
            f"features of type {type(features).__name__} have no C code; expected sampled, Fourier,"
            " polynomial or radial features, or unions and chains of them"
        )

    def _room(self, size: int) -> str:
        name = f"room_{len(self.rooms)}"
        self.rooms[name] = size
        return name

    def _add(self, name: str, values: np.ndarray) -> str:
        return self._arrays.add(f"{name}_{next(self._number)}", values)

    def _affine(self, W: np.ndarray, b: np.ndarray, source: str, target: str) -> str:
        weights, biases = self._add("weights", W.T), self._add("biases", b)
        return f"affine({len(W)}, {W.shape[1]}, {weights}, {biases}, {source}, {target});"

    def _sampled(self, features: SampledFeatures, source: str, target: str) -> list[str]:
        layers = [(features.weights_, features.biases_)]
        layers += zip(features.deep_weights_, features.deep_biases_, strict=True)
        parts = []
        for i, (W, b) in enumerate(layers):
            room = target if i == len(layers) - 1 else self._room(len(b))
            parts.append(self._affine(W, b, source, room))
            parts.append(f"activate_{features.activation}({len(b)}, {room});")
            source = room
        return parts

    def _fourier(self, features: FourierFeatures, source: str, target: str) -> list[str]:
        W, phases = features.frequencies_, features.phases_
        n, h = len(W), len(phases)
        both = np.concatenate([W, W[: h - n]])
        return [
            self._affine(both, phases, source, target),
            f"activate_cosine({n}, {target});",
            *([f"activate_sine({h - n}, {target} + {n});"] if h > n else []),
        ]

    def _polynomial(self, features: PolynomialFeatures, source: str, target: str) -> list[str]:
        e, h = len(features.center_), len(features.parents_)
        if not h:
            return []
        given = [
            self._add("center", features.center_),
            self._add("scale", features.scale_),
            self._add("parents", features.parents_),
            self._add("factors", features.factors_),
        ]
        room = self._room(e + h)
        return [f"monomials({e}, {h}, {', '.join(given)}, {source}, {room}, {target});"]

    def _radial(self, features: RadialFeatures, source: str, target: str) -> list[str]:
        h, e = features.centers_.shape
        given = [
            self._add("center", features.center_),
            self._add("scale", features.scale_),
            self._add("centers", features.centers_),
        ]
        room = self._room(e)
        return [
            f"squared_distances({h}, {e}, {', '.join(given)}, {source}, {room}, {target});",
            f"kernel_{features.kernel}({h}, {target});",
        ]
