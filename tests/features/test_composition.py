import re
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from koopman_control.common.arrays import Array
from koopman_control.features import (
    FeatureChain,
    FeatureUnion,
    FourierFeatures,
    FunctionFeatures,
    PolynomialFeatures,
    SampledFeatures,
)
from koopman_control.features.store import describe_features, rebuild_features
from koopman_control.identification import EDMDc


def points() -> Array:
    return np.random.default_rng(0).normal(size=(100, 2))


def test_a_union_stands_its_maps_side_by_side() -> None:
    X = points()
    maps = [SampledFeatures(5, random_state=0), PolynomialFeatures(2)]
    union = FeatureUnion(maps).fit(X, X)
    alone = [clone(item).fit(X, X) for item in maps]
    np.testing.assert_array_equal(
        union.transform(X), np.hstack([item.transform(X) for item in alone])
    )
    assert union.get_feature_names_out(["a", "b"]).tolist() == [
        *(f"0__sampledfeatures{i}" for i in range(5)),
        "1__a^2",
        "1__a b",
        "1__b^2",
    ]
    assert not hasattr(maps[0], "weights_")  # settings are never changed by a fit


def test_a_chain_feeds_each_map_the_features_of_the_one_before() -> None:
    X = points()
    maps = [FourierFeatures(4, random_state=0), PolynomialFeatures(2)]
    chain = FeatureChain(maps).fit(X)
    H = clone(maps[0]).fit_transform(X)
    np.testing.assert_array_equal(chain.transform(X), clone(maps[1]).fit_transform(H))
    assert chain.get_feature_names_out()[1] == "fourierfeatures0 fourierfeatures1"


def test_targets_reach_the_maps_inside() -> None:
    X = np.linspace(-1.0, 1.0, 400)[:, None]
    y = np.tanh(50.0 * (X - 0.5))
    sampled = SampledFeatures(100, random_state=0)
    inside = FeatureUnion([sampled]).fit(X, y).maps_[0]
    np.testing.assert_array_equal(inside.transform(X), clone(sampled).fit(X, y).transform(X))


def test_settings_inside_are_reached_by_place() -> None:
    inner = FeatureChain([FourierFeatures(4), SampledFeatures(7)])
    union = FeatureUnion([inner, PolynomialFeatures(2)])
    params = union.get_params()
    assert params["1"] is union.maps[1]
    assert params["0__1__n_features"] == 7
    union.set_params(**{"0__1__n_features": 9, "1__degree": 3})
    assert union.get_params()["0__1__n_features"] == 9
    assert union.fit_transform(points()).shape == (100, 9 + 7)
    union.set_params(**{"1": SampledFeatures(20), "1__steepness": 0.5})
    assert union.get_params()["1__steepness"] == 0.5
    assert set(union.get_params(deep=False)) == {"maps"}
    with pytest.raises(ValueError, match="Invalid parameter"):
        union.set_params(**{"2__degree": 3})


def test_settings_inside_are_reached_through_an_estimator() -> None:
    union = FeatureUnion([SampledFeatures(5), PolynomialFeatures(2)])
    fit = clone(EDMDc(union)).set_params(features__0__n_features=8)
    assert fit.get_params()["features__0__n_features"] == 8
    assert union.get_params()["0__n_features"] == 5


def test_a_clone_shares_nothing() -> None:
    union = FeatureUnion([FeatureChain([PolynomialFeatures(2), SampledFeatures(3)])])
    copy = clone(union)
    copy.set_params(**{"0__0__degree": 5})
    assert union.get_params()["0__0__degree"] == 2


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "maps is []; expected a list of at least one feature map"),
        (SampledFeatures(3), "expected a sequence with a feature map"),
        ([SampledFeatures(3), "poly"], "'poly']; expected a sequence with a feature map"),
    ],
)
def test_what_is_no_list_of_feature_maps_is_refused(maps: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        FeatureUnion(maps).fit(points())


def test_what_is_no_map_can_be_listed_before_it_is_refused() -> None:
    wrong: Any = FeatureUnion([SampledFeatures(5), 3])  # type: ignore[list-item]
    assert wrong.get_params()["1"] == 3
    assert wrong.get_params()["0__n_features"] == 5


def test_a_function_anywhere_inside_cannot_be_saved() -> None:
    inner = FeatureChain([FunctionFeatures(np.sin), PolynomialFeatures(2)])
    with pytest.raises(TypeError, match="FunctionFeatures, which cannot be saved to a file"):
        describe_features(FeatureUnion([SampledFeatures(3), inner]).fit(points()))


def test_a_file_that_lacks_parts_is_refused() -> None:
    union = FeatureUnion([SampledFeatures(3), PolynomialFeatures(2)]).fit(points())
    settings, arrays = describe_features(union)
    assert "1/exponents_" in arrays
    del arrays["0/biases_"]
    with pytest.raises(AttributeError, match="biases_"):
        rebuild_features(settings, arrays)
    with pytest.raises(ValueError, match="features of class 'os'"):
        rebuild_features({**settings, "maps": [{"class": "os"}]}, {})
