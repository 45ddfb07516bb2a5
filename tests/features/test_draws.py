import numpy as np
import pytest

from koopman_control.features import FeatureUnion, PolynomialFeatures, SampledFeatures
from koopman_control.features.base import redrawn

X = np.random.default_rng(0).normal(size=(50, 2))


def test_another_draw_differs_and_is_the_same_each_time() -> None:
    features = SampledFeatures(5, random_state=3)
    first, second = (redrawn(features, k).fit(X).transform(X) for k in (1, 2))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, redrawn(features, 1).fit(X).transform(X))
    assert features.random_state == 3


def test_all_random_members_of_a_union_are_drawn_anew() -> None:
    inner = FeatureUnion([SampledFeatures(3, random_state=1), PolynomialFeatures(2)])
    union = FeatureUnion([inner, SampledFeatures(3)])
    settings = redrawn(union, 2).get_params()
    assert settings["0__0__random_state"] == 1 + 2 * 100_003
    assert settings["1__random_state"] == 2 * 100_003
    assert union.get_params()["0__0__random_state"] == 1


def test_a_generator_as_seed_is_left_as_it_was() -> None:
    generator = np.random.RandomState(0)
    features = SampledFeatures(3, random_state=generator)
    assert redrawn(features, 1).get_params() == redrawn(features, 1).get_params()
    assert generator.randint(1000) == np.random.RandomState(0).randint(1000)


def test_features_that_draw_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"PolynomialFeatures\(degree=2\), which draws nothing"):
        redrawn(PolynomialFeatures(2), 1)
