from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.identification.spectrum import pseudospectrum, spectrum
from koopman_control.trajectories import Trajectory

MakeModel = Callable[..., LiftedModel]
MakeRuns = Callable[..., list[Trajectory]]

F = np.array([[0.9, 0.2], [-0.3, 0.8]])
B = np.array([[0.5], [1.0]])


def beside_a_feature(feature_row: Array) -> Array:
    """Let a feature evolve as given, beside the states of F."""
    whole = np.zeros((3, 3))
    whole[:2, :2] = F
    whole[2] = feature_row
    return whole


def test_a_linear_map_is_confirmed_and_a_made_up_eigenvalue_is_not(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    # tanh(w x + b) does not obey z+ = -0.7 z: that eigenvalue is spurious.
    model = model_of(beside_a_feature(np.array([0.0, 0.0, -0.7])), np.vstack([B, [[0.0]]]))
    found = spectrum(model, runs_of_map(F, B))
    assert found.residuals is not None
    assert found.complete
    true = np.sort_complex(np.append(np.linalg.eigvals(F), 1.0))
    spurious = found.spurious()
    np.testing.assert_allclose(np.sort_complex(found.eigenvalues[~spurious]), true, atol=1e-12)
    np.testing.assert_allclose(found.residuals[~spurious], 0.0, atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues[spurious], [-0.7], atol=1e-12)
    assert found.residuals[spurious] > 0.5


def test_slow_functions_that_are_the_constant_in_disguise_are_spurious(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    model = model_of(beside_a_feature(np.array([0.0, 0.0, 1.0 - 1e-7])), np.vstack([B, [[0.0]]]))
    model.A[3, 0] = 1.0  # the eigenfunction is 1e7 plus a little
    found = spectrum(model, runs_of_map(F, B))
    slow = np.argmin(np.abs(found.eigenvalues - (1.0 - 1e-7)))
    assert found.spurious()[slow]


def test_states_are_the_sum_of_modes_times_eigenfunctions(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    model = model_of(beside_a_feature(np.array([0.1, 0.2, 0.5])))
    model.A[1:, 0] = [0.3, -0.2, 0.1]
    x = np.random.default_rng(0).normal(size=(7, 2))
    for found in (spectrum(model), spectrum(model, runs_of_map(F, B))):
        np.testing.assert_allclose(found.eigenfunctions(x) @ found.modes.T, x, atol=1e-12)
    ahead = model.predict(x, np.zeros((7, 6, 1)), "linear")[:, -1]
    powers = found.eigenvalues**6
    np.testing.assert_allclose(
        (found.eigenfunctions(x) * powers) @ found.modes.T, ahead, atol=1e-12
    )


def test_eigenfunctions_have_unit_spread_on_the_data(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    model = model_of(beside_a_feature(np.array([0.1, 0.2, 0.5])))
    data = runs_of_map(F, B)
    found = spectrum(model, data)
    X = np.concatenate([t.observations[:-1] for t in data])
    spread = found.eigenfunctions(X).std(axis=0)
    np.testing.assert_allclose(spread[np.abs(found.eigenvalues - 1.0) > 1e-9], 1.0, atol=1e-9)


def test_the_frequency_of_a_rotation_is_recovered() -> None:
    """An angle that advances by 0.3 a step of 0.1 s, read as cosine and sine."""
    data = []
    for seed in range(5):
        theta = seed + 0.3 * np.arange(41)
        circle = np.stack([np.cos(theta), np.sin(theta)], axis=1)
        data.append(Trajectory(circle, np.random.default_rng(seed).uniform(-1, 1, (40, 1)), dt=0.1))
    features = SampledFeatures(5, random_state=0)
    for angles in ([], [(0, 1)]):
        model = EDMDc(features, angles=angles, regularization=0.0).fit(data).model_
        found = spectrum(model, data)
        assert found.residuals is not None
        hertz = 0.3 / 0.1 / (2.0 * np.pi)
        nearest = np.argmin(np.abs(found.frequencies - hertz))
        assert found.frequencies[nearest] == pytest.approx(hertz, rel=1e-8)
        assert abs(found.growth[nearest]) < 1e-7
        assert found.residuals[nearest] < 1e-7
        assert found.rates[nearest].imag == pytest.approx(3.0)


def test_defective_and_repeated_eigenvalues_are_told_from_each_other(model_of: MakeModel) -> None:
    repeated = spectrum(model_of(0.5 * np.eye(3)))
    assert repeated.complete
    np.testing.assert_allclose(repeated.condition, 1.0)
    jordan = spectrum(model_of(0.5 * np.eye(3) + np.eye(3, k=1)))
    assert not jordan.complete
    assert jordan.condition.max() > 1e8


def test_a_single_state_and_an_eigenvalue_zero_have_a_spectrum(model_of: MakeModel) -> None:
    found = spectrum(model_of(np.array([[0.5, 0.0], [0.0, 0.0]]), dt=2.0))
    np.testing.assert_allclose(found.eigenvalues, [1.0, 0.5, 0.0])
    assert found.growth[1] == pytest.approx(np.log(0.5) / 2.0)
    assert found.growth[2] == -np.inf


def test_the_pseudospectrum_vanishes_at_true_eigenvalues_only(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    model = model_of(beside_a_feature(np.array([0.0, 0.0, -0.7])), np.vstack([B, [[0.0]]]))
    data = runs_of_map(F, B)
    true = np.linalg.eigvals(F)
    points = np.array([[true[0], true[1]], [-0.7, 0.2j]])
    found = pseudospectrum(model, data, points)
    np.testing.assert_allclose(found[0], 0.0, atol=1e-12)
    assert (found[1] > 0.3).all()
    residuals = spectrum(model, data).residuals
    assert residuals is not None
    at_eigenvalues = pseudospectrum(model, data, spectrum(model).eigenvalues)
    assert (at_eigenvalues[1:] <= residuals[1:] + 1e-12).all()


def test_residuals_do_not_depend_on_how_the_data_are_cut(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    model = model_of(beside_a_feature(np.array([0.1, 0.2, 0.5])), np.vstack([B, [[0.1]]]))
    [whole] = runs_of_map(F, B, n_runs=1, n_steps=60)
    X, U = whole.observations, whole.actions
    parts = [Trajectory(X[:21], U[:20]), Trajectory(X[20:], U[20:])]
    cut, uncut = spectrum(model, parts).residuals, spectrum(model, whole).residuals
    assert cut is not None
    assert uncut is not None
    np.testing.assert_allclose(cut, uncut, rtol=1e-10, atol=1e-14)


def bilinear_runs(G: Array) -> list[Trajectory]:
    """Simulate x+ = F x + B u + u G x."""
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        U, X = rng.uniform(-1.0, 1.0, (30, 1)), [rng.normal(size=2)]
        for u in U:
            X.append(F @ X[-1] + B @ u + u[0] * G @ X[-1])
        found.append(Trajectory(np.array(X), U))
    return found


def test_what_an_input_does_to_the_state_is_taken_off_too(model_of: MakeModel) -> None:
    G = np.array([[0.0, 0.3], [-0.2, 0.1]])
    N = np.zeros((1, 4, 4))
    N[0, 1:3, 1:3] = G
    model = model_of(beside_a_feature(np.zeros(3)), np.vstack([B, [[0.0]]]))
    found = spectrum(replace(model, N=N), bilinear_runs(G))
    assert found.residuals is not None
    true = np.sort_complex(np.append(np.linalg.eigvals(F), 1.0))
    confirmed = found.eigenvalues[found.residuals < 1e-12]
    np.testing.assert_allclose(np.sort_complex(confirmed), true, atol=1e-12)


def test_the_data_do_not_confirm_a_constant_that_drifts(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    model = model_of(beside_a_feature(np.array([0.1, 0.2, 0.5])), np.vstack([B, [[0.0]]]))
    model.A[0, :2] = 0.9, 0.1
    found = spectrum(model, runs_of_map(F, B))
    np.testing.assert_allclose(
        np.sort_complex(found.eigenvalues), np.sort_complex(np.linalg.eigvals(model.A)), atol=1e-12
    )
    confirmed = found.eigenvalues[~found.spurious(1e-9)]
    np.testing.assert_allclose(
        np.sort_complex(confirmed), np.sort_complex(np.linalg.eigvals(F)), atol=1e-12
    )


def test_data_that_are_at_their_limits_throughout_say_nothing(model_of: MakeModel) -> None:
    limits = np.array([[-np.inf, -np.inf], [0.5, np.inf]])
    free = model_of(np.eye(3))
    signals = replace(free.signals, limits=limits, saturating=np.array([True, False]))
    held = replace(free, signals=signals)
    data = Trajectory(np.column_stack([np.full(6, 0.5), np.arange(6.0)]), np.zeros((5, 1)))
    with pytest.raises(ValueError, match="no step that is free of limits"):
        spectrum(held, data)
    with pytest.raises(ValueError, match="too few steps that are free of limits"):
        pseudospectrum(held, data, [0.5])


def test_what_cannot_be_told_is_said(model_of: MakeModel) -> None:
    found = spectrum(model_of(0.5 * np.eye(3)))
    assert found.residuals is None
    with pytest.raises(ValueError, match="has no residuals"):
        found.spurious()
    with pytest.raises(ValueError, match=r"x has shape \(3,\); expected 2 states"):
        found.eigenfunctions([0.0, 0.0, 0.0])
