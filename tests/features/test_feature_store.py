import json

import numpy as np
import pytest

from koopman_control.common import FileFormatError
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
    with pytest.raises(FileFormatError, match="Squares"):
        rebuild_features({"class": "Squares", "parameters": {}, "n_in": 1}, {})


def test_names_of_columns_are_left_out() -> None:
    features: FeatureMap = SampledFeatures(3).fit(np.eye(3))
    features.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    arrays: dict[str, Array] = describe_features(features)[1]
    assert set(arrays) == {"weights_", "biases_", "deep_weights_", "deep_biases_"}
