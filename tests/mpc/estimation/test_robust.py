"""The filter for the noise that was found in the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import Corrections, EDMDc, LiftedModel
from koopman_control.mpc import KalmanObserver, KoopmanMPC
from koopman_control.mpc.estimation import (
    Estimate,
    History,
    RobustFilter,
    estimators_for,
    robust,
)
from koopman_control.trajectories import Trajectory

SIGMA = 0.05
A, B = np.array([[1.0, 0.1], [-0.3, 0.9]]), np.array([0.0, 0.1])


def run(seed: int, noise: float = SIGMA, n_steps: int = 120) -> tuple[Trajectory, Array]:
    """A slow linear plant driven by the square of its input; measured, and its states."""
    rng = np.random.default_rng(seed)
    U, X = np.repeat(rng.uniform(-2.0, 2.0, (n_steps // 4, 1)), 4, axis=0), [rng.normal(size=2)]
    for (u,) in U:
        X.append(A @ X[-1] + B * u**2)
    states = np.array(X)
    return Trajectory(states + noise * rng.normal(size=states.shape), U), states


DATA = [run(seed)[0] for seed in range(12)]


@pytest.fixture(scope="module")
def estimator() -> EDMDc:
    return EDMDc(
        PolynomialFeatures(1),
        input_features=PolynomialFeatures(2),
        corrections=Corrections(noise="smooth"),
    ).fit(DATA)


@pytest.fixture(scope="module")
def model(estimator: EDMDc) -> LiftedModel:
    return estimator.model_


def estimates(tracker: RobustFilter | History, Y: Array, U: Array) -> Array:
    now: Estimate | None = None
    X = []
    for k, y in enumerate(Y):
        now = tracker.update(now, y, U[k - 1] if k else np.zeros(1))
        assert now is not None
        X.append(now.x)
    return np.array(X)


def rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def test_a_filter_is_chosen_where_it_foretells_left_out_measurements_better(
    estimator: EDMDc,
) -> None:
    acting = estimator.noise_.acting
    assert acting is not None
    np.testing.assert_array_equal(estimator.model_.signals.noise, acting)
    np.testing.assert_allclose(acting[0], SIGMA, rtol=0.1)


def test_the_state_is_told_better_than_by_the_sensors_also_with_input_features(
    model: LiftedModel,
) -> None:
    data, states = run(100)
    found = estimates(RobustFilter.for_noise_of(model), data.observations, data.actions)
    assert rms(found[20:] - states[20:]) < 0.6 * SIGMA


def test_a_glitch_is_left_out_and_a_jump_is_followed(model: LiftedModel) -> None:
    data, states = run(101)
    Y = np.array(data.observations)
    Y[40, 0] += 5.0
    found = estimates(RobustFilter.for_noise_of(model), Y, data.actions)
    assert np.abs(found[40:] - states[40:]).max() < 4.0 * SIGMA
    states = states.copy()
    states[60:] += np.array([3.0, 0.0])  # from now on, another course
    for k in range(60, len(data.actions)):
        states[k + 1] = A @ states[k] + B * data.actions[k, 0] ** 2
    Y = states + (data.observations - run(101)[1])
    found = estimates(RobustFilter.for_noise_of(model), Y, data.actions)
    assert np.abs(found[60] - states[60]).max() > 2.0
    assert np.abs(found[62:] - states[62:]).max() < 4.0 * SIGMA


def test_without_measurements_the_model_goes_on(model: LiftedModel) -> None:
    data, states = run(102)
    Y = np.array(data.observations)
    Y[50:60] = np.nan
    Y[70, 1] = np.nan
    found = estimates(RobustFilter.for_noise_of(model), Y, data.actions)
    assert rms(found[50:60] - states[50:60]) < 2.0 * SIGMA


def test_estimates_stay_within_the_limits_of_the_plant(model: LiftedModel) -> None:
    limits = np.array([[-np.inf, -0.5], [np.inf, 0.5]])
    bounded = replace(model, signals=replace(model.signals, limits=limits))
    data, _ = run(103)
    found = estimates(RobustFilter.for_noise_of(bounded), data.observations, data.actions)
    assert np.abs(found[1:, 1]).max() <= 0.5


def test_noise_comes_with_the_model_also_from_a_file(model: LiftedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    loaded = LiftedModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.signals.noise, model.signals.noise)
    with pytest.raises(ValueError, match="expected positive standard deviations"):
        replace(model.signals, noise=np.zeros((2, 2)))


def test_the_controller_filters_by_itself_what_its_model_knows_to_be_noisy(
    model: LiftedModel,
) -> None:
    exact = replace(model, signals=replace(model.signals, noise=None))
    for given, observer, kind in (
        (model, "auto", RobustFilter),
        (exact, "auto", History),
        (model, None, History),
    ):
        (tracker,) = estimators_for([given], "relifted", observer)  # type: ignore[arg-type]
        assert type(tracker) is kind
    (tracker,) = estimators_for([model], "relifted", KalmanObserver(0.1))
    assert type(tracker) is not RobustFilter
    mpc = KoopmanMPC(model, 5, Q=1.0, R=0.1, input_bounds=(-2.0, 2.0), rollout="relifted")
    actions = [mpc.act(y) for y in run(104)[0].observations[:5]]
    assert np.isfinite(actions).all()
    assert mpc.last is not None
    assert mpc.last.rung == "solved"


def test_exact_data_need_no_filter() -> None:
    exact = [run(seed, noise=0.0)[0] for seed in range(6)]
    fit = EDMDc(
        PolynomialFeatures(1),
        input_features=PolynomialFeatures(2),
        corrections=Corrections(noise="auto"),
    ).fit(exact)
    assert fit.noise_.acting is None
    assert fit.model_.signals.noise is None


def test_compiled_steps_are_the_plain_ones(
    model: LiftedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    limits = np.array([[-np.inf, -2.0], [np.inf, 2.0]])
    model = replace(model, signals=replace(model.signals, limits=limits))
    data, _ = run(105)
    Y = np.array(data.observations)
    Y[30, 0], Y[50:53], Y[70, 1] = 9.0, np.nan, np.nan
    Y[90:] += np.array([3.0, 0.0])  # a jump that is followed
    fast = RobustFilter.for_noise_of(model)
    assert fast._fast is not None
    quick = estimates(fast, Y, data.actions)
    monkeypatch.setattr(robust, "compiled_roll_out", lambda step_map: None)
    slow = estimates(RobustFilter.for_noise_of(model), Y, data.actions)
    np.testing.assert_allclose(quick, slow, rtol=1e-9, atol=1e-11)


def test_a_compiled_step_counts_angles_the_short_way_round() -> None:
    pytest.importorskip("numba")
    from koopman_control.mpc.estimation.robust_loops import correct

    x, one, none = np.array([3.1]), np.eye(1), np.zeros(1, dtype=bool)
    limits = np.array([[-np.inf], [np.inf]])
    arguments = one, one, (0.0 * one, one), np.array([-3.1]), ~none, none, 5.0, limits
    root, _ = correct(x, *arguments)
    np.testing.assert_allclose(x, 3.1 + 0.5 * (2.0 * np.pi - 6.2))
    np.testing.assert_allclose(root**2, 0.5)
