from dataclasses import replace

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, adapt
from koopman_control.identification.errors import conformal_quantiles
from koopman_control.identification.uncertainty import (
    bootstrap_models,
    error_quantiles,
    predict_ensemble,
)
from koopman_control.trajectories import Trajectory

FEATURES = SampledFeatures(5, sampling="gaussian", random_state=0)
ESTIMATOR = EDMDc(FEATURES, regularization=1e-6)


def run(seed: int, n_steps: int = 30, noise: float = 0.1) -> Trajectory:
    """Simulate x+ = 0.9 x + u + noise."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    X = [rng.normal(size=1)]
    for u in U:
        X.append(0.9 * X[-1] + u + noise * rng.normal(size=1))
    return Trajectory(np.array(X), U)


def runs(first: int, n_runs: int, noise: float = 0.1) -> list[Trajectory]:
    return [run(seed, noise=noise) for seed in range(first, first + n_runs)]


def test_quantiles_are_order_statistics_of_the_left_out_errors() -> None:
    errors = np.arange(1.0, 10.0)[:, None]  # nine windows
    bounds = conformal_quantiles(errors, np.array([0.5, 0.9, 0.95]))
    np.testing.assert_array_equal(bounds, [[5.0], [9.0], [np.inf]])


def test_windows_that_end_early_do_not_count() -> None:
    errors = np.array([[3.0, np.nan], [1.0, 2.0], [2.0, np.nan]])
    np.testing.assert_array_equal(conformal_quantiles(errors, np.array([0.5])), [[2.0, 2.0]])


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_bounds_cover_new_data_as_often_as_promised(level: float) -> None:
    bounds = error_quantiles(ESTIMATOR, runs(0, 60), 5, [level])[0]
    model = ESTIMATOR.fit(runs(0, 60)).model_
    inside = []
    for new in runs(1_000, 300):
        predicted = model.predict(new.observations[0], new.actions[:5])
        inside.append(np.abs(predicted - new.observations[1:6]) <= bounds)
    share = np.mean(inside, axis=0)
    np.testing.assert_allclose(share, level, atol=0.07)


def test_bounds_of_an_exact_gaussian_error_are_its_quantiles() -> None:
    model = EDMDc(SampledFeatures(1, random_state=0), regularization=0.0).fit(
        runs(0, 20, noise=0.0)
    )
    bounds = error_quantiles(model.model_, runs(100, 200), 2, [0.6827, 0.9545])
    np.testing.assert_allclose(bounds[:, 0, 0], [0.1, 0.2], rtol=0.1)
    np.testing.assert_allclose(bounds[:, 1, 0], np.hypot(1.0, 0.9) * bounds[:, 0, 0], rtol=0.1)


def test_bounds_grow_with_the_level_and_have_the_promised_shape() -> None:
    bounds = error_quantiles(ESTIMATOR, runs(0, 10), 7, [0.1, 0.5, 0.8])
    assert bounds.shape == (3, 7, 1)
    assert (np.diff(bounds, axis=0) >= 0.0).all()


def test_an_ensemble_spreads_more_with_noise_and_predicts_with_its_mean() -> None:
    x0, U = np.zeros(1), np.full((20, 1), 0.5)
    spreads: list[Array] = []
    for noise in (0.0, 0.3):
        models = bootstrap_models(ESTIMATOR, runs(0, 8, noise), 4, seed=1)
        spreads.append(predict_ensemble(models, x0, U).std(axis=0))
    assert spreads[0].max() < 1e-3
    assert spreads[1].max() > 30.0 * spreads[0].max()
    single = error_quantiles(models[0], runs(50, 20), 5, [0.5])
    mean = error_quantiles(models, runs(50, 20), 5, [0.5])
    assert mean.shape == single.shape


def test_members_see_other_trajectories_and_other_features() -> None:
    first, second = bootstrap_models(ESTIMATOR, runs(0, 8), 2)
    points = np.linspace(-1.0, 1.0, 5)[:, None]
    assert not np.allclose(first.lift(points), second.lift(points))
    again = bootstrap_models(ESTIMATOR, runs(0, 8), 2)[0]
    np.testing.assert_array_equal(first.A, again.A)
    assert ESTIMATOR.features.random_state == 0  # type: ignore[union-attr]


def test_members_of_an_estimator_without_features_of_its_own_differ_too() -> None:
    first, second = bootstrap_models(EDMDc(regularization=1e-6), runs(0, 8), 2)
    points = np.linspace(-1.0, 1.0, 5)[:, None]
    seeds = {member.features.get_params()["random_state"] for member in (first, second)}
    assert len(seeds) == 2
    assert not np.allclose(first.lift(points), second.lift(points))


def test_members_keep_the_seed_of_their_features_where_that_is_asked_for() -> None:
    members = bootstrap_models(ESTIMATOR, runs(0, 8), 3, redraw_features=False)
    assert {member.features.get_params()["random_state"] for member in members} == {0}
    assert not np.array_equal(members[0].A, members[1].A)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="levels is"):
        error_quantiles(ESTIMATOR, runs(0, 4), 5, [1.0])
    with pytest.raises(ValueError, match="one trajectory of 30 steps"):
        error_quantiles(ESTIMATOR, run(0), 5)
    with pytest.raises(ValueError, match="data holds one trajectory"):
        bootstrap_models(ESTIMATOR, run(0))
    with pytest.raises(TypeError, match="expected an EDMDc"):
        error_quantiles([], runs(0, 4), 5)


def test_a_fitted_model_carries_bounds_that_new_data_keep() -> None:
    estimator = EDMDc(FEATURES, regularization=1e-6, horizon=5)
    model = estimator.fit(runs(0, 60)).model_
    assert model.error_level == 0.9
    X0 = np.array([new.observations[0] for new in runs(1_000, 300)])
    U = np.array([new.actions[:5] for new in runs(1_000, 300)])
    truth = np.array([new.observations[1:6] for new in runs(1_000, 300)])
    for rollout, bounds in model.error_quantiles.items():
        assert bounds.shape == (5, 1)
        inside = np.abs(model.rolled_out(X0, U, rollout) - truth) <= bounds
        np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.06)


def test_bounds_are_in_the_units_of_the_states() -> None:
    def scaled(factor: float) -> LiftedModel:
        data = [Trajectory(factor * t.observations, t.actions) for t in runs(0, 20)]
        return EDMDc(FEATURES, regularization=1e-6, horizon=3).fit(data).model_

    small, large = scaled(1.0), scaled(1000.0)
    for rollout, bounds in small.error_quantiles.items():
        np.testing.assert_allclose(large.error_quantiles[rollout], 1000.0 * bounds, rtol=1e-6)


def test_a_model_that_nothing_was_left_out_for_carries_no_bounds() -> None:
    model = EDMDc(FEATURES, regularization=1e-6, n_folds=0).fit(runs(0, 20)).model_
    assert model.error_quantiles == {}


def test_a_changed_model_carries_no_bounds() -> None:
    model = EDMDc(FEATURES, regularization=1e-6).fit(runs(0, 20)).model_
    assert adapt(model, runs(30, 2)).error_quantiles == {}


def test_bounds_of_the_wrong_shape_are_refused() -> None:
    model = EDMDc(FEATURES, regularization=1e-6, n_folds=0).fit(runs(0, 20)).model_
    with pytest.raises(ValueError, match=r"error_quantiles\['linear'\] has shape"):
        replace(model, error_quantiles={"linear": np.ones((5, 2))})
    with pytest.raises(ValueError, match="expected bounds of at least 0"):
        replace(model, error_quantiles={"linear": -np.ones((5, 1))})
