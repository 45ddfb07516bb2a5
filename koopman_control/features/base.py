"""What every feature map offers: fit on states, then a pure map with a Jacobian."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from koopman_control.common.arrays import Array, finite_array, seed_number
from koopman_control.common.border import check_fields, checked
from koopman_control.features.coordinates import Coordinates

ROUNDING = 1e-12  # relative; the computed deviation of equal numbers is seldom exactly zero


def constant_columns(X: Array) -> NDArray[np.bool_]:
    """Say which columns of X, shape (T, e), hold one value throughout, shape (e,)."""
    highest, lowest = X.max(axis=0), X.min(axis=0)
    still: NDArray[np.bool_] = highest - lowest <= ROUNDING * np.maximum(abs(highest), abs(lowest))
    return still


def spread(X: Array) -> Array:
    """Return the standard deviation of every column of X, and 1 for columns that never move.

    Raises:
        ValueError: If numbers are so large or small that their squares overflow or vanish.
    """
    still = constant_columns(X)
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = np.where(still, 1.0, X.std(axis=0))
    lost = np.flatnonzero(~np.isfinite(deviation) | (deviation == 0.0))
    if len(lost):
        i = int(lost[0])
        raise ValueError(
            f"column {i} of the data reaches {np.abs(X[:, i]).max():.0e}, whose square no number "
            "holds; expected 1e-150 to 1e150: take another unit, or drop rows that are wrong"
        )
    return deviation


ActivationName = Literal["tanh", "relu", "sine", "softplus"]


class Neurons(NamedTuple):
    """Features g(W x + b), as compiled roll-outs evaluate them.

    Args:
        weights: W, shape (h, e).
        biases: b, shape (h,).
        activation: Name of g.
    """

    weights: Array
    biases: Array
    activation: ActivationName


class Monomials(NamedTuple):
    """Products of standardised inputs, as compiled roll-outs evaluate them.

    Args:
        center: What standardising takes off the inputs, shape (e,).
        scale: What it divides them by, shape (e,).
        parents: Place of each monomial's first factor among inputs and monomials, shape (h,).
        factors: Place of its second factor, shape (h,).
    """

    center: Array
    scale: Array
    parents: NDArray[np.int64]
    factors: NDArray[np.int64]


class FeatureMap(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Base of all feature maps, a scikit-learn transformer with a derivative.

    A subclass sets its fitted arrays (names ending in an underscore) in `_fit` and gives `values`
    and `derivatives`, the unchecked maps used inside the control loop. `register_features` makes it
    a family that files and tests know.
    """

    def fit(self, X: Any, y: Any = None) -> FeatureMap:
        """Draw or compute the map's parameters from data.

        Args:
            X: Points the features will be evaluated near, shape (T, e).
            y: What will be regressed on the features (the one-step increments), shape (T, q), or
                None. Used only by maps that place features where this varies.

        Returns:
            The fitted map itself.

        Raises:
            ValueError: If X is not a finite two-dimensional array.
        """
        check_fields(self)
        seed = getattr(self, "random_state", None)
        if isinstance(seed, int):
            seed_number("random_state", seed)
        points = self._checked(X, ensure_min_samples=2)
        self._fit(points, None if y is None else _targets(y, len(points)))
        return self

    def fit_to_states(self, X: Any, y: Any, coordinates: Coordinates) -> FeatureMap:
        """Fit as part of a model, which knows what the feature inputs are; few maps ask.

        Args:
            X: Feature inputs, shape (T, e).
            y: As in `fit`.
            coordinates: From observations to states; `embedded` describes the columns of X.

        Returns:
            The fitted map itself.
        """
        return self.fit(X, y)

    def transform(self, X: Any) -> Array:
        """Evaluate the features at checked points of shape (T, e); returns shape (T, h)."""
        check_is_fitted(self)
        return self.values(self._checked(X, reset=False))

    def jacobian(self, X: Any) -> Array:
        """Differentiate the features at checked points of shape (T, e); returns shape (T, h, e)."""
        check_is_fitted(self)
        return self.derivatives(self._checked(X, reset=False))

    @checked
    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> Any:
        """Name the features `<class><index>`, as scikit-learn's transformers do."""
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{i}" for i in range(self._n_features_out)], dtype=object)

    def _checked(self, X: Any, **how: Any) -> Array:
        """Return X as finite float64 points, in the words of scikit-learn where it is not."""
        try:
            return np.asarray(validate_data(self, X, dtype=np.float64, **how))
        except (TypeError, ValueError) as error:
            raise type(error)(f"X does not suit {type(self).__name__}: {error}") from None

    @property
    @abstractmethod
    def _n_features_out(self) -> int:
        """Number of features h of the fitted map."""

    @abstractmethod
    def _fit(self, X: Array, y: Array | None) -> None:
        """Set the fitted arrays from finite points X, shape (T, e), and targets y, shape (T, q)."""

    @abstractmethod
    def values(self, X: Array) -> Array:
        """Evaluate without checks, shape (..., e) to (..., h)."""

    @abstractmethod
    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""

    def compiled_form(self) -> list[Neurons | Monomials] | None:
        """Return the fitted map as compiled roll-outs evaluate it, in parts side by side.

        None leaves the map to NumPy, and so the models with it.
        """
        return None


def _targets(y: Any, n_points: int) -> Array:
    try:
        rows = finite_array("y", np.asarray(y, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise type(error)(f"y holds no real numbers: {error}") from None
    if not rows.ndim or len(rows) != n_points or not rows.size:
        raise ValueError(f"y has shape {rows.shape}; expected one row for each of {n_points} in X")
    return rows.reshape(n_points, -1)


DISTANCE = 100_003  # between the seeds of successive draws


def seed_names(features: FeatureMap) -> list[str]:
    """Name the settings that seed a feature map, also those of the maps it is made of."""
    names = features.get_params(deep=True)
    return sorted(name for name in names if name.split("__")[-1] == "random_state")


def redrawn(features: FeatureMap, k: int) -> FeatureMap:
    """Return an unfitted copy with other seeds, the same for the same k.

    Raises:
        ValueError: If nothing about the features is random.
    """
    names, settings = seed_names(features), features.get_params(deep=True)
    if not names:
        raise ValueError(
            f"features holds {features!r}, which draws nothing at random, so no two draws differ; "
            "expected features with a random_state for n_draws > 1"
        )
    copy: FeatureMap = clone(features)
    copy.set_params(**{name: _seed(settings[name]) + DISTANCE * k for name in names})
    return copy


def _seed(given: object) -> int:
    """Return the seed meant by a `random_state`; None counts as 0."""
    if given is None or isinstance(given, int):
        return given or 0
    return int(check_random_state(clone(given, safe=False)).randint(2**31 - 1))


def unseen_inputs(ignored: Sequence[int], n_inputs: int) -> list[int]:
    """Return the numbers of the inputs that a map is not to see, checked.

    Raises:
        ValueError: They are not some, but not all, of the inputs.
    """
    unseen = [int(i) for i in ignored]
    if not set(unseen) < set(range(n_inputs)):
        raise ValueError(
            f"ignored is {ignored!r}; expected numbers of some but not all of the "
            f"{n_inputs} inputs, from 0 to {n_inputs - 1}"
        )
    return unseen
