import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import FunctionFeatures


def points() -> Array:
    return np.random.default_rng(0).normal(size=(100, 2)) * [1.0, 1000.0] + [0.0, 1e5]


def waves(X: Any) -> Any:
    return np.stack([np.sin(X[:, 0]), X[:, 0] * X[:, 1], X[:, 1] ** 3], axis=1)


def slopes(X: Array) -> Array:
    J = np.zeros((len(X), 3, 2))
    J[:, 0, 0] = np.cos(X[:, 0])
    J[:, 1, 0], J[:, 1, 1] = X[:, 1], X[:, 0]
    J[:, 2, 1] = 3 * X[:, 1] ** 2
    return J


def test_features_are_the_functions_values_standardised() -> None:
    X = points()
    H = FunctionFeatures(waves).fit_transform(X)
    np.testing.assert_allclose(H.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(H.std(axis=0), 1.0)
    for i, raw in enumerate(waves(X).T):
        np.testing.assert_allclose(np.corrcoef(H[:, i], raw)[0, 1], 1.0)


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [({}, 1e-8), ({"differences": "complex"}, 1e-13), ({"derivative": slopes}, 1e-13)],
)
def test_derivatives_are_exact_to_what_is_promised(
    settings: dict[str, Any], tolerance: float
) -> None:
    X = points()
    features = FunctionFeatures(waves, **settings).fit(X)
    exact = slopes(X) / features.scale_[:, None]
    error = np.abs(features.jacobian(X) - exact).max(axis=0)
    assert (error <= tolerance * np.abs(exact).max()).all()


@pytest.mark.parametrize(
    ("function", "settings", "error", "message"),
    [
        (waves, {"derivative": lambda X: -slopes(X)}, ValueError, "derivative of feature"),
        (waves, {"derivative": lambda X: slopes(X)[:, :2]}, ValueError, "expected (16, 3, 2)"),
        (waves, {"derivative": 3}, TypeError, "derivative is 3; expected a function"),
        (waves, {"differences": "forward"}, ValueError, "expected one of central, complex"),
        (None, {}, TypeError, "function is None; expected a function"),
        (lambda X: X[:, 0], {}, ValueError, "what function returned has shape (100,)"),
        (
            lambda X: np.full((len(X), 1), np.nan),
            {},
            ValueError,
            "what function returned holds nan",
        ),
        (lambda X: X - X.mean(axis=0), {}, ValueError, "treats every row by itself"),
    ],
)
def test_functions_that_will_not_do_are_refused(
    function: Callable[[Any], Any], settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        FunctionFeatures(function, **settings).fit(points())


def test_a_kink_is_no_wrong_derivative() -> None:
    X = points()
    X[::10, 0] = 0.0
    features = FunctionFeatures(
        lambda X: np.abs(X[:, :1]), derivative=lambda X: np.sign(X)[:, None, :] * [1.0, 0.0]
    )
    assert np.isfinite(features.fit(X).jacobian(X)).all()
