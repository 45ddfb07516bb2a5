"""What every feature map offers: fit on states, then a pure map with a Jacobian.

A feature map turns e numbers into h nonlinear ones. The constant and the numbers themselves are not
its business: the lifted model always carries them beside the features (psi = [1, x, features]).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from koopman_control.common.arrays import Array, finite_array, seed_number
from koopman_control.common.border import check_fields, checked
from koopman_control.features.coordinates import Coordinates


class FeatureMap(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Base of all feature maps, a scikit-learn transformer with a derivative.

    A subclass sets its fitted arrays (names ending in an underscore) in `_fit` and gives `values`
    and `derivatives`, the unchecked maps used inside the control loop.
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


def _targets(y: Any, n_points: int) -> Array:
    try:
        rows = finite_array("y", np.asarray(y, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise type(error)(f"y holds no real numbers: {error}") from None
    if not rows.ndim or len(rows) != n_points or not rows.size:
        raise ValueError(f"y has shape {rows.shape}; expected one row for each of {n_points} in X")
    return rows.reshape(n_points, -1)
