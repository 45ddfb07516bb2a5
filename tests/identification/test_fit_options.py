"""Options of a fit: streams, weights, penalties and what is said about data that do not suffice."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import (
    EDMDc,
    LeastSquares,
    LiftedModel,
    RFactor,
    prediction_error,
)
from koopman_control.identification.snapshots import runs_of
from koopman_control.trajectories import Trajectory

FEATURES = SampledFeatures(20, random_state=0)


def pendulum(n_steps: int, seed: int, **known: Any) -> Trajectory:
    """Swing a damped pendulum by random torques."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    X = [rng.uniform(-1.0, 1.0, 2)]
    for u in U:
        angle, speed = X[-1]
        speed = speed + 0.1 * (u[0] - np.sin(angle) - 0.1 * speed)
        X.append(np.array([angle + 0.1 * speed, speed]))
    return Trajectory(np.array(X), U, **known)


def runs(n_runs: int = 12, n_steps: int = 60) -> list[Trajectory]:
    return [pendulum(n_steps, seed) for seed in range(n_runs)]


def step(model: Any, seed: int = 5) -> Array:
    rng = np.random.default_rng(seed)
    x, u = rng.uniform(-1.0, 1.0, (50, 2)), rng.uniform(-1.0, 1.0, (50, 1))
    return np.asarray(model.one_step.step(x, u))


@pytest.mark.parametrize("coupling", ["linear", "bilinear"])
def test_adding_data_piece_by_piece_equals_one_fit_with_the_same_features(coupling: Any) -> None:
    data = runs()
    pieces = EDMDc(FEATURES, coupling=coupling, regularization=1e-8)
    for piece in (data[:3], data[3:4], data[4:9], data[9:]):
        pieces.partial_fit(piece)
    regression = pieces._fit.regression
    factor = RFactor.merged(
        [regression.factor(runs_of(data, regression.design.signals.coordinates))]
    )
    whole = regression.model(factor.solver().solve(1e-8))
    np.testing.assert_allclose(pieces.model_.A, whole.A, atol=1e-9)
    np.testing.assert_allclose(pieces.model_.B, whole.B, atol=1e-9)
    assert pieces.model_.summary["n_samples"] == 720


def test_a_stream_is_used_up_without_being_held() -> None:
    alive = 0

    def stream() -> Iterator[Trajectory]:
        nonlocal alive
        for seed in range(5):
            alive += 1
            yield pendulum(30_000, seed)

    fit = EDMDc(FEATURES, regularization=1e-8, n_folds=0).partial_fit(stream())
    assert alive == 5
    assert fit.model_.summary["n_samples"] == 150_000
    assert prediction_error(fit.model_, pendulum(200, 99), 10).max() < 1e-2


