"""What every feature map keeps to, whatever it computes."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from koopman_control.common.arrays import Array
from koopman_control.features import (
    FeatureChain,
    FeatureMap,
    FeatureUnion,
    FunctionFeatures,
    PolynomialFeatures,
    RadialFeatures,
    SampledFeatures,
    families,
)
from koopman_control.features.sampled import ACTIVATIONS
from koopman_control.features.store import describe_features, rebuild_features
from koopman_control.identification import EDMDc, LiftedModel, compiled_roll_out
from koopman_control.identification.rollouts import relifted, relifted_sensitivity
from koopman_control.trajectories import Trajectory


def squares_and_sines(X: Array) -> Array:
    return np.hstack([X**2, np.sin(X), X[:, :1] * X[:, -1:]])


def their_derivative(X: Array) -> Array:
    T, e = X.shape
    eye = np.eye(e)
    J = np.concatenate(
        [2 * X[:, :, None] * eye, np.cos(X)[:, :, None] * eye, np.zeros((T, 1, e))], 1
    )
    J[:, -1, 0] += X[:, -1]
    J[:, -1, -1] += X[:, 0]
    return J


FURTHER: dict[str, FeatureMap] = {  # beside the examples that are registered with a family
    **{
        f"{name}-deep": SampledFeatures(
            12,
            activation=name,  # type: ignore[arg-type]
            n_layers=3,
            random_state=0,
        )
        for name in ACTIVATIONS
    },
    "gaussian-deep": SampledFeatures(12, sampling="gaussian", n_layers=2, random_state=0),
    "nested": FeatureUnion(
        [
            FeatureChain([PolynomialFeatures(2), SampledFeatures(5, random_state=0)]),
            RadialFeatures(4, random_state=0),
        ]
    ),
    "function": FunctionFeatures(squares_and_sines),
    "function-complex": FunctionFeatures(squares_and_sines, differences="complex"),
    "function-derivative": FunctionFeatures(squares_and_sines, derivative=their_derivative),
}
EXAMPLES: dict[str, FeatureMap] = {
    f"{name}-{i}": example
    for name, family in families().items()
    for i, example in enumerate(family.examples)
}
ALL = EXAMPLES | FURTHER


def is_saved(features: FeatureMap) -> bool:
    return families()[type(features).__name__].saved


SAVED = {name: features for name, features in ALL.items() if is_saved(features)}

every = pytest.mark.parametrize("features", ALL.values(), ids=ALL.keys())
every_saved = pytest.mark.parametrize("features", SAVED.values(), ids=SAVED.keys())
every_example = pytest.mark.parametrize("features", EXAMPLES.values(), ids=EXAMPLES.keys())


def points(seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(200, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 1.0])


@every
def test_scikit_learn_accepts_it_as_a_transformer(features: FeatureMap) -> None:
    check_estimator(clone(features), on_skip=None)


@every
def test_the_jacobian_matches_finite_differences(features: FeatureMap) -> None:
    fitted = clone(features).fit(points(), points())
    X = points(seed=1)  # the kinks of ReLUs lie on the points they were made from
    J = fitted.jacobian(X)
    assert J.shape == (200, fitted.transform(X).shape[1], 3)
    for j, size in enumerate(X.std(axis=0)):
        step = np.zeros(3)
        step[j] = 1e-5 * size
        measured = (fitted.transform(X + step) - fitted.transform(X - step)) / (2e-5 * size)
        wrong = np.abs(J[:, :, j] - measured) > 1e-6 * np.abs(J[:, :, j]).max(initial=1e-9)
        assert wrong.mean() < 1e-3 if "relu" in str(features) else not wrong.any()  # kinks


@every
def test_values_and_derivatives_take_any_number_of_leading_dimensions(features: FeatureMap) -> None:
    X = points()
    fitted = clone(features).fit(X)
    h = fitted._n_features_out
    np.testing.assert_allclose(
        fitted.values(X.reshape(10, 20, 3)), fitted.transform(X).reshape(10, 20, h), atol=1e-9
    )
    np.testing.assert_allclose(
        fitted.derivatives(X.reshape(10, 20, 3)),
        fitted.jacobian(X).reshape(10, 20, h, 3),
        atol=1e-9 * np.abs(fitted.jacobian(X)).max(initial=1.0),
    )
    assert fitted.values(X[0]).shape == (h,)
    assert fitted.derivatives(X[0]).shape == (h, 3)


@every
def test_every_feature_has_a_name_of_its_own(features: FeatureMap) -> None:
    fitted = clone(features).fit(points())
    names = fitted.get_feature_names_out()
    assert len(set(names)) == len(names) == fitted.transform(points()).shape[1]
    with pytest.raises(NotFittedError):
        clone(features).get_feature_names_out()


@every
def test_it_is_rebuilt_by_clone_and_set_params(features: FeatureMap) -> None:
    X = points()
    expected = clone(features).fit(X, X).transform(X)
    copy = clone(features)
    copy.set_params(**copy.get_params())
    np.testing.assert_array_equal(copy.fit(X, X).transform(X), expected)


@every
def test_columns_that_never_move_do_no_harm(features: FeatureMap) -> None:
    X = points()
    X[:, 1] = 0.1
    fitted = clone(features).fit(X, X)
    assert np.isfinite(fitted.transform(X + 1.0)).all()
    assert np.isfinite(fitted.jacobian(X)).all()
    still = np.full((20, 3), 0.1)
    fitted = clone(features).fit(still, still)
    assert np.isfinite(fitted.transform(still)).all()
    assert np.isfinite(fitted.jacobian(still)).all()


@every_saved
def test_the_units_of_the_data_do_not_matter(features: FeatureMap) -> None:
    X, factor = points(), np.array([2.0, 1024.0, 2.0**-9])  # powers of two: no rounding
    here = clone(features).fit(X, X).transform(X)
    there = clone(features).fit(X * factor, X).transform(X * factor)
    np.testing.assert_allclose(here, there, atol=1e-9)


@every_saved
def test_a_rebuilt_map_gives_the_same_bits(features: FeatureMap) -> None:
    X = points()
    fitted = clone(features).fit(X, X)
    settings, arrays = describe_features(fitted)
    assert not any(array.dtype.hasobject for array in arrays.values())
    rebuilt = rebuild_features(json.loads(json.dumps(settings)), arrays)
    np.testing.assert_array_equal(rebuilt.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(rebuilt.jacobian(X), fitted.jacobian(X))
    assert str(rebuilt) == str(fitted)


@pytest.fixture(scope="module")
def runs() -> list[Trajectory]:
    """Runs of a damped pendulum with its angle in radians, going round."""
    rng, data = np.random.default_rng(0), []
    for _ in range(6):
        x, X, U = rng.uniform([-3, -6], [3, 6]), [], rng.uniform(-1, 1, (120, 1))
        for u in U:
            X.append(x)
            x = x + 0.05 * np.array([x[1], -4.0 * np.sin(x[0]) - 0.2 * x[1] + 2.0 * u[0]])
        data.append(Trajectory(observations=np.array([*X, x]), actions=U, dt=0.05))
    return data


@every
def test_a_model_is_fitted_with_it(
    features: FeatureMap, runs: list[Trajectory], tmp_path: Path
) -> None:
    fit = EDMDc(clone(features), angles=[0], horizon=10, n_folds=2).fit(runs[:5])
    assert fit.score(runs[5:]) > -0.2
    model = fit.model_
    x0, U = model.state(runs[5].observations[0]), runs[5].actions[:20]
    predicted = model.predict(x0, U)
    assert np.isfinite(predicted).all()
    assert np.isfinite(model.linearize(x0, U)[1]).all()
    if not is_saved(features):
        with pytest.raises(TypeError, match=f"{type(features).__name__}, which cannot be saved"):
            model.save(tmp_path / "model.npz")
    else:
        model.save(tmp_path / "model.npz")
        loaded = LiftedModel.load(tmp_path / "model.npz")
        assert loaded.coordinates == model.coordinates
        np.testing.assert_array_equal(loaded.predict(x0, U), predicted)


@every_example
def test_it_is_compiled_where_its_family_says_so(
    features: FeatureMap, runs: list[Trajectory]
) -> None:
    pytest.importorskip("numba", reason="compiled roll-outs need the extra 'fast'")
    fit = EDMDc(clone(features), angles=[0], regularization=1e-6, n_folds=0).fit(runs[:5])
    step_map, x0 = fit.model_.one_step, np.array([0.5, 0.3])
    fast = compiled_roll_out(step_map)
    if not families()[type(features).__name__].compiled:
        assert fast is None
        return
    assert fast is not None
    U = np.stack([runs[0].actions[:15], runs[1].actions[:15]])
    X = relifted(step_map, x0, U)
    np.testing.assert_allclose(fast.predicted(x0, U), X, rtol=0.0, atol=1e-10)
    Gamma = relifted_sensitivity(step_map, x0, X, U)
    np.testing.assert_allclose(fast.sensitivity(x0, X, U), Gamma, rtol=0.0, atol=1e-10)


def descendants(kind: type) -> Iterator[type]:
    child: type
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def is_abstract(kind: type) -> bool:
    members = [inspect.getattr_static(kind, name) for name in dir(kind)]
    return any(getattr(member, "__isabstractmethod__", False) for member in members)


def test_every_class_of_features_of_this_package_is_registered() -> None:
    own = {
        kind.__name__
        for kind in descendants(FeatureMap)
        if kind.__module__.startswith("koopman_control.features") and not is_abstract(kind)
    }
    assert len(own) >= 8
    assert own <= set(families())
