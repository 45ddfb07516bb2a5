"""What every feature map offers: fit on states, then a pure map with a Jacobian.

A feature map turns e numbers into h nonlinear ones. The constant and the numbers themselves are not
its business: the lifted model always carries them beside the features (psi = [1, x, features]).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from koopman_control.common.arrays import Array
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
        points = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        targets = None if y is None else np.asarray(y, dtype=np.float64).reshape(len(points), -1)
        self._fit(points, targets)
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
        return self.values(validate_data(self, X, dtype=np.float64, reset=False))

    def jacobian(self, X: Any) -> Array:
        """Differentiate the features at checked points of shape (T, e); returns shape (T, h, e)."""
        check_is_fitted(self)
        return self.derivatives(validate_data(self, X, dtype=np.float64, reset=False))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Name the features `<class><index>`, as scikit-learn's transformers do."""
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{i}" for i in range(self._n_features_out)], dtype=object)

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
