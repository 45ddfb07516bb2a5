from typing import Any, get_args

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.features.sampled import Sampling


def points(n_points: int = 200, n_columns: int = 3) -> Array:
    rng = np.random.default_rng(0)
    return np.asarray(rng.normal(size=(n_points, n_columns)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 1.0])


@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_scikit_learn_accepts_it_as_a_transformer(sampling: Sampling) -> None:
    check_estimator(SampledFeatures(10, sampling=sampling), on_skip=None)


@pytest.mark.parametrize("sampling", ["pairs", "uniform"])
def test_every_neuron_is_minus_a_half_and_plus_a_half_at_its_pair(sampling: Sampling) -> None:
    X = points()
    H = SampledFeatures(50, sampling=sampling, random_state=1).fit(X, X**2).transform(X)
    np.testing.assert_allclose(np.abs(H + 0.5).min(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.abs(H - 0.5).min(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_steepness_is_a_factor_on_all_weights(sampling: Sampling) -> None:
    X = points()
    sharp, smooth = (
        SampledFeatures(20, sampling=sampling, steepness=s, random_state=0).fit(X)
        for s in (1.0, 0.25)
    )
    np.testing.assert_allclose(
        np.arctanh(smooth.transform(X)), 0.25 * (X @ sharp.weights_.T + sharp.biases_), atol=1e-9
    )


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_ignored_inputs_make_no_difference(sampling: Sampling, n_layers: int) -> None:
    X = points()
    moved = X + np.array([3.0, 0.0, 0.0])
    features = SampledFeatures(
        20, sampling=sampling, n_layers=n_layers, ignored=(0,), random_state=0
    ).fit(X)
    np.testing.assert_array_equal(features.transform(moved), features.transform(X))
    assert not features.jacobian(X)[:, :, 0].any()
    others = SampledFeatures(20, sampling=sampling, n_layers=n_layers, random_state=0)
    if sampling != "gaussian":  # the same pairs, as if the input had never been measured
        np.testing.assert_allclose(
            features.transform(X), others.fit(X[:, 1:]).transform(X[:, 1:]), rtol=1e-9, atol=1e-12
        )


def test_pairs_lie_where_the_target_changes_fast() -> None:
    X = np.linspace(-1.0, 1.0, 400)[:, None]
    y = np.tanh(50.0 * (X - 0.5))  # a step at 0.5, flat elsewhere

    def share_around_the_step(sampling: Sampling) -> float:
        features = SampledFeatures(200, sampling=sampling, random_state=0).fit(X, y)
        centers = -features.biases_ / features.weights_[:, 0]
        return float(np.mean(np.abs(centers - 0.5) < 0.2))

    assert share_around_the_step("pairs") > 0.5
    assert share_around_the_step("uniform") < 0.3


@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_the_jacobian_matches_finite_differences(sampling: Sampling) -> None:
    X = points()
    features = SampledFeatures(15, sampling=sampling, random_state=0).fit(X, X)
    J = features.jacobian(X)
    assert J.shape == (200, 15, 3)
    for j, size in enumerate(X.std(axis=0)):
        step = np.zeros(3)
        step[j] = 1e-5 * size
        measured = (features.transform(X + step) - features.transform(X - step)) / (2e-5 * size)
        np.testing.assert_allclose(J[:, :, j], measured, rtol=1e-6, atol=1e-6 * np.abs(J).max())


def test_values_and_derivatives_take_any_number_of_leading_dimensions() -> None:
    X = points()
    features = SampledFeatures(7, random_state=0).fit(X)
    assert features.values(X.reshape(10, 20, 3)).shape == (10, 20, 7)
    assert features.derivatives(X[0]).shape == (7, 3)


@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_the_same_seed_gives_the_same_bits(sampling: Sampling) -> None:
    X = points()
    a, b, c = (
        SampledFeatures(20, sampling=sampling, random_state=seed).fit(X, X).weights_
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_the_units_of_the_data_do_not_matter() -> None:
    X, factor = points(), np.array([2.0, 1024.0, 2.0**-9])  # powers of two: no rounding
    here = SampledFeatures(20, random_state=0).fit(X, X).transform(X)
    there = SampledFeatures(20, random_state=0).fit(X * factor, X).transform(X * factor)
    np.testing.assert_allclose(here, there, atol=1e-12)


@pytest.mark.parametrize("sampling", ["pairs", "uniform"])
def test_two_readings_of_one_point_never_become_a_neuron(sampling: Sampling) -> None:
    X, y = points(), np.random.default_rng(1).normal(size=(200, 1))
    X[:100] = X[0]  # every run starts at one place, and then the target differs
    features = SampledFeatures(50, sampling=sampling, random_state=0).fit(X, y)
    assert np.abs(features.weights_).max(axis=1).min() > 0.0


def test_constant_data_and_targets_still_give_finite_features() -> None:
    X = np.full((20, 2), 0.1)
    H = SampledFeatures(5, random_state=0).fit(X, X).transform(X + 1.0)
    assert np.isfinite(H).all()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_features": 0}, ValueError, "n_features is 0; expected at least 1"),
        ({"n_features": 2.5}, TypeError, "n_features is 2.5; expected an integer"),
        ({"sampling": "swim"}, ValueError, "expected one of pairs, uniform, gaussian"),
        ({"steepness": 0.0}, ValueError, "steepness is 0.0"),
        ({"activation": "elu"}, ValueError, "expected one of tanh, relu, sine, softplus"),
        ({"ignored": (3,)}, ValueError, "ignored is .*not all of the 3 inputs, from 0 to 2"),
        ({"ignored": (0, 1, 2)}, ValueError, "ignored is .*not all of the 3 inputs"),
        ({"n_layers": 0}, ValueError, "n_layers is 0; expected at least 1"),
    ],
)
def test_settings_out_of_range_are_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SampledFeatures(**settings).fit(points())


def test_points_that_are_not_finite_are_refused() -> None:
    X = points()
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        SampledFeatures(5).fit(X)


def test_a_deeper_layer_is_sampled_on_the_outputs_of_the_one_before() -> None:
    X = points()
    first = SampledFeatures(20, sampling="uniform", random_state=0).fit(X)
    both = SampledFeatures(20, sampling="uniform", n_layers=2, random_state=0).fit(X)
    np.testing.assert_array_equal(both.weights_, first.weights_)
    H = both.transform(X)
    np.testing.assert_allclose(
        H, np.tanh(first.transform(X) @ both.deep_weights_[0].T + both.deep_biases_[0]), atol=1e-12
    )
    np.testing.assert_allclose(np.abs(H + 0.5).min(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.abs(H - 0.5).min(axis=0), 0.0, atol=1e-9)