def test_many_samples_are_whitened_and_give_what_few_do() -> None:
    data = [pendulum(3000, seed) for seed in range(2)]
    regression = EDMDc(FEATURES, regularization=1e-9, n_folds=0).fit(data)._fit.regression
    all_runs = runs_of(data, regression.design.signals.coordinates)
    (sums,) = regression.sums([all_runs])
    assert sums.basis is not None
    rows = [
        regression.factor([run.piece(t, t + 60)]) for run in all_runs for t in range(0, 3000, 60)
    ]
    reference = RFactor.merged(rows).solver()
    solved = sums.factor().solver()
    np.testing.assert_allclose(
        solved.singular_values, reference.singular_values, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(solved.solve(1e-9), reference.solve(1e-9), atol=1e-8)


def test_later_data_must_be_of_the_same_system() -> None:
    fit = EDMDc(FEATURES, regularization=1e-8).partial_fit([pendulum(100, 0, dt=0.1)])
    with pytest.raises(ValueError, match="expected trajectories of one system sampled at one rate"):
        fit.partial_fit([pendulum(100, 1, dt=0.2)])


def test_weights_of_zero_leave_trajectories_and_steps_out() -> None:
    spoilt = Trajectory(-runs()[0].observations, runs()[0].actions)
    data = [*runs(4), spoilt]
    few = SampledFeatures(5, random_state=0)
    settings: dict[str, Any] = {"features": few, "regularization": 0.0, "n_folds": 0}
    whole = EDMDc(**settings).fit(data, sample_weight=[1.0, 1.0, 1.0, 1.0, 0.0])
    steps = [np.ones(60)] * 4 + [np.zeros(60)]
    each = EDMDc(**settings).fit(data, sample_weight=steps)
    np.testing.assert_array_equal(whole.model_.A, each.model_.A)
    held_out = pendulum(60, 77)
    unweighted = EDMDc(**settings).fit(data)
    errors = [prediction_error(fit.model_, held_out, 10).max() for fit in (whole, unweighted)]
    assert errors[0] < 0.3 * errors[1]
    assert whole.model_.summary["n_samples"] == 240


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"sample_weight has 1 entries for 12 trajectories"),
        ([-1.0] * 12, r"sample_weight\[0\] holds -1; expected weights of at least 0"),
        ([np.ones(3)] * 12, r"sample_weight\[0\] has shape"),
        ([0.0] * 12, "sample_weight is zero throughout"),
    ],
)
def test_wrong_weights_are_named(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EDMDc(FEATURES).fit(runs(), sample_weight=weights)


def test_without_folds_there_must_be_nothing_to_choose() -> None:
    with pytest.raises(ValueError, match="n_folds is 0, which leaves nothing to choose by"):
        EDMDc(FEATURES, n_folds=0).fit(runs())
    fit = EDMDc(FEATURES, regularization=1e-8, n_folds=0).fit(runs())
    assert fit.cv_error_ == {}
    np.testing.assert_allclose(
        step(fit.model_), step(EDMDc(FEATURES, regularization=1e-8).fit(runs()).model_), atol=1e-12
    )


@pytest.mark.parametrize(
    ("penalty", "strength"), [("truncation", "cv"), ("lasso", 1e-3), ("elasticnet", 1e-3)]
)
def test_other_penalties_give_models_that_predict(penalty: Any, strength: Any) -> None:
    fit = EDMDc(FEATURES, least_squares=LeastSquares(penalty=penalty), regularization=strength).fit(
        runs(6)
    )
    assert prediction_error(fit.model_, pendulum(60, 77), 10).max() < 0.05


def test_an_input_that_follows_the_state_is_named() -> None:
    data = []
    for t in runs():
        U = np.column_stack([t.actions, t.observations[:-1] @ [-1.0, 0.5]])
        data.append(Trajectory(t.observations, U))
    with pytest.warns(UserWarning, match=r"action columns \[1\] are linear functions of the state"):
        EDMDc(FEATURES, regularization=1e-8).fit(data)


def test_repeated_data_are_found_out() -> None:
    data = [pendulum(5, seed) for seed in range(3)] * 8
    with pytest.warns(UserWarning, match="only 15 snapshot pairs differ"):
        EDMDc(FEATURES, regularization=1e-8).fit(data)


def test_saturated_features_are_named() -> None:
    steep = SampledFeatures(20, sampling="gaussian", steepness=1e6, random_state=0)
    with pytest.warns(UserWarning, match="SampledFeatures is saturated: .*smaller steepness"):
        EDMDc(steep, regularization=1e-6).fit(runs())


def test_a_regularisation_per_state_predicts_no_worse_on_left_out_runs() -> None:
    rng = np.random.default_rng(0)
    data = [
        Trajectory(t.observations + [0.05, 0.0] * rng.normal(size=t.observations.shape), t.actions)
        for t in runs()
    ]
    common = EDMDc(FEATURES).fit(data)
    each = EDMDc(FEATURES, regularization="cv-per-state").fit(data)
    assert len(each.model_.summary["regularization_per_state"]) == 2
    assert each.score_left_out(data[:1], data[1:]) >= 1.01 * common.score_left_out(
        data[:1], data[1:]
    )


@pytest.mark.parametrize("coupling", ["linear", "bilinear"])
def test_without_a_penalty_both_targets_give_one_model(coupling: Any) -> None:
    def fit(targets: Any) -> LiftedModel:
        return (
            EDMDc(
                FEATURES,
                coupling=coupling,
                least_squares=LeastSquares(targets=targets),
                angles=[0],
                regularization=1e-12,
            )
            .fit(runs())
            .model_
        )

    np.testing.assert_allclose(step(fit("states")), step(fit("increments")), atol=1e-6)


def test_a_penalty_pulls_states_to_the_mean_and_increments_to_standing_still() -> None:
    x = np.random.default_rng(5).uniform(-1.0, 1.0, (50, 2))
    models = [
        EDMDc(FEATURES, least_squares=LeastSquares(targets=targets), regularization=1e9, n_folds=0)
        .fit(runs())
        .model_
        for targets in ("states", "increments")
    ]
    still = [model.one_step.step(x, np.zeros((50, 1))) for model in models]
    np.testing.assert_allclose(
        still[0], np.broadcast_to(models[0].signals.center, (50, 2)), atol=1e-6
    )
    np.testing.assert_allclose(still[1], x, atol=1e-6)
