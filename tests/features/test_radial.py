from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import RadialFeatures
from koopman_control.features.radial import Centers, Kernel


def points() -> Array:
    rng = np.random.default_rng(0)
    return np.asarray(rng.normal(size=(200, 2)) * [1.0, 100.0] + [0.0, 5.0])


@pytest.mark.parametrize("kernel", ["thin_plate", "gaussian"])
def test_values_are_those_of_the_formula(kernel: Kernel) -> None:
    X = points()
    features = RadialFeatures(7, kernel=kernel, length_scale=2.0, random_state=0).fit(X)
    C = features.centers_ * features.scale_ + features.center_
    r = np.linalg.norm((X[:, None] - C) / X.std(axis=0) / 2.0, axis=-1)
    formula = np.exp(-(r**2) / 2)
    if kernel == "thin_plate":
        formula = np.where(r > 0, r**2 * np.log(np.maximum(r, 1e-300)), 0.0)
    np.testing.assert_allclose(features.transform(X), formula, atol=1e-12)


@pytest.mark.parametrize(("kernel", "top"), [("thin_plate", 0.0), ("gaussian", 1.0)])
def test_at_its_centre_a_feature_is_flat(kernel: Kernel, top: float) -> None:
    X = points()
    features = RadialFeatures(30, kernel=kernel, random_state=0).fit(X)
    C = features.centers_ * features.scale_ + features.center_
    np.testing.assert_allclose(np.diag(features.transform(C)), top, atol=1e-12)
    slopes = np.einsum("hhe->he", features.jacobian(C)) * X.std(axis=0)
    np.testing.assert_allclose(slopes, 0.0, atol=1e-6)


def test_sampled_centres_are_different_data_points() -> None:
    X = points()
    X[50:] = X[:150]  # most points occur several times
    C = RadialFeatures(40, random_state=0).fit(X)
    found = np.abs(C.centers_[:, None] - (X - C.center_) / C.scale_).max(axis=-1).min(axis=1)
    np.testing.assert_allclose(found, 0.0, atol=1e-12)
    assert len(np.unique(C.centers_, axis=0)) == 40


def test_kmeans_finds_the_clusters() -> None:
    rng = np.random.default_rng(1)
    middles = np.array([[-5.0, 0.0], [5.0, 0.0], [0.0, 8.0]])
    X = np.concatenate([middle + 0.1 * rng.normal(size=(100, 2)) for middle in middles])
    features = RadialFeatures(3, centers="kmeans", random_state=0).fit(X)
    found = features.centers_ * features.scale_ + features.center_
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], middles[[0, 2, 1]], atol=0.05)


@pytest.mark.parametrize("centers", ["sampled", "kmeans"])
def test_with_too_few_different_points_the_further_centres_lie_between_them(
    centers: Centers,
) -> None:
    X = np.repeat([[0.0, 0.0], [1.0, 2.0]], 50, axis=0)
    features = RadialFeatures(10, centers=centers, random_state=0).fit(X)
    C = features.centers_ * features.scale_ + features.center_
    assert len(C) == 10
    np.testing.assert_allclose(C[:, 1], 2 * C[:, 0], atol=1e-12)
    assert C.min() >= -1e-12
    assert C[:, 0].max() <= 1 + 1e-12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": "cubic"}, "expected one of thin_plate, gaussian"),
        ({"centers": "grid"}, "expected one of sampled, kmeans"),
        ({"length_scale": -1.0}, "length_scale is -1"),
        ({"n_features": 0}, "n_features is 0"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RadialFeatures(**settings).fit(points())
