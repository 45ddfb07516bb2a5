import json

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap, SampledFeatures
from koopman_control.features.store import describe_features, rebuild_features


def test_a_rebuilt_map_gives_the_same_bits() -> None:
    X = np.random.default_rng(0).normal(size=(50, 2))
    features = SampledFeatures(np.int64(8), steepness=0.5, random_state=3).fit(X, X)  # type: ignore[arg-type]
    settings, arrays = describe_features(features)
    rebuilt = rebuild_features(json.loads(json.dumps(settings)), arrays)
    np.testing.assert_array_equal(rebuilt.transform(X), features.transform(X))
    assert rebuilt.get_params() == features.get_params()


def test_classes_that_are_not_known_are_refused() -> None:
    class Squares(SampledFeatures):
        pass

    with pytest.raises(TypeError, match="features is a Squares"):
        describe_features(Squares().fit(np.eye(3)))
    with pytest.raises(ValueError, match="Squares"):
        rebuild_features({"class": "Squares", "parameters": {}, "n_in": 1}, {})


def test_arrays_that_would_replace_a_method_are_refused() -> None:
    settings, arrays = describe_features(SampledFeatures(3, random_state=0).fit(np.eye(3)))
    with pytest.raises(ValueError, match="no fitted array 'values'"):
        rebuild_features(settings, arrays | {"values": np.eye(3)})


def test_a_number_of_inputs_that_no_array_has_is_refused_before_anything_is_made() -> None:
    settings, arrays = describe_features(SampledFeatures(3, random_state=0).fit(np.eye(3)))
    with pytest.raises(ValueError, match="1000000000000 inputs"):
        rebuild_features(settings | {"n_in": 10**12}, arrays)


def test_names_of_columns_are_left_out() -> None:
    features: FeatureMap = SampledFeatures(3).fit(np.eye(3))
    features.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    arrays: dict[str, Array] = describe_features(features)[1]
    assert set(arrays) == {"weights_", "biases_", "deep_weights_", "deep_biases_"}
